#!/usr/bin/env bash
# A month in an hour: see month.mjs. CLAWLINE_SOAK_MINUTES says how long instead (5 for a quick look).
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
month() {
  far timeout -k 5 7200 node "$HERE/month.mjs" "$1" "$GATEWAY_PORT" "$WORK/far/.local/state/clawline-gateway/token" "$GATEWAY" "$WORK/far/gateway.json5"
}
start_model 2
cat >"$WORK/far/gateway.json5" <<EOJ
{ models: { default: "stub/stub", providers: { stub: { kind: "openai", baseUrl: "http://127.0.0.1:$MODEL_PORT/v1", apiKey: "not-a-key", models: ["stub"] } } } }
EOJ
chmod 600 "$WORK/far/gateway.json5"
need "the gateway starts" start_gateway --config "$WORK/far/gateway.json5"
check "a month, 30 days of $((${CLAWLINE_SOAK_MINUTES:-60} * 2)) s" month $((${CLAWLINE_SOAK_MINUTES:-60} * 2))
# The figures, where check shortens what it shows.
grep -hE 'figure|WRONG|day (1|5|10|15|20|25|30):' "$WORK/log/check" || true
finish
