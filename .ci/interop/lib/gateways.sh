# Gateways, ours and OpenClaw's, and the model they ask. A part of lib.sh.

# start_model [DELAY_MS]: the model stub. Sets MODEL_PORT.
start_model() {
  MODEL_PORT=$(free_port)
  start model "$WORK/near" node "$HERE/model-stub.mjs" "$MODEL_PORT" "${1:-40}" "$WORK/log/model-requests"
  wait_for "$SOON" answers "$MODEL_PORT" /v1/models
}

# start_openclaw v3|v4 [HOME]: the official gateway on the far machine, token in its config, answering through the stub.
# Sets GATEWAY_PORT and GATEWAY. HOME is the far machine's unless given. It takes about ten seconds alone on a machine, more with company.
start_openclaw() {
  local version=$1 home=${2:-$WORK/far}
  GATEWAY_PORT=$(free_port)
  # What is left of one before may still be writing there.
  wait_for "$SOON" rm -rf "$home/.openclaw"
  mkdir -m 700 "$home/.openclaw"
  cat >"$home/.openclaw/openclaw.json" <<EOF
{
  "gateway": { "mode": "local", "port": $GATEWAY_PORT, "bind": "loopback", "auth": { "mode": "token", "token": "$TOKEN" } },
  "agents": { "defaults": { "model": { "primary": "stub/stub" } } },
  "models": { "mode": "merge", "providers": { "stub": {
    "baseUrl": "http://127.0.0.1:$MODEL_PORT/v1", "apiKey": "not-a-key", "api": "openai-completions",
    "models": [ { "id": "stub", "name": "Stub", "contextWindow": 128000, "maxTokens": 4096 } ]
  } } }
}
EOF
  chmod 600 "$home/.openclaw/openclaw.json"
  start "openclaw-$version" "$home" node "$(openclaw_entry "$version")" gateway run --port "$GATEWAY_PORT"
  GATEWAY=$STARTED
  wait_for 600 listening "$GATEWAY_PORT" && wait_for 300 openclaw_ready "$version"
}
# It listens before it can answer: ready is an answered call of its own client.
openclaw_ready() { openclaw "$1" gateway health --timeout "$PATIENT_MS" --url "ws://127.0.0.1:$GATEWAY_PORT" --token "$TOKEN"; }

# start_gateway [OPTION...]: ours on the far machine. Sets GATEWAY and, unless already set by the caller, GATEWAY_PORT.
start_gateway() {
  GATEWAY_PORT=${GATEWAY_PORT:-$(free_port)}
  start clawline-gateway "$WORK/far" "$BIN/clawline-gateway" run --port "$GATEWAY_PORT" "$@"
  GATEWAY=$STARTED
  wait_for "$SOON" answers "$GATEWAY_PORT" /readyz
}
