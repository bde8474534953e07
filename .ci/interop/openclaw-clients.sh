#!/usr/bin/env bash
# OpenClaw's own clients, unmodified and both protocol versions at once, against clawline-gateway. Each row looks at what
# is said, not only at the exit code; docs/INTEROP.md is the table of the rows.
#   openclaw-clients.sh                the rows, and that docs/INTEROP.md says what was seen
#   openclaw-clients.sh --theirs       the same rows against OpenClaw's own gateway of each version: what a row expects
#                                      must hold there, too; ends with what each row found there, as a table
#   ROWS=cli,tui openclaw-clients.sh   some subjects: cli, devices, tui, reference-client
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
for subject in cli devices tui reference-client; do source "$HERE/clients/$subject.sh"; done
THEIRS=
[ "${1:-}" != --theirs ] || THEIRS=1
wanted() { [[ ",${ROWS:-cli,devices,tui,reference-client}," == *",$1,"* ]]; }

# row NAME COMMAND...: a claim about this lane's version, and a line for the table.
row() { row_of "$LANE" "$@"; }
# oc ARG...: their client of this lane's version, which finds the gateway as on the gateway's own machine.
oc() { openclaw "$LANE" "$@"; }

our_gateway() {
  cat >"$WORK/far/gateway.json5" <<EOJ
{ models: { default: "stub/stub", providers: { stub: { kind: "openai", baseUrl: "http://127.0.0.1:$MODEL_PORT/v1", apiKey: "not-a-key", models: ["stub"] } } } }
EOJ
  chmod 600 "$WORK/far/gateway.json5"
  start_gateway --config "$WORK/far/gateway.json5" || return 1
  TOKEN=$(cat "$WORK/far/.local/state/clawline-gateway/token")
  PORT_v3=$GATEWAY_PORT PORT_v4=$GATEWAY_PORT
}

# world VERSION: the client's home, with the config of someone who runs it beside the gateway.
world() {
  local port=PORT_$1
  PORT=${!port}
  URL=ws://127.0.0.1:$PORT
  EXPLICIT=(--url "$URL" --token "$TOKEN")
  PATIENT=(--timeout "$PATIENT_MS")
  CLIENT=$WORK/near/openclaw-$1
  mkdir -p -m 700 "$CLIENT/.openclaw"
  echo "{ \"gateway\": { \"mode\": \"local\", \"port\": $PORT, \"auth\": { \"mode\": \"token\", \"token\": \"$TOKEN\" } } }" >"$CLIENT/.openclaw/openclaw.json"
}
version_rows() {
  world "$LANE"
  ! wanted cli || cli_rows
  ! wanted devices || devices_rows
  ! wanted tui || tui_rows
  if [ "$LANE" = v4 ] && wanted reference-client; then reference_client_rows; fi
}

need "the model stub answers" start_model 60
if [ -n "$THEIRS" ]; then
  for version in v4 v3; do
    mkdir -p -m 700 "$WORK/far-$version"
    need "OpenClaw $version starts" start_openclaw "$version" "$WORK/far-$version"
    declare "PORT_$version=$GATEWAY_PORT"
  done
else
  need "the gateway starts" our_gateway
fi
for version in v4 v3; do lane "$version" version_rows; done
lanes_end

# What both look at together, and what disturbs both: one gateway, ended under open terminals and started again.
if [ -z "$THEIRS" ] && wanted tui; then
  tui_together_rows
fi
if [ -z "$THEIRS" ] && [ -z "${ROWS:-}" ]; then
  check "docs/INTEROP.md says what was seen" table_says openclaw-clients.sh
fi
# What a row found at their own gateways, as a table.
if [ -n "$THEIRS" ]; then
  "$NODE_PATH_DIR/node" "$HERE/interop-table.mjs" "$WORK/rows" - openclaw-clients.sh --print
fi
finish
