# Helpers of the interop scripts: a world of its own a script, with a real sshd, real gateways and real terminals.
# Source it, use the start_* functions, state claims with `check`, end with `finish`.
#
# $WORK/near is the laptop's HOME, $WORK/far is the HOME of the machine the gateway runs on. sshd is told to
# give that HOME to those who sign in, so nothing of the real user's is read or written.
set -uo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
CACHE=${CLAWLINE_CI_CACHE:-$HOME/.cache/clawline-ci}
BIN=${CLAWLINE_BIN:-$ROOT/target/debug}
NODE_PATH_DIR=$CACHE/node/node_modules/node/bin
ME=$(id -un)
# It guards nothing but a gateway that lives as long as the script.
TOKEN=interop-token

WORK=$(mktemp -d /tmp/clawline-interop.XXXXXX)
mkdir -p "$WORK"/{near,far,tmp,run,log} "$WORK/near/.ssh" "$WORK/far/.openclaw"
chmod 700 "$WORK"/{near,far,run} "$WORK/near/.ssh" "$WORK/far/.openclaw"
# What OpenClaw compiles at its first start is kept between runs: it takes half a minute on a busy machine.
mkdir -p "$CACHE"/tmp/{jiti,node-compile-cache}
ln -s "$CACHE"/tmp/{jiti,node-compile-cache} "$WORK/tmp/"

PIDS=()
PASSED=0
FAILED=0

# ---- running things --------------------------------------------------------------------------------------

# clean_env HOME COMMAND...: nothing of the caller's environment but what a login would have. Replaces the
# calling (sub)shell, so that a background caller's $! is the command itself.
clean_env() {
  local home=$1
  shift
  cd "$home" && exec env -i HOME="$home" USER="$ME" LOGNAME="$ME" SHELL=/bin/bash LANG=C.UTF-8 TERM=xterm-256color \
    PATH="$NODE_PATH_DIR:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
    TMPDIR="$WORK/tmp" XDG_RUNTIME_DIR="$WORK/run" "$@"
}

# near COMMAND..., far COMMAND...: on the laptop, on the far machine.
near() { (clean_env "$WORK/near" "$@") </dev/null; }
far() { (clean_env "$WORK/far" "$@") </dev/null; }

# clawline ARG...: our program on the laptop, never longer than two minutes.
clawline() { near timeout -k 5 120 "$BIN/clawline" "$@"; }

# openclaw v3|v4 ARG...: the official client, in a HOME of its own on the laptop.
openclaw() {
  local version=$1
  shift
  mkdir -p "$WORK/near/openclaw-$version"
  (clean_env "$WORK/near/openclaw-$version" timeout -k 5 180 node "$(openclaw_entry "$version")" "$@") </dev/null
}
openclaw_entry() { echo "$CACHE/openclaw-$1/node_modules/openclaw/openclaw.mjs"; }

# start NAME HOME COMMAND...: in the background, in its own process group; sets STARTED to its pid, which is also the
# group's. Its output goes to $WORK/log/NAME.
start() {
  local name=$1 home=$2
  shift 2
  (clean_env "$home" setsid "$@") >>"$WORK/log/$name" 2>&1 </dev/null &
  STARTED=$!
  PIDS+=("$STARTED")
}

alive() { kill -0 "$1" 2>/dev/null && [ "$(ps -o stat= -p "$1" | cut -c1)" != Z ]; }
gone() { ! alive "$1"; }
group_gone() { ! kill -0 -- "-$1" 2>/dev/null; }

# stop PID: SIGTERM to its group, SIGKILL to what is left of it half a minute later.
stop() {
  kill -TERM -- "-$1" 2>/dev/null || return 0
  wait_for 30 gone "$1" || true
  kill -KILL -- "-$1" 2>/dev/null
  wait "$1" 2>/dev/null
  return 0
}

# children PID: every process below it, which still belongs to it when it dies.
children() {
  local child
  for child in $(ps -o pid= --ppid "$1"); do
    echo "$child"
    children "$child"
  done
}

# No claim of these scripts may depend on how fast the machine is or what else runs on it: what another process will do is
# waited for, for SOON seconds where nothing takes longer by nature, and goes on as soon as it is there. What is promised in
# a time of its own is held to it with STRICT=1, on a machine that is quiet.
SOON=60
# promised SECONDS: how long to wait for what is promised in so many.
promised() { if [ -n "${STRICT:-}" ]; then echo "$1"; else echo "$SOON"; fi; }

