#!/usr/bin/env bash
# The gateway dies at a call, or the power goes, at any point of a short life: first start, messages, devices, config, backup,
# new token, new certificate, restore. What was acknowledged is there when it starts again, and it starts by itself.
#   crash.sh kills [CALLS]    it dies at so many calls by chance, at each of them with 0; rebuilt from a record, see crash/states.mjs
#   crash.sh cuts [STATES]    the power goes; so many different disks
#   crash.sh points [STEP]    it is killed for real at its N-th call of a kind; see crash/points.mjs
# SEED=N repeats what was chosen by chance. Needs strace, and root for a file system in memory.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

SEED=${SEED:-$RANDOM}
mkdir -p -m 700 "$WORK/record" "$WORK/states"
need "a file system in memory" mount -t tmpfs -o size=400m,mode=700 tmpfs "$WORK/states"
# The gateway's certificate is of its own making; the claims look at it themselves.
crash() { near env NODE_TLS_REJECT_UNAUTHORIZED=0 NODE_NO_WARNINGS=1 timeout -k 5 "$LIMIT" node "$HERE/crash/$1.mjs" "${@:2}"; }
what=${1:-cuts}
LIMIT=${LIMIT:-7200}
case $what in
  kills | cuts) check "$what, with seed $SEED" crash states "$what" "$BIN/clawline-gateway" "$WORK/record" "$WORK/states" "${2:-100}" "$SEED" ;;
  points) check "kills at a call, with seed $SEED" crash points "$BIN/clawline-gateway" "$WORK/states" "${2:-0}" "$SEED" ;;
  *) check "kills, cuts or points" false ;;
esac
grep -hE '^figure|WRONG' "$WORK/log/check"
umount -l "$WORK/states"
finish
