#!/usr/bin/env bash
# kill -9 of the gateway at random moments around chat.send: nothing acknowledged is lost, nothing runs twice.
#   kill9.sh [ROUNDS]
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need "the model stub answers" start_model 5
cat >"$WORK/far/gateway.json5" <<EOF
{ models: { default: "stub/stub", providers: { stub: { kind: "openai", baseUrl: "http://127.0.0.1:$MODEL_PORT/v1", apiKey: "not-a-key", models: ["stub"] } } } }
EOF
chmod 600 "$WORK/far/gateway.json5"
kills() {
  far timeout -k 5 $((300 + $1 * 60)) node "$HERE/kill9.mjs" "$1" "$PORT" "$WORK/log/model-requests" \
    "$WORK/far/.local/state/clawline-gateway/token" "$BIN/clawline-gateway" run --port "$PORT" --config "$WORK/far/gateway.json5"
}
PORT=$(free_port)
check "killed ${1:-10} times around chat.send" kills "${1:-10}"
grep -h '^figure' "$WORK/log/check"
finish