# wait_for SECONDS COMMAND...: until the command succeeds; fails at the deadline.
wait_for() {
  local until=$((${EPOCHREALTIME/[.,]/} + $1 * 1000000))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "${EPOCHREALTIME/[.,]/}" -lt "$until" ] || return 1
    sleep 0.05
  done
}

# soon COMMAND...: a claim that becomes true by itself a moment after what was done before. Prints what the last try said.
soon() {
  local until=$((SECONDS + SOON)) code out
  while :; do
    code=0
    out=$("$@" 2>&1) || code=$?
    [ "$code" != 0 ] && [ "$SECONDS" -lt "$until" ] || break
    sleep 0.2
  done
  printf '%s\n' "$out"
  return "$code"
}

# free_port: one that nobody listens on, with fifteen above it, as OpenClaw also wants some of those, and never the same
# twice. Below the range for outgoing connections that any kernel has, so none of those takes it before it is listened on.
free_port() {
  local port taken
  while :; do
    port=$((10000 + RANDOM % 370 * 16))
    mkdir -p "$WORK/ports" && mkdir "$WORK/ports/$port" 2>/dev/null || continue
    taken=$(ss -Hltn "sport >= :$port and sport < :$((port + 16))")
    [ -z "$taken" ] || continue
    echo "$port"
    return
  done
}

listening() { [ -n "$(ss -Hltn "sport = :$1")" ]; }
not_listening() { ! listening "$1"; }
# answers PORT PATH: an HTTP request there gets any success.
answers() { curl -fsS -m 10 -o /dev/null "http://127.0.0.1:$1$2"; }

# json EXPRESSION: of the JSON on standard input, called `v`. Prints its value; nothing and failure where it is missing.
json() {
  "$NODE_PATH_DIR/node" -e '
    let text = ""; process.stdin.on("data", (piece) => (text += piece)).on("end", () => {
      let value; try { value = new Function("v", `return ${process.argv[1]}`)(JSON.parse(text)); } catch (error) { console.error(String(error)); }
      if (value === undefined || value === null || value === false) process.exit(1);
      console.log(typeof value === "string" ? value : JSON.stringify(value));
    });' "$1"
}

# ---- claims ----------------------------------------------------------------------------------------------

# check NAME COMMAND...: one claim. What the command printed is shown either way, shortened when it held.
check() {
  local name=$1 log=$WORK/log/check${LANE:+-$LANE}
  shift
  if "$@" >"$log" 2>&1; then
    PASSED=$((PASSED + 1))
    echo "ok   $name"
    LC_ALL=C.UTF-8 sed -E '/^[[:space:]─]*$/d; s/^(.{150}).*/\1…/; s/^/     | /' "$log" | head -n 14
  else
    FAILED=$((FAILED + 1))
    echo "FAIL $name"
    tail -n 60 "$log" | sed 's/^/     | /'
  fi
  return 0
}

# row_of VERSION NAME COMMAND...: a claim about OpenClaw's clients of this version, and a line for the table of docs/INTEROP.md.
row_of() {
  local version=$1 name=$2 before=$FAILED verdict=ok
  shift 2
  check "$version: $name" "$@"
  [ "$FAILED" = "$before" ] || verdict=FAIL
  printf '%s\t%s\t%s\n' "$name" "$version" "$verdict" >>"$WORK/rows"
}
# table_says SCRIPT: docs/INTEROP.md says of the rows of this script what was seen.
table_says() { "$NODE_PATH_DIR/node" "$HERE/interop-table.mjs" "$WORK/rows" "$ROOT/docs/INTEROP.md" "$1"; }

# expect WANTED_CODE COMMAND...: the command's exit code is the wanted one; its output passes through.
expect() {
  local wanted=$1 got=0
  shift
  "$@" || got=$?
  echo "exit code $got"
  [ "$got" = "$wanted" ] || { echo "wanted exit code $wanted"; return 1; }
}

# says PATTERN COMMAND...: the command succeeds and its output matches (extended regular expression).
says() {
  local pattern=$1 out code=0
  shift
  out=$("$@" 2>&1) || code=$?
  printf '%s\n' "$out"
  [ "$code" = 0 ] || { echo "exit code $code"; return 1; }
  grep -qE -- "$pattern" <<<"$out" || { echo "no match for: $pattern"; return 1; }
}

