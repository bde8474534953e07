#!/usr/bin/env bash
# OpenClaw's own node hosts, both versions, on clawline-gateway: paired, approved, invoked, gone in mid-call, and what their
# command lines can do with them. Unmodified. docs/INTEROP.md is the table of the rows; a version in it is that of the client.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need "the gateway starts" start_gateway
TOKEN=$(cat "$WORK/far/.local/state/clawline-gateway/token")
URL=ws://127.0.0.1:$GATEWAY_PORT

# call VERSION METHOD PARAMS: one call by the official client, its answer as JSON.
call() { openclaw "$1" gateway call "$2" --params "$3" --timeout 150000 --json --url "$URL" --token "$TOKEN"; }
# look METHOD: the same by a few lines of ours, in no time, for what is looked at until it is so.
look() { "$NODE_PATH_DIR/node" "$HERE/ask.mjs" "$GATEWAY_PORT" "$TOKEN" "$1"; }
# node_row VERSION MEMBER: of the node of this version, by its name.
node_row() { look node.list | json "v.nodes.find((n) => n.displayName === 'shed-$1').$2"; }
is_connected() { [ "$(node_row "$1" connected)" = true ]; }
is_gone() { ! is_connected "$1"; }
is_approved() { [ "$(node_row "$1" approvalState)" = approved ]; }
# request_of VERSION: the request of the node that waits, once it has asked.
request_of() { look node.pair.list | json "v.pending.find((n) => n.displayName === 'shed-$1').requestId"; }

# start_node VERSION: the official node host in a HOME of its own. Sets NODE.
start_node() {
  local home=$WORK/near/node-$1
  mkdir -p -m 700 "$home/.openclaw"
  echo "{ \"gateway\": { \"mode\": \"local\", \"port\": $GATEWAY_PORT, \"auth\": { \"mode\": \"token\", \"token\": \"$TOKEN\" } } }" >"$home/.openclaw/openclaw.json"
  start "node-$1" "$home" env OPENCLAW_GATEWAY_TOKEN="$TOKEN" node "$(openclaw_entry "$1")" \
    node run --host 127.0.0.1 --port "$GATEWAY_PORT" --display-name "shed-$1"
  NODE=$STARTED
  wait_for 300 is_connected "$1"
}

comes_back() { start_node v4 && wait_for "$SOON" is_approved v4; }

# invoke CLIENT NODE COMMAND PARAMS [MS]: by the official command line.
invoke() { nodes "$1" invoke --node "shed-$2" --command "$3" --params "$4" --invoke-timeout "${5:-60000}"; }

# run_on CLIENT NODE PARAMS [MS]: system.run as a call of its own: version 4's nodes invoke leaves it to its agent.
run_on() {
  local id
  id=$(node_row "$2" nodeId)
  call "$1" node.invoke "{\"nodeId\":\"$id\",\"command\":\"system.run\",\"params\":$3,\"idempotencyKey\":\"$RANDOM-$RANDOM\",\"timeoutMs\":${4:-60000}}"
}

# sh_fails COMMAND...: the command fails; prints what it said.
sh_fails() {
  local out
  out=$("$@" 2>&1) && { echo "$out"; echo "it should have failed"; return 1; }
  printf '%s\n' "$out"
}

# nodes CLIENT ARG...: the official command line about nodes, at our gateway.
nodes() {
  local client=$1
  shift
  openclaw "$client" nodes "$@" --url "$URL" --token "$TOKEN" --timeout 150000
}

# Version 3's `nodes run` asks whether it may, and somebody else says so: the official command line of version 4.
asked_for() { look exec.approval.list | json "v.find((a) => JSON.stringify(a.request).includes('$1')).id"; }
answers_it() {
  local until=$((SECONDS + 240)) id
  until id=$(asked_for "$2"); do
    [ "$SECONDS" -lt "$until" ] || return 1
    sleep 0.2
  done
  call v4 exec.approval.resolve "{\"id\":\"$id\",\"decision\":\"$1\"}"
}
# decided DECISION WORD: nodes run of a command that prints the word, and that decision; prints both, fails as nodes run does.
decided() {
  local code=0 answering
  answers_it "$1" "$2" >"$WORK/log/answered" 2>&1 &
  answering=$!
  nodes v3 run --node shed-v3 --invoke-timeout 60000 --raw "printf '%s is what it prints' $2" || code=$?
  wait "$answering" || code=9
  echo "the answer to $1: $(cat "$WORK/log/answered")"
  return "$code"
}

