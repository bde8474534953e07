#!/usr/bin/env bash
# `clawline node run` as a node of OpenClaw's gateways of both versions and of ours, over SSH: paired, approved, asked
# by their command line and by ours, and there again after the gateway was restarted.
#   node-run.sh [v4|v3|ours]...
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$HERE/laptop.sh"

start_sshd && ssh_args
start_model
mkdir -p "$WORK/near/open" && echo inside >"$WORK/near/open/a.txt"

# start_node NAME [OPTION...]: sets NODE and NODE_LOG.
start_node() {
  NODE_LOG=$WORK/log/$1
  start "$1" "$WORK/near" "$BIN/clawline" node run -H "$TARGET" "${SSH_ARGS[@]}" --display-name pi --exec allowlist "${@:2}"
  NODE=$STARTED
}
node_says() { grep -qE -- "$1" "$NODE_LOG"; }
node_said() { wait_for "$1" node_says "$2" || { cat "$NODE_LOG"; return 1; } && grep -E -- "$2" "$NODE_LOG" | tail -n 1 | cut -c1-300; }
# The value of a member in the last line with this state.
node_member() { grep -E "^state=$1 " "$NODE_LOG" | tail -n 1 | sed -nE "s/.* $2=\"?([^ \"]+).*/\1/p"; }
up_times() { [ "$(grep -c '^state=up ' "$NODE_LOG")" -ge "$1" ]; }

# theirs ARG...: OpenClaw's command line at this gateway.
theirs() { openclaw "$CLIENT" "$@" --url "ws://127.0.0.1:$GATEWAY_PORT" --token "$TOKEN" --timeout "$PATIENT_MS"; }

# asked_by_theirs NAME: what their command line can do with a node.
asked_by_theirs() {
  check "$1: their nodes status lists it" says 'pi' theirs nodes status
  check "$1: their nodes describe" says 'system\.which' theirs nodes describe --node pi
  check "$1: their nodes invoke" says '/(usr/)?bin/sh' theirs nodes invoke --node pi --command system.which --params '{"bins":["sh"]}' --invoke-timeout 60000
  check "$1: nothing runs without an approval" says 'SYSTEM_RUN_DENIED|approval required' fails theirs gateway call node.invoke --params \
    '{"nodeId":"'"$(node_member up node)"'","command":"system.run","params":{"command":["touch","'"$WORK"'/ran"]},"idempotencyKey":"k1","timeoutMs":60000}'
  check "$1: and did not" [ ! -e "$WORK/ran" ]
}
# fails COMMAND...: succeeds where the command fails; its output passes through.
fails() { ! "$@"; }

# asked_by_ours NAME: the same with our command line.
asked_by_ours() {
  check "$1: nodes list" says 'pi +connected' asks nodes list
  check "$1: nodes describe" says 'system\.which' asks nodes describe pi
  check "$1: nodes invoke" says '/(usr/)?bin/sh' asks nodes invoke pi system.which --params '{"bins":["sh"]}'
  check "$1: what is on the node's list runs" says '^Linux$' asks nodes invoke pi system.run --params '{"command":["uname","-s"]}'
  check "$1: what is not on it does not" expect 1 asks nodes invoke pi system.run --params '{"command":["uname","-r"]}'
  check "$1: an unknown node is wrong usage" expect 2 asks nodes describe nobody
}

comes_back() {
  local before
  before=$(grep -c '^state=up ' "$NODE_LOG")
  stop "$GATEWAY"
  check "$1: the node says that the gateway is gone" node_said "$SOON" '^state=(connecting|waiting) '
  "${@:2}"
  check "$1: it is back after the gateway's restart" wait_for 300 up_times $((before + 1))
  # Version 4 lets nodes in before it takes calls.
  check "$1: and answers" wait_for 300 asks nodes invoke pi system.which --params '{"bins":["sh"]}'
}

ends() {
  stop "$NODE"
  check "$1: the node says goodbye" node_said "$SOON" '^state=stopped '
}

need "the node's list is made on the node" clawline node allow -- uname -s

v4() {
  CLIENT=v4
  need "v4: OpenClaw's gateway" start_openclaw v4
  start_node node-v4 --allow-root "$WORK/near/open"
  check "v4: the node is up" node_said 300 '^state=up .*protocol=4'
  check "v4: it says what waits for approval, and how" node_said "$SOON" '^state=unapproved .*nodes approve [0-9a-f-]{36}'
  check "v4: their nodes pending shows it" says 'pi' theirs nodes pending
  check "v4: ours as well" says 'clawline nodes approve' asks nodes pending
  check "v4: their nodes approve" theirs nodes approve "$(node_member unapproved request)"
  check "v4: the node notices at once" node_said "$SOON" '^state=approved '
  asked_by_theirs v4
  asked_by_ours v4
  check "v4: directories below the allowed one" says '"entries"' asks nodes invoke pi fs.listDir --params '{"path":"'"$WORK"'/near/open"}'
  check "v4: and no others" expect 1 asks nodes invoke pi fs.listDir --params '{"path":"/etc"}'
  check "v4: the node's list at the gateway" says 'uname -s' asks gateway call exec.approvals.node.get --params '{"nodeId":"'"$(node_member up node)"'"}'
  check "v4: nodes rename" says 'is now pi' asks nodes rename pi pi
  comes_back v4 restart_openclaw v4
  ends v4
  check "v4: nodes remove" asks nodes remove pi
  stop "$GATEWAY"
}
# With its state, unlike start_openclaw.
restart_openclaw() {
  start "openclaw-$1" "$WORK/far" node "$(openclaw_entry "$1")" gateway run --port "$GATEWAY_PORT"
  GATEWAY=$STARTED
  wait_for 600 listening "$GATEWAY_PORT"
}

v3() {
  CLIENT=v3
  need "v3: OpenClaw's gateway" start_openclaw v3
  start_node node-v3
  check "v3: the node is up" node_said 300 '^state=up .*protocol=3'
  asked_by_theirs v3
  asked_by_ours v3
  comes_back v3 restart_openclaw v3
  ends v3
  stop "$GATEWAY"
}

ours() {
  CLIENT=v4
  rm -rf "$WORK/far/.openclaw"
  GATEWAY_PORT=$(free_port)
  need "ours: the gateway" start_gateway
  # The laptop finds it over SSH; OpenClaw's command line has to be told.
  TOKEN=$(cat "$WORK/far/.local/state/clawline-gateway/token")
  start_node node-ours --allow-root "$WORK/near/open"
  check "ours: the node is up" node_said 300 '^state=up .*protocol=4'
  check "ours: it says what waits for approval, and how" node_said "$SOON" '^state=unapproved '
  check "ours: nodes pending" says 'clawline nodes approve' asks nodes pending
  check "ours: nodes approve" asks nodes approve "$(asks nodes pending --json | json 'v.pending[0].requestId')"
  check "ours: the node notices at once" node_said "$SOON" '^state=approved '
  asked_by_theirs ours
  asked_by_ours ours
  comes_back ours start_gateway
  ends ours
  check "ours: nodes remove" asks nodes remove pi
  stop "$GATEWAY"
}

for which in "${@:-v4}"; do
  "$which"
done
[ $# -gt 0 ] || { v3; ours; }
finish
