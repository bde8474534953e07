#!/usr/bin/env bash
# What a person is told when a layer refuses: the right layer, the peer's words and the next step, within two seconds (which
# STRICT=1 looks at, on a quiet machine), by
# `clawline health --json`, `clawline --tunnel-only --json` and the app in a terminal of 80 by 24; and nobody knocks again
# and again while it stays so.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
TARGET=$ME@127.0.0.1
TERM_COLUMNS=80 TERM_ROWS=24
# How long app and tunnel are left alone before their tries are counted.
ALONE=${ALONE:-4}

# sshd_says OPTION...: sshd starts anew, with these lines of sshd_config first.
sshd_says() {
  kill_sshd
  [ -e "$WORK/sshd_config.usual" ] || cp "$WORK/sshd_config" "$WORK/sshd_config.usual"
  { [ "$#" = 0 ] || printf '%s\n' "$@"; cat "$WORK/sshd_config.usual"; } >"$WORK/sshd_config"
  start_sshd
}
# Lines of sshd's log since the case began.
knocks() { grep -c "^Connection from" "$WORK/log/sshd"; }
# A closed port is asked about four times a second for a minute and then every five seconds, on purpose: it costs the
# server a line, and the app is linked at once when the gateway starts. The app and its programs use two connections.
# Requests for a channel that sshd turned down, by its options or because nothing listens there.
refusals() { grep -cE 'request was denied|connect_to .* failed|administratively prohibited|refused local port forward' "$WORK/log/sshd"; }
# tried HOW BEFORE BEGAN MOST: no more of them than that in each ten seconds since the case began, app, tunnel and health
# together. A case takes about ten, and longer on a machine that is busy.
tried() {
  local now tens
  now=$("$1")
  tens=$(((SECONDS - $3 + 9) / 10))
  echo "$((now - $2)) ${1} by app, tunnel and health in $((SECONDS - $3)) s"
  [ $((now - $2)) -le $(($4 * tens)) ]
}

ms() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }
health_tells() {
  local layer=$1 exit=$2 words=$3 next=$4 out code=0 began took
  began=$(ms)
  out=$(clawline health --json "${ARGS[@]}" "$TARGET" 2>"$WORK/log/stderr") || code=$?
  took=$(($(ms) - began))
  echo "$out" | json 'JSON.stringify({ took: '"$took"', exit: v.exit, layer: v.layer, error: v.error, peerText: v.peerText, next: v.next })'
  cat "$WORK/log/stderr"
  [ "$code" = "$exit" ] || { echo "exit code $code, wanted $exit"; return 1; }
  json "v.layer === '$layer' && /$words/i.test(v.error + ' ' + v.peerText) && /$next/i.test(v.next)" <<<"$out" >/dev/null || { echo "not what was wanted"; return 1; }
  [ "$took" -le $(($(promised 2) * 1000)) ] || { echo "it took longer than two seconds"; return 1; }
}
tunnel_told() {
  local layer=$1 words=$2 next=$3
  # Any one line says it all.
  told() { grep -E "\"layer\":\"$layer\"" "$WORK/log/$TUNNEL_NAME" | grep -iE "$words" | grep -iqE "\"next\":\"[^\"]*($next)"; }
  wait_for "$(promised 2)" told || { echo "never said"; cat "$WORK/log/$TUNNEL_NAME"; return 1; }
  grep -m 1 "\"layer\":\"$layer\"" "$WORK/log/$TUNNEL_NAME"
}
app_shows() {
  local word code=0
  for word in "$@"; do
    wait_screen_text app "$(promised 2)" "$word" >/dev/null || { echo "never saw: $word"; code=1; }
  done
  term_screen app
  return "$code"
}
# The screen as one line, without the frame, so that a sentence may wrap.
screen_text() { term_screen "$1" | tr -s ' \n│┃|' ' '; }
screen_has() { grep -iqE -- "$2" <<<"$(screen_text "$1")"; }
wait_screen_text() { wait_for "$2" screen_has "$1" "$3"; }