# node_runs PID PROGRAM: the node host has such a child.
node_runs() {
  local pid
  for pid in $(children "$1"); do [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != "$2" ] || return 0; done
  return 1
}

for version in v4 v3; do
  mkdir -p -m 700 "$WORK/near/openclaw-$version/.openclaw"
  echo "{ \"gateway\": { \"mode\": \"local\", \"port\": $GATEWAY_PORT, \"auth\": { \"mode\": \"token\", \"token\": \"$TOKEN\" } } }" >"$WORK/near/openclaw-$version/.openclaw/openclaw.json"
done

# Version 4: the device is paired silently, the commands are approved by a person.
row_of v4 "node run, connects and is paired silently" start_node v4
V4=$NODE
row_of v4 "node run, nothing may be used before an approval" says 'not approved|NODE_COMMAND_NOT_APPROVED' sh_fails invoke v4 v4 system.which '{"bins":["sh"]}'
wait_for "$SOON" request_of v4
REQUEST=$(request_of v4)
row_of v4 "nodes pending, a node asks" says "shed-v4" nodes v4 pending
row_of v4 "nodes approve" says "." nodes v4 approve "$REQUEST"
check "v4: it is approved" wait_for "$SOON" is_approved v4

# Version 3: its node host and command line know no approval of commands.
row_of v3 "node run, connects and is paired silently" start_node v3
V3=$NODE
row_of v3 "node run, it may be used at once" wait_for "$SOON" is_approved v3

for client in v4 v3; do
  for node in v4 v3; do
    row_of "$client" "nodes invoke on a node of $node" says '/bin/sh' invoke "$client" "$node" system.which '{"bins":["sh"]}'
  done
  row_of "$client" "nodes status, with nodes" says 'paired · connected' nodes "$client" status
  row_of "$client" "nodes list, with nodes" says 'shed|[Pp]aired' nodes "$client" list
  row_of "$client" "nodes describe" says 'system.run' nodes "$client" describe --node shed-v4
  row_of "$client" "nodes invoke, a command that is not allowed" says 'node command not allowed' sh_fails invoke "$client" v4 camera.snap '{}'
  row_of "$client" "gateway call node.invoke, system.run on a node of v4" says 'hello from a node' run_on "$client" v4 '{"command":["echo","hello from a node"]}'
done
row_of v3 "nodes invoke, the node's own policy asks first" says 'SYSTEM_RUN_DENIED' sh_fails invoke v3 v3 system.run '{"command":["echo","hi"]}'
row_of v3 "nodes run, somebody approves" says 'approved-by-hand is what it prints' decided allow-once approved-by-hand
row_of v3 "nodes run, somebody denies" says 'user denied' sh_fails decided deny denied-by-hand
check "v3: exec.approvals.node.get reads its policy" says '"version"' call v3 exec.approvals.node.get "{\"nodeId\":\"$(node_row v3 nodeId)\"}"
check "nobody says by himself that something is approved" says 'approval' sh_fails run_on v4 v3 '{"command":["id"],"approved":true,"runId":"x"}'
row_of v4 "nodes rename" says 'bench' nodes v4 rename --node shed-v3 --name bench
nodes v4 rename --node bench --name shed-v3 >/dev/null 2>&1

# A node that is killed while a command runs there: the caller learns it then, and not that the command's two minutes are over.
(wait_for 290 node_runs "$V4" sleep && kill -KILL -- "-$V4") &
KILLER=$!
row_of v4 "node run, killed in mid-call its caller is answered" says 'node gone' sh_fails run_on v4 v4 '{"command":["sleep","115"]}' 120000
kill "$KILLER" 2>/dev/null
check "v4: it is gone" wait_for "$SOON" is_gone v4
row_of v4 "node run, comes back with its approval" comes_back
check "v4: and it works" says '/bin/sh' invoke v4 v4 system.which '{"bins":["sh"]}'

check "on the host: nodes list" says 'shed-v4' far "$BIN/clawline-gateway" nodes list
check "on the host: nodes remove" far "$BIN/clawline-gateway" nodes remove "$(node_row v4 nodeId)"
check "on the host: nothing of it is approved any more" says 'not approved|not connected|unknown node' sh_fails invoke v4 v4 system.which '{"bins":["sh"]}'
row_of v3 "node run, not touched by what becomes of another" says '/bin/sh' invoke v4 v3 system.which '{"bins":["sh"]}'
stop "$V3"
check "docs/INTEROP.md says what was seen" table_says nodes.sh
finish