# tells PATTERN... -- COMMAND...: the command succeeds and its output has a line for each pattern (extended regular
# expression), and none for a pattern with `!` before it. Colours are taken out.
tells() {
  local patterns=() out code=0 pattern
  while [ "$1" != -- ]; do patterns+=("$1") && shift; done
  shift
  out=$("$@" 2>&1) || code=$?
  out=$(sed -E 's/\x1b\[[0-9;]*m//g' <<<"$out")
  printf '%s\n' "$out"
  [ "$code" = 0 ] || { echo "exit code $code"; return 1; }
  for pattern in "${patterns[@]}"; do
    case $pattern in
      !*) ! grep -qE -- "${pattern#!}" <<<"$out" || { echo "there is a line for: ${pattern#!}"; return 1; } ;;
      *) grep -qE -- "$pattern" <<<"$out" || { echo "no line for: $pattern"; return 1; } ;;
    esac
  done
}

# holds EXPRESSION COMMAND...: the command succeeds and the expression of its standard output, JSON called `v`, is true.
holds() {
  local expression=$1 out
  shift
  out=$("$@" 2>"$WORK/log/stderr${LANE:+-$LANE}") || { echo "exit code $?: $out"; cat "$WORK/log/stderr${LANE:+-$LANE}"; return 1; }
  json "$expression" <<<"$out" || { echo "not so: $expression"; head -c 2000 <<<"$out"; return 1; }
}

# lane NAME COMMAND...: in the background beside other lanes, with claims, output and pids of its own; sets LANE there.
# lanes_end waits for all and adds them up.
LANES=()
LANE_PIDS=()
lane() {
  LANES+=("$1")
  (
    LANE=$1 PASSED=0 FAILED=0 PIDS=()
    shift
    "$@"
    for pid in "${PIDS[@]}"; do stop "$pid"; done
    echo "$PASSED $FAILED" >"$WORK/log/lane-$LANE.count"
  ) >"$WORK/log/lane-$1" 2>&1 &
  LANE_PIDS+=("$!")
}
lanes_end() {
  local name passed failed
  wait "${LANE_PIDS[@]}"
  for name in "${LANES[@]}"; do
    cat "$WORK/log/lane-$name"
    read -r passed failed <"$WORK/log/lane-$name.count" || { echo "FAIL lane $name ended early"; passed=0 failed=1; }
    PASSED=$((PASSED + passed)) FAILED=$((FAILED + failed))
  done
  LANES=() LANE_PIDS=()
}

# finish: stops everything this script started, prints the count, ends with failure if a claim failed.
finish() { exit 0; }
cleanup() {
  trap - EXIT
  local pid log
  [ -S "$WORK/tmux" ] && tmux -S "$WORK/tmux" kill-server 2>/dev/null
  for pid in "${PIDS[@]}"; do stop "$pid"; done
  if [ "$FAILED" -gt 0 ]; then
    for log in "$WORK"/log/*; do
      case ${log##*/} in check* | lane-* | stderr | model*) continue ;; esac
      echo "---- end of ${log##*/}"
      tail -n 25 "$log" | cut -c1-300
    done
  fi
  if [ -n "${KEEP:-}" ]; then echo "kept $WORK"; else rm -rf "$WORK"; fi
  echo "$PASSED passed, $FAILED failed"
  [ "$FAILED" -eq 0 ] && [ "$PASSED" -gt 0 ] && exit 0
  exit 1
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# need NAME COMMAND...: like check, for what all the rest stands on: a failure ends the script.
need() {
  local before=$FAILED
  check "$@"
  [ "$FAILED" -eq "$before" ] || exit 1
}

# ---- sshd ------------------------------------------------------------------------------------------------

