#!/usr/bin/env bash
# OpenClaw's own clients, both protocol versions at once, against clawline-gateway: unmodified, they work.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need "the model stub answers" start_model
cat >"$WORK/far/gateway.json5" <<EOF
{ models: { default: "stub/stub", providers: { stub: { kind: "openai", baseUrl: "http://127.0.0.1:$MODEL_PORT/v1", apiKey: "not-a-key", models: ["stub"] } } } }
EOF
chmod 600 "$WORK/far/gateway.json5"
need "the gateway starts" start_gateway --config "$WORK/far/gateway.json5"
TOKEN=$(cat "$WORK/far/.local/state/clawline-gateway/token")
URL=ws://127.0.0.1:$GATEWAY_PORT

for version in v4 v3; do
  home=$WORK/near/openclaw-$version
  mkdir -p -m 700 "$home/.openclaw"
  # As someone has it who runs their clients beside the gateway.
  echo "{ \"gateway\": { \"mode\": \"local\", \"port\": $GATEWAY_PORT, \"auth\": { \"mode\": \"token\", \"token\": \"$TOKEN\" } } }" >"$home/.openclaw/openclaw.json"
  explicit=(--url "$URL" --token "$TOKEN")

  check "$version: gateway health" says OK openclaw "$version" gateway health "${explicit[@]}"
  for method in health status system-presence sessions.list agents.list models.list config.get; do
    check "$version: gateway call $method" says '[{[]' openclaw "$version" gateway call "$method" --json "${explicit[@]}"
  done
  check "$version: gateway call chat.history" says 'messages' openclaw "$version" gateway call chat.history --params '{"sessionKey":"main"}' --json "${explicit[@]}"
  check "$version: an unknown method is refused" expect 1 openclaw "$version" gateway call no.such.method "${explicit[@]}"
  check "$version: a wrong token is refused" expect 1 openclaw "$version" gateway health --url "$URL" --token wrong
  check "$version: health" openclaw "$version" health
  check "$version: status" openclaw "$version" status
  check "$version: gateway probe" openclaw "$version" gateway probe
  check "$version: logs" openclaw "$version" logs
  check "$version: agent --message" says "stub says: hello from $version" openclaw "$version" agent --agent main --message "hello from $version"

  term_start "$version" "$home" node "$(openclaw_entry "$version")" tui "${explicit[@]}"
  check "$version: tui connects" wait_screen "$version" 60 'connected'
done

# Both terminals stay open side by side, on one gateway and one session.
for version in v4 v3; do
  check "$version: a chat in their tui streams" streams "$version" "tell me slowly, $version"
done
check "v4: their tui shows what v3 said" wait_screen v4 15 '^ *tell me slowly, v3'
for version in v4 v3; do
  check "$version: their tui leaves" leaves "$version" 15
done
finish
