#!/usr/bin/env bash
# `clawline --tunnel-only` keeps a local port alive for other programs: OpenClaw's own client works through it, before and
# after every process of sshd was killed.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
TARGET=$ME@127.0.0.1

through() { openclaw v4 gateway health --url "ws://127.0.0.1:$LOCAL" --token "$TOKEN"; }
same_process() { alive "$TUNNEL" && listening "$LOCAL" && ss -Hltnp "sport = :$LOCAL" | tee /dev/stderr | grep -q "pid=$TUNNEL,"; }
# says_holder CODE TARGET: the same tunnel once more is exit code 2, another one on its port 8; the words name the pid that holds it.
says_holder() {
  local out
  out=$(expect "$1" clawline --tunnel-only --listen "127.0.0.1:$LOCAL" -p "$SSH_PORT" -i "$KEY" "$2" 2>&1) || { echo "$out"; return 1; }
  echo "$out"
  grep -q "$TUNNEL" <<<"$out"
}
ends() {
  local code=0
  kill -TERM "$TUNNEL"
  wait_for 5 gone "$TUNNEL" || { echo "still there after 5 s"; return 1; }
  wait "$TUNNEL" || code=$?
  echo "exit code $code"
  [ "$code" = 0 ] || [ "$code" = 130 ]
}

need "the model stub answers" start_model
need "sshd listens" start_sshd
need "OpenClaw v4 starts" start_openclaw v4

LOCAL=$(free_port)
start tunnel "$WORK/near" "$BIN/clawline" --tunnel-only --listen "127.0.0.1:$LOCAL" -p "$SSH_PORT" -i "$KEY" "$TARGET"
TUNNEL=$STARTED
need "the tunnel listens" wait_for 15 listening "$LOCAL"
check "the official client works through it" says OK through
check "the far port was found, nobody told it" grep -E "$GATEWAY_PORT" "$WORK/log/tunnel"

check "the same tunnel once more says who holds it" says_holder 2 "$TARGET"
check "another one on that port says who holds it" says_holder 8 "$ME@localhost"
check "sshd's processes killed" kill_sshd
check "the local port is kept meanwhile" same_process
check "sshd started again" start_sshd
check "the official client works again" wait_for 20 through
check "same port, same process" same_process
check "what it said, one line a state change" cat "$WORK/log/tunnel"

check "the gateway stopped" stop "$GATEWAY"
check "the tunnel outlives it" same_process
check "SIGTERM ends it" ends
check "the port is free again" not_listening "$LOCAL"
finish
