#!/usr/bin/env bash
# OpenClaw's own node hosts, both versions, on clawline-gateway: paired, approved, invoked, gone in mid-call. Unmodified.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need "the gateway starts" start_gateway
TOKEN=$(cat "$WORK/far/.local/state/clawline-gateway/token")
URL=ws://127.0.0.1:$GATEWAY_PORT

# call VERSION METHOD PARAMS: one call by the official client, its answer as JSON.
call() { openclaw "$1" gateway call "$2" --params "$3" --timeout 58000 --json --url "$URL" --token "$TOKEN"; }
# node_row VERSION MEMBER: of the node of this version, by its name.
node_row() { call v4 node.list '{}' | json "v.nodes.find((n) => n.displayName === 'shed-$1').$2"; }
is_connected() { [ "$(node_row "$1" connected)" = true ]; }
is_gone() { ! is_connected "$1"; }
is_approved() { [ "$(node_row "$1" approvalState)" = approved ]; }
# request_of VERSION: the request of the node that waits.
request_of() { call v4 node.pair.list '{}' | json "v.pending.find((n) => n.displayName === 'shed-$1').requestId"; }

# start_node VERSION: the official node host in a HOME of its own. Sets NODE.
start_node() {
  local home=$WORK/near/node-$1
  mkdir -p -m 700 "$home/.openclaw"
  echo "{ \"gateway\": { \"mode\": \"local\", \"port\": $GATEWAY_PORT, \"auth\": { \"mode\": \"token\", \"token\": \"$TOKEN\" } } }" >"$home/.openclaw/openclaw.json"
  start "node-$1" "$home" env OPENCLAW_GATEWAY_TOKEN="$TOKEN" node "$(openclaw_entry "$1")" \
    node run --host 127.0.0.1 --port "$GATEWAY_PORT" --display-name "shed-$1"
  NODE=$STARTED
  wait_for 90 is_connected "$1"
}

# invoke CLIENT NODE COMMAND PARAMS [MS]: by the official command line.
invoke() { openclaw "$1" nodes invoke --node "shed-$2" --command "$3" --params "$4" --invoke-timeout "${5:-20000}" --url "$URL" --token "$TOKEN"; }

# run_on CLIENT NODE PARAMS [MS]: system.run as a call of its own: version 4's nodes invoke leaves it to its agent.
run_on() {
  local id
  id=$(node_row "$2" nodeId)
  call "$1" node.invoke "{\"nodeId\":\"$id\",\"command\":\"system.run\",\"params\":$3,\"idempotencyKey\":\"$RANDOM-$RANDOM\",\"timeoutMs\":${4:-20000}}"
}

# sh_fails COMMAND...: the command fails; prints what it said.
sh_fails() {
  local out
  out=$("$@" 2>&1) && { echo "$out"; echo "it should have failed"; return 1; }
  printf '%s\n' "$out"
}

# node_runs PID PROGRAM: the node host has such a child.
node_runs() {
  local pid
  for pid in $(children "$1"); do [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != "$2" ] || return 0; done
  return 1
}

# fails_within MS COMMAND...: the command fails, and not later than this; prints what it said.
fails_within() {
  local limit=$1 before=$EPOCHREALTIME out took
  shift
  out=$("$@" 2>&1) && { echo "$out"; echo "it should have failed"; return 1; }
  took=$(((${EPOCHREALTIME/[.,]/} - ${before/[.,]/}) / 1000))
  printf '%s\nafter %s ms\n' "$out" "$took"
  [ "$took" -le "$limit" ]
}

for version in v4 v3; do
  mkdir -p -m 700 "$WORK/near/openclaw-$version/.openclaw"
  echo "{ \"gateway\": { \"mode\": \"local\", \"port\": $GATEWAY_PORT, \"auth\": { \"mode\": \"token\", \"token\": \"$TOKEN\" } } }" >"$WORK/near/openclaw-$version/.openclaw/openclaw.json"
done

# Version 4: the device is paired silently, the commands are approved by a person.
need "v4: their node run connects" start_node v4
V4=$NODE
check "v4: nothing of it may be used before an approval" says 'not approved|NODE_COMMAND_NOT_APPROVED' sh_fails invoke v4 v4 system.which '{"bins":["sh"]}'
REQUEST=$(request_of v4)
check "v4: nodes pending shows its request" says "shed-v4" openclaw v4 nodes pending --url "$URL" --token "$TOKEN"
check "v4: nodes approve" says "." openclaw v4 nodes approve "$REQUEST" --url "$URL" --token "$TOKEN"
check "v4: it is approved" wait_for 20 is_approved v4

# Version 3: its node host and command line know no approval of commands.
need "v3: their node run connects" start_node v3
V3=$NODE
check "v3: it may be used at once" is_approved v3

for client in v4 v3; do
  for node in v4 v3; do
    check "$client: nodes invoke system.which on a node of $node" says '/bin/sh' invoke "$client" "$node" system.which '{"bins":["sh"]}'
  done
  check "$client: nodes status" says 'paired · connected' openclaw "$client" nodes status --url "$URL" --token "$TOKEN"
  check "$client: nodes list" says 'shed|[Pp]aired' openclaw "$client" nodes list --url "$URL" --token "$TOKEN"
  check "$client: nodes describe" says 'system.run' openclaw "$client" nodes describe --node shed-v4 --url "$URL" --token "$TOKEN"
  check "$client: a command that is not allowed is refused" says 'node command not allowed' sh_fails invoke "$client" v4 camera.snap '{}'
done
for client in v4 v3; do
  check "$client: node.invoke system.run on a node of v4" says 'hello from a node' run_on "$client" v4 '{"command":["echo","hello from a node"]}'
done
check "v3: their own policy asks first" says 'SYSTEM_RUN_DENIED' sh_fails invoke v3 v3 system.run '{"command":["echo","hi"]}'
check "v3: exec.approvals.node.get reads its policy" says '"version"' call v3 exec.approvals.node.get "{\"nodeId\":\"$(node_row v3 nodeId)\"}"
check "nobody says by himself that something is approved" says 'approval' sh_fails run_on v4 v3 '{"command":["id"],"approved":true,"runId":"x"}'
check "v4: nodes rename" says 'bench' openclaw v4 nodes rename --node shed-v3 --name bench --url "$URL" --token "$TOKEN"
openclaw v4 nodes rename --node bench --name shed-v3 --url "$URL" --token "$TOKEN" >/dev/null 2>&1

# A node that is killed while a command runs there: the caller learns it at once, not after the command's minute.
(wait_for 60 node_runs "$V4" sleep && kill -KILL -- "-$V4") &
check "v4: a node killed in mid-call answers its caller" says 'node gone' fails_within 40000 run_on v4 v4 '{"command":["sleep","55"]}' 55000
check "v4: it is gone" wait_for 20 is_gone v4
need "v4: it comes back" start_node v4
check "v4: its approval is still there" is_approved v4
check "v4: and it works" says '/bin/sh' invoke v4 v4 system.which '{"bins":["sh"]}'

check "on the host: nodes list" says 'shed-v4' far "$BIN/clawline-gateway" nodes list
check "on the host: nodes remove" far "$BIN/clawline-gateway" nodes remove "$(node_row v4 nodeId)"
check "on the host: nothing of it is approved any more" says 'not approved|not connected|unknown node' sh_fails invoke v4 v4 system.which '{"bins":["sh"]}'
check "v3: their node host works on" says '/bin/sh' invoke v4 v3 system.which '{"bins":["sh"]}'
stop "$V3"
finish
