#!/usr/bin/env bash
# What monitoring relies on: exit codes and JSON of `clawline health` for each thing that can be wrong.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
TARGET=$ME@127.0.0.1

health() { clawline health --json -p "$SSH_PORT" -i "$KEY" "$@" "$TARGET"; }

# reports CODE LAYER COMMAND...: that exit code, and JSON that says the same.
reports() {
  local wanted=$1 layer=$2 out code=0
  shift 2
  out=$("$@" 2>"$WORK/log/stderr") || code=$?
  printf '%s\n' "$out"
  cat "$WORK/log/stderr"
  echo "exit code $code"
  [ "$code" = "$wanted" ] || { echo "wanted exit code $wanted"; return 1; }
  json "v.v === 1 && v.exit === $wanted && v.ok === ($wanted === 0) && (v.layer ?? '') === '$layer' && ($wanted === 0 || v.next.length > 0)" <<<"$out" >/dev/null ||
    { echo "the JSON does not say exit $wanted, layer '$layer' and a next step"; return 1; }
}

need "sshd listens" start_sshd
need "the gateway starts" start_gateway
GATEWAY_TOKEN=$(cat "$WORK/far/.local/state/clawline-gateway/token")

check "up: 0" reports 0 "" health
check "up, in words" clawline health -p "$SSH_PORT" -i "$KEY" "$TARGET"
check "wrong token, typed on a laptop that is paired already: 7" reports 7 token health --token wrong
rm -r "$WORK/near/.local"
check "wrong token on a laptop that was never here: 7" reports 7 token health --token wrong
check "right token, typed: 0" reports 0 "" health --token "$GATEWAY_TOKEN"

ssh-keygen -q -t ed25519 -N '' -f "$WORK/other_key"
KEY=$WORK/other_key check "a key that sshd does not know: 5" reports 5 signin health

know_host "$WORK/other_key.pub"
check "changed host key: 4" reports 4 hostkey health
check "changed host key, even if new ones are accepted: 4" reports 4 hostkey health --accept-new-host-key
rm "$WORK/near/.ssh/known_hosts"
check "unknown host key with nobody to ask: 4" reports 4 hostkey health
check "unknown host key, accepted: 0" reports 0 "" health --accept-new-host-key
check "it was written down" grep -F "$(cut -d' ' -f2 "$WORK/host_key.pub")" "$WORK/near/.ssh/known_hosts"
check "so the next time needs no option" reports 0 "" health

check "the gateway stopped" stop "$GATEWAY"
check "gateway down: 6" reports 6 port health --remote "127.0.0.1:$GATEWAY_PORT"
# Something else on the gateway's port.
start http "$WORK/far" node -e "require('http').createServer((q, s) => { s.statusCode = 404; s.end('no') }).listen($GATEWAY_PORT, '127.0.0.1')"
wait_for "$SOON" listening "$GATEWAY_PORT"
check "a web server on the gateway's port: 7" reports 7 websocket health --remote "127.0.0.1:$GATEWAY_PORT"
stop "$STARTED"
check "sshd killed" kill_sshd
check "SSH down: 3" reports 3 tcp health
start silence "$WORK/far" node -e "require('net').createServer(() => {}).listen($SSH_PORT, '127.0.0.1')"
wait_for "$SOON" listening "$SSH_PORT"
check "something silent on SSH's port: 3" reports 3 ssh health
stop "$STARTED"

for target in '-oProxyCommand=x' 'user@' 'host:99999' ''; do
  check "not a target, '$target': 2" expect 2 clawline health -- "$target"
done
check "an unknown option: 2" expect 2 clawline health --no-such-option
finish
