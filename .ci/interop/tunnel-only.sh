#!/usr/bin/env bash
# `clawline --tunnel-only` keeps a local port alive for other programs: OpenClaw's own client works through it, before and
# after every process of sshd was killed.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
TARGET=$ME@127.0.0.1

through() { openclaw v4 gateway health --timeout "$PATIENT_MS" --url "ws://127.0.0.1:$LOCAL" --token "$TOKEN"; }
same_process() {
  local holder
  holder=$(ss -Hltnp "sport = :$LOCAL")
  echo "$holder"
  alive "$TUNNEL" && grep -q "pid=$TUNNEL," <<<"$holder"
}
# says_holder CODE TARGET: the same tunnel once more is exit code 2, another one on its port 8; the words name the pid that holds it.
says_holder() {
  local out
  out=$(expect "$1" clawline --tunnel-only --listen "127.0.0.1:$LOCAL" -p "$SSH_PORT" -i "$KEY" "$2" 2>&1) || { echo "$out"; return 1; }
  echo "$out"
  grep -q "$TUNNEL" <<<"$out"
}
# says_owner WORDS: the last tunnel was refused its port with exit code 8, in these words.
says_owner() {
  local out words=$1 port=$2
  out=$(expect 8 clawline --tunnel-only --listen "$port" -p "$SSH_PORT" -i "$KEY" "$TARGET" 2>&1) || { echo "$out"; return 1; }
  echo "$out"
  grep -qE -- "$words" <<<"$out"
}
# An ssh whose starter has gone, as a crashed program leaves it behind.
orphan_ssh() {
  # shellcheck disable=SC2046 # options
  near bash -c "setsid ssh $(ssh_options) -N -L $ORPHAN_PORT:127.0.0.1:$GATEWAY_PORT $TARGET </dev/null >/dev/null 2>&1 & disown"
  wait_for "$SOON" listening "$ORPHAN_PORT" || return 1
  ORPHAN=$(ss -Hltnp "sport = :$ORPHAN_PORT" | grep -oE 'pid=[0-9]+' | head -n 1 | cut -d= -f2)
  PIDS+=("$ORPHAN")
}
connects_anew() {
  local before after
  before=$(grep -c '^state=up' "$WORK/log/tunnel")
  kill -HUP "$TUNNEL"
  wait_for "$SOON" more_ups "$before"
}
more_ups() { [ "$(grep -c '^state=up' "$WORK/log/tunnel")" -gt "$1" ]; }
reports() {
  kill -USR1 "$TUNNEL"
  wait_for "$SOON" grep -qE '^forward=.* bytes_up=[1-9]' "$WORK/log/tunnel" && grep -E '^(state=up .*generation|layer|forward)=' "$WORK/log/tunnel" | tail -n 9
}
ends() {
  local code=0
  kill -TERM "$TUNNEL"
  wait_for "$SOON" gone "$TUNNEL" || { echo "still there"; return 1; }
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
need "the tunnel listens" wait_for "$SOON" listening "$LOCAL"
need "and is up" wait_for "$SOON" grep -q '^state=up' "$WORK/log/tunnel"
check "the official client works through it" says OK through
check "the far port was found, nobody told it" grep -E "$GATEWAY_PORT" "$WORK/log/tunnel"

check "the same tunnel once more says who holds it" says_holder 2 "$TARGET"
check "another one on that port says who holds it" says_holder 8 "$ME@localhost"
check "a port of a gateway here is told as that" says_owner "belongs to a gateway on this machine" "$GATEWAY_PORT"
ORPHAN_PORT=$(free_port)
check "an ssh that was left behind" orphan_ssh
check "it is told with its process and command" says_owner "held by an ssh that was left behind .pid ${ORPHAN:-none}: ssh " "$ORPHAN_PORT"
check "SIGHUP connects anew" connects_anew
check "SIGUSR1 prints everything" reports
check "sshd's processes killed" kill_sshd
check "the local port is kept meanwhile" same_process
check "sshd started again" start_sshd
check "the official client works again" wait_for 300 through
check "same port, same process" same_process
check "what it said, one line a state change" cat "$WORK/log/tunnel"

check "the gateway stopped" stop "$GATEWAY"
check "the tunnel outlives it" same_process
check "SIGTERM ends it" ends
check "the port is free again" not_listening "$LOCAL"
finish