# start_sshd: Debian's own, with its own config, keys and port. Sets SSH_PORT, SSHD and KEY; writes the laptop's known_hosts.
start_sshd() {
  SSH_PORT=${SSH_PORT:-$(free_port)}
  KEY=$WORK/near/.ssh/id_ed25519
  if [ ! -e "$WORK/host_key" ]; then
    ssh-keygen -q -t ed25519 -N '' -C 'interop host' -f "$WORK/host_key"
    ssh-keygen -q -t ed25519 -N '' -C 'interop laptop' -f "$KEY"
    cp "$KEY.pub" "$WORK/authorized_keys"
    cat >"$WORK/sshd_config" <<EOF
ListenAddress 127.0.0.1
Port $SSH_PORT
HostKey $WORK/host_key
PidFile none
AuthorizedKeysFile $WORK/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AcceptEnv LANG LC_*
SetEnv HOME=$WORK/far
PrintMotd no
LogLevel VERBOSE
EOF
    know_host "$WORK/host_key.pub"
  fi
  # Debian's sshd drops privileges into this directory; systemd makes it, a container does not have it.
  [ "$(id -u)" != 0 ] || mkdir -p /run/sshd
  start sshd "$WORK/far" /usr/sbin/sshd -D -e -f "$WORK/sshd_config"
  SSHD=$STARTED
  wait_for "$SOON" listening "$SSH_PORT"
}

# know_host PUBLIC_KEY: the laptop's known_hosts says exactly this about our sshd.
know_host() { echo "[127.0.0.1]:$SSH_PORT $(cut -d' ' -f1,2 "$1")" >"$WORK/near/.ssh/known_hosts"; }

# kill_sshd: SIGKILL to the listener and to every session it serves, as a crash of the machine would.
kill_sshd() {
  local pids
  pids="$(children "$SSHD") $SSHD"
  # shellcheck disable=SC2086 # a list of pids
  kill -KILL $pids 2>/dev/null
  wait "$SSHD" 2>/dev/null
  wait_for "$SOON" not_listening "$SSH_PORT"
}

# SSH options of OpenSSH's own client to our sshd, for checks of the harness itself and for comparisons.
ssh_options() {
  echo "-F none -p $SSH_PORT -i $KEY -o BatchMode=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile=$WORK/near/.ssh/known_hosts"
}

# ---- gateways --------------------------------------------------------------------------------------------

# start_model [DELAY_MS]: the model stub. Sets MODEL_PORT.
start_model() {
  MODEL_PORT=$(free_port)
  start model "$WORK/near" node "$HERE/model-stub.mjs" "$MODEL_PORT" "${1:-40}" "$WORK/log/model-requests"
  wait_for "$SOON" answers "$MODEL_PORT" /v1/models
}

# start_openclaw v3|v4 [HOME]: the official gateway on the far machine, token in its config, answering through the stub.
# Sets GATEWAY_PORT and GATEWAY. HOME is the far machine's unless given. It takes about ten seconds alone on a machine, more with company.
start_openclaw() {
  local version=$1 home=${2:-$WORK/far}
  GATEWAY_PORT=$(free_port)
  rm -rf "$home/.openclaw"
  mkdir -m 700 "$home/.openclaw"
  cat >"$home/.openclaw/openclaw.json" <<EOF
{
  "gateway": { "mode": "local", "port": $GATEWAY_PORT, "bind": "loopback", "auth": { "mode": "token", "token": "$TOKEN" } },
  "agents": { "defaults": { "model": { "primary": "stub/stub" } } },
  "models": { "mode": "merge", "providers": { "stub": {
    "baseUrl": "http://127.0.0.1:$MODEL_PORT/v1", "apiKey": "not-a-key", "api": "openai-completions",
    "models": [ { "id": "stub", "name": "Stub", "contextWindow": 128000, "maxTokens": 4096 } ]
  } } }
}
EOF
  chmod 600 "$home/.openclaw/openclaw.json"
  start "openclaw-$version" "$home" node "$(openclaw_entry "$version")" gateway run --port "$GATEWAY_PORT"
  GATEWAY=$STARTED
  wait_for 300 listening "$GATEWAY_PORT" && wait_for 180 openclaw_ready "$version"
}
# It listens before it can answer: ready is an answered call of its own client.
openclaw_ready() { openclaw "$1" gateway health --url "ws://127.0.0.1:$GATEWAY_PORT" --token "$TOKEN"; }

# start_gateway [OPTION...]: ours on the far machine. Sets GATEWAY and, unless already set by the caller, GATEWAY_PORT.
start_gateway() {
  GATEWAY_PORT=${GATEWAY_PORT:-$(free_port)}
  start clawline-gateway "$WORK/far" "$BIN/clawline-gateway" run --port "$GATEWAY_PORT" "$@"
  GATEWAY=$STARTED
  wait_for "$SOON" answers "$GATEWAY_PORT" /readyz
}

