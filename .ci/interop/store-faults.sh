#!/usr/bin/env bash
# A disk that fails under the gateway, and kill -9 in the middle of it: flushes that fail, no space, a read-only mount.
#   store-faults.sh [ROUNDS]     rounds of each; needs root for the mounts, and strace
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Model echo needs no network; each case has a state of its own, on a small file system of its own.
fault() {
  local name=$1 rounds=$2 state=$WORK/state-$1 code=0 port
  port=$(free_port)
  mkdir -p -m 700 "$state"
  mount -t tmpfs -o size=48m,mode=700 tmpfs "$state" || return 1
  far env CLAWLINE_STATE_DIR="$state" timeout -k 5 3000 node "$HERE/store-faults.mjs" "$name" "$rounds" "$port" "$state" "$BIN/clawline-gateway" run --port "$port" || code=$?
  umount -l "$state"
  return "$code"
}
for name in fsync full ro; do
  check "store fault \"$name\", ${1:-3} rounds" fault "$name" "${1:-3}"
  grep -h '^figure' "$WORK/log/check"
done
finish