# layer NAME LAYER EXIT WORDS NEXT KNOCKS REFUSALS: all three at once, then left alone. WORDS are of the peer or about it,
# NEXT is of the next step; each a pattern of one piece that also holds on the screen. About ten seconds a case.
layer() {
  local name=$1 layer=$2 exit=$3 words=$4 next=$5 most_knocks=$6 most_refusals=$7 knocked refused began=$SECONDS
  knocked=$(knocks) refused=$(refusals)
  TUNNEL_NAME=tunnel-${name//[^a-z]/-}
  ARGS=(-p "$SSH_PORT" -i "$KEY" --remote "127.0.0.1:$GATEWAY_PORT")
  start "$TUNNEL_NAME" "$WORK/near" "$BIN/clawline" --tunnel-only --json --listen "127.0.0.1:$(free_port)" "${ARGS[@]}" "$TARGET"
  local tunnel=$STARTED
  if [ "$layer" = websocket ]; then
    # What speaks on a port is not the concern of who only holds the way to it.
    check "$name: --tunnel-only --json is up" wait_for "$(promised 2)" grep -q '"state":"up"' "$WORK/log/$TUNNEL_NAME"
  else
    check "$name: --tunnel-only --json" tunnel_told "$layer" "$words" "$next"
  fi
  term_start app "$WORK/near" "$BIN/clawline" "${ARGS[@]}" "$TARGET"
  check "$name: the app" app_shows "$words" "$next"
  check "$name: health --json" health_tells "$layer" "$exit" "$words" "$next"
  sleep "$ALONE"
  check "$name: still on the screen" app_shows "$words" "$next"
  check "$name: no storm of connections" tried knocks "$knocked" "$began" "$most_knocks"
  check "$name: no storm of channels" tried refusals "$refused" "$began" "$most_refusals"
  term_stop app
  stop "$tunnel"
}

need "sshd listens" start_sshd
need "the gateway starts" start_gateway
check "up, to begin with" clawline health -p "$SSH_PORT" -i "$KEY" "$TARGET"

need "sshd forbids forwarding" sshd_says 'AllowTcpForwarding no'
layer "AllowTcpForwarding no" forward 6 'administratively prohibited|open failed' 'AllowTcpForwarding' 4 6
need "sshd allows other places only" sshd_says 'PermitOpen none'
layer "PermitOpen none" forward 6 'administratively prohibited|open failed' 'PermitOpen' 4 6
need "sshd allows all again" sshd_says

check "the gateway stopped" stop "$GATEWAY"
layer "gateway down" port 6 "nothing listens on 127\.0\.0\.1:$GATEWAY_PORT|connect failed|connection refused" 'clawline-gateway start' 4 80

start http "$WORK/far" node -e "require('http').createServer((q, s) => { s.statusCode = 404; s.end('no') }).listen($GATEWAY_PORT, '127.0.0.1')"
HTTP=$STARTED
wait_for "$SOON" listening "$GATEWAY_PORT"
layer "a web server on the gateway's port" websocket 7 'not a gateway|404' 'is clawline-gateway|port|gateway' 4 0
stop "$HTTP"

REAL_PORT=$SSH_PORT SSH_PORT=$(free_port)
layer "wrong SSH port" tcp 3 'refuses connections' 'is sshd running|this port' 0 0
start http "$WORK/far" node -e "require('http').createServer((q, s) => s.end('no')).listen($SSH_PORT, '127.0.0.1')"
wait_for "$SOON" listening "$SSH_PORT"
layer "a web server on the SSH port" ssh 3 'is an HTTP server|400 Bad Request' 'check host and port' 0 0
stop "$STARTED"
SSH_PORT=$REAL_PORT

ssh-keygen -q -t ed25519 -N '' -f "$WORK/other_key"
know_host "$WORK/other_key.pub"
layer "host key changed" hostkey 4 'changed|another key|is not the one' 'hosts trust|known_hosts' 3 0
finish
