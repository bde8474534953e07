#!/usr/bin/env bash
# kill -9 of the gateway at random moments under load, every fourth time on a disk that fails: nothing acknowledged is lost,
# nothing runs twice, it opens again. See kill9.mjs.
#   kill9.sh [ROUNDS]     needs root for the mounts, and strace
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need "the model stub answers" start_model 2
cat >"$WORK/far/gateway.json5" <<EOF
{ models: { default: "stub/stub", providers: { stub: { kind: "openai", baseUrl: "http://127.0.0.1:$MODEL_PORT/v1", apiKey: "not-a-key", models: ["stub"] } } } }
EOF
chmod 600 "$WORK/far/gateway.json5"
# The state is on a small file system of its own, which can be filled and made read-only.
STATE=$WORK/state
mkdir -p -m 700 "$STATE"
need "a small file system" mount -t tmpfs -o size=160m,mode=700 tmpfs "$STATE"
kills() {
  far env CLAWLINE_STATE_DIR="$STATE" timeout -k 5 $((300 + $1 * 60)) node "$HERE/kill9.mjs" "$1" "$PORT" "$WORK/log/model-requests" "$STATE" \
    "$BIN/clawline-gateway" run --port "$PORT" --config "$WORK/far/gateway.json5"
}
PORT=$(free_port)
check "killed ${1:-24} times under load, every fourth time on a failing disk" kills "${1:-24}"
grep -hE '^figure|WRONG' "$WORK/log/check"
umount -l "$STATE"
finish