# ---- terminals -------------------------------------------------------------------------------------------

# term_start NAME HOME COMMAND...: in a terminal of 120 by 40, or TERM_COLUMNS by TERM_ROWS, that stays readable after the
# command ended.
term_start() {
  local name=$1 home=$2 quoted
  shift 2
  printf -v quoted '%q ' "$@"
  cat >"$WORK/tmp/$name.sh" <<EOF
( $(declare -f clean_env); WORK=$(printf %q "$WORK") ME=$(printf %q "$ME") NODE_PATH_DIR=$(printf %q "$NODE_PATH_DIR"); clean_env $(printf %q "$home") $quoted )
echo "[ended with \$?]"
# A Ctrl+C that comes after the end is for nobody.
trap '' INT
exec sleep 3600
EOF
  tmux -S "$WORK/tmux" -f /dev/null new-session -d -s "$name" -x "${TERM_COLUMNS:-120}" -y "${TERM_ROWS:-40}" "bash $WORK/tmp/$name.sh"
}
term_send() { tmux -S "$WORK/tmux" send-keys -t "$1" -l "$2"; }
term_key() { tmux -S "$WORK/tmux" send-keys -t "$1" "${@:2}"; }
term_screen() { tmux -S "$WORK/tmux" capture-pane -t "$1" -p; }
term_stop() { tmux -S "$WORK/tmux" kill-session -t "$1" 2>/dev/null; }

# Not through a pipe: a grep that has seen enough would fail who still writes into it.
shows() { grep -qE -- "$2" <<<"$(term_screen "$1")"; }
# The last answer on the screen is a part of the long one: the proof that it streams.
shows_part() {
  local answer
  answer=$(term_screen "$1" | awk '/stub says:/ { text = "" } { text = text $0 } END { print text }')
  grep -qE 'word[0-9]+' <<<"$answer" && ! grep -q 'word60' <<<"$answer"
}

# wait_screen NAME SECONDS PATTERN: until the screen shows it; prints the screen either way.
wait_screen() {
  local code=0
  wait_for "$2" shows "$1" "$3" || code=1
  [ "$code" = 0 ] || echo "never saw: $3"
  term_screen "$1"
  return "$code"
}

# enters NAME TEXT: types it and sends it, once the terminal shows it: what comes faster may be taken for a paste.
enters() {
  term_send "$1" "$2"
  wait_for "$SOON" shows_text "$1" "$2" || { echo "it was not typed"; term_screen "$1"; return 1; }
  term_key "$1" Enter
}
shows_text() { grep -qF -- "$2" <<<"$(term_screen "$1")"; }

# streams NAME TEXT: said in the terminal, a text with "slowly" in it is answered piece by piece and then to its end. The
# model holds the answer in its middle until the first half was seen.
streams() {
  enters "$1" "$2" || return 1
  wait_for "$SOON" shows_part "$1" || { echo "no part of the answer was seen before its end"; term_screen "$1"; return 1; }
  echo "while it streams:"
  term_screen "$1" | grep -E 'word|stub says' | tail -n 3
  model_goes_on "$2"
  echo "at its end:"
  wait_for "$SOON" answered_whole "$1" "$2" || { echo "never saw its end"; term_screen "$1"; return 1; }
  term_screen "$1" | grep -E 'word|stub says' | tail -n 6
}
model_goes_on() { curl -fsS -m 20 -o /dev/null -G --data-urlencode "said=$1" "http://127.0.0.1:$MODEL_PORT/go-on"; }
answered_whole() { grep -qE "stub says: $2 [^:]*word60 \(end\)" <<<"$(term_screen "$1" | tr -s ' \n' ' ')"; }

# leaves NAME SECONDS: Ctrl+C, and once more where it asks for it; it may ask for it soon after the first one.
leaves() {
  local until=$((SECONDS + $2))
  term_key "$1" C-c
  wait_for "$2" shows "$1" '\[ended with|again'
  until shows "$1" '\[ended with' || [ "$SECONDS" -ge "$until" ]; do
    term_key "$1" C-c
    wait_for 5 shows "$1" '\[ended with'
  done
  wait_screen "$1" 1 '\[ended with'
}
