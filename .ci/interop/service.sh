#!/usr/bin/env bash
# `clawline install-tunnel` and the service it writes, run as systemd would run it, under a real sshd with a gateway of ours
# behind it: ready, alive, seen and steered from outside, killed and started again.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
TARGET=$ME@127.0.0.1
NOTIFY=$WORK/run/notify

tunnel() { clawline tunnel "$@"; }
state_is() { tunnel status --json | json "v.tunnels[0].$1" ; }
# In place of systemd's socket: notes each message.
hear() {
  perl -e 'use Socket; $| = 1; socket(S, PF_UNIX, SOCK_DGRAM, 0) && bind(S, pack_sockaddr_un($ARGV[0])) or die $!;
    while (defined recv(S, $m, 4096, 0)) { $m =~ s/\n/ /g; print "$m\n" }' "$NOTIFY"
}
heard() { grep -qE -- "$1" "$WORK/log/systemd"; }
# start_service: the unit's own command line, with what systemd puts into the environment.
start_service() {
  start service "$WORK/near" env NOTIFY_SOCKET="$NOTIFY" WATCHDOG_USEC=2000000 bash -c "exec ${UNIT_COMMAND//%%/%}"
  SERVICE=$STARTED
}
reaches() { curl -fsS -m "$SOON" -o /dev/null "http://127.0.0.1:$LOCAL/readyz"; }
verified() {
  local out
  out=$(XDG_RUNTIME_DIR=$WORK/run systemd-analyze --user --man=no --generators=no verify "$UNIT" 2>&1) || { echo "$out"; return 1; }
  echo "${out:-nothing to complain of}"
  ! grep -q clawline-tunnel <<<"$out"
}
# connected_anew WAY...: the way leads to one connection more, in the same process.
connected_anew() {
  local before
  before=$(state_is generation) || return 1
  "$@" || return 1
  wait_for "$SOON" generation_above "$before" || { tunnel status; return 1; }
  tunnel status
}
generation_above() { [ "$(state_is generation)" -gt "$1" ]; }
silent_holder() {
  local out code=0 took=${EPOCHREALTIME/[.,]/}
  kill -STOP "$SERVICE"
  out=$(tunnel status) || code=$?
  took=$((${EPOCHREALTIME/[.,]/} - took))
  kill -CONT "$SERVICE"
  echo "$out"
  echo "exit code $code after $((took / 1000)) ms"
  [ "$code" = 1 ] && grep -q "does not answer" <<<"$out" && [ "$took" -lt $(($(promised 2) * 1000000)) ]
}
kill9() { kill -KILL -- "-$SERVICE"; wait "$SERVICE" 2>/dev/null; gone "$SERVICE"; }
# race: two at once; one holds it, the other is told so.
race() {
  local round ports pids code losers
  for round in $(seq 20); do
    pids=() losers=0
    for _ in 1 2; do
      start racer "$WORK/near" "$BIN/clawline" --tunnel-only -L "$RACE" -p "$SSH_PORT" -i "$KEY" "$TARGET"
      pids+=("$STARTED")
    done
    wait_for "$SOON" one_gone "${pids[@]}" || { echo "round $round: none has ended"; return 1; }
    for pid in "${pids[@]}"; do
      alive "$pid" && continue
      code=0
      wait "$pid" || code=$?
      [ "$code" = 2 ] || { echo "round $round: exit code $code"; return 1; }
      losers=$((losers + 1))
    done
    [ "$losers" = 1 ] || { echo "round $round: $losers have ended"; return 1; }
    for pid in "${pids[@]}"; do stop "$pid"; done
  done
  echo "20 rounds, one holder each"
}
one_gone() { gone "$1" || gone "$2"; }
stops_clean() {
  local code=0
  tunnel stop "$TARGET" || return 1
  wait "$SERVICE" || code=$?
  echo "exit code $code"
  find "$WORK/run" -name 'tunnel-*'
  [ "$code" = 0 ] && [ -z "$(find "$WORK/run" -name 'tunnel-*')" ] && [ ! -e "$WORK/status.json" ] && not_listening "$LOCAL"
}

need "sshd listens" start_sshd
need "the gateway starts" start_gateway
LOCAL=$(free_port)
RACE=$(free_port)

check "the service is written" says "wrote .*clawline-tunnel-" clawline install-tunnel "$TARGET" --no-start -L "$LOCAL" -p "$SSH_PORT" -i "$KEY"
UNIT=$(ls "$WORK"/near/.config/systemd/user/clawline-tunnel-*.service)
check "written again it is left as it is" says "is as it should be" clawline install-tunnel "$TARGET" --no-start -L "$LOCAL" -p "$SSH_PORT" -i "$KEY"
! command -v systemd-analyze >/dev/null || check "systemd finds nothing wrong with it" verified
UNIT_COMMAND=$(sed -n 's/^ExecStart=//p' "$UNIT")
UNIT_COMMAND=${UNIT_COMMAND/ -- / --status-file $WORK/status.json -- }

start systemd "$WORK/near" bash -c "$(declare -f hear); NOTIFY=$(printf %q "$NOTIFY") hear"
need "somebody listens to what systemd is told" wait_for "$SOON" test -S "$NOTIFY"
start_service
need "it is ready" wait_for "$SOON" heard '^READY=1'
check "the gateway is reached through it" soon reaches
check "it says that it is alive" wait_for "$SOON" heard '^WATCHDOG=1'
check "it is up, seen from outside" soon says "$TARGET  up" tunnel status
check "and in the status file" soon says '"state":"up"' cat "$WORK/status.json"

check "sshd's processes killed: it comes back by itself" connected_anew bash -c "kill -KILL $(children "$SSHD" | tr '\n' ' ')"
check "SIGHUP connects anew" connected_anew kill -HUP "$SERVICE"
check "systemd knows of it" wait_for "$SOON" heard '^RELOADING=1 MONOTONIC_USEC=[0-9]+'
check "so does the subcommand" connected_anew tunnel reconnect "$TARGET"
check "the gateway is reached as before" soon reaches
check "a holder that is stopped is told so within two seconds" silent_holder
check "two that start at once, twenty times" race

check "kill -9" kill9
start_service
check "the next one starts at once" wait_for "$SOON" state_is answers
check "the gateway is reached through the next one" wait_for "$SOON" reaches
check "ended from outside, nothing is left" stops_clean
check "systemd knew of it" wait_for "$SOON" heard '^STOPPING=1'
check "none is held" expect 2 tunnel status
check "the service is removed" says "removed " clawline install-tunnel "$TARGET" --uninstall
finish
