# Running things: on the laptop, on the far machine, in the background; and waiting for what they do. A part of lib.sh.

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

# clawline ARG...: our program on the laptop, never longer than five minutes.
clawline() { near timeout -k 5 300 "$BIN/clawline" "$@"; }

# openclaw v3|v4 ARG...: the official client, in a HOME of its own on the laptop.
openclaw() {
  local version=$1
  shift
  mkdir -p "$WORK/near/openclaw-$version"
  (clean_env "$WORK/near/openclaw-$version" timeout -k 5 300 node "$(openclaw_entry "$version")" "$@") </dev/null
}
# What its commands are told with --timeout, where they would wait for ten seconds.
PATIENT_MS=120000
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

alive() {
  local state
  kill -0 "$1" 2>/dev/null && state=$(ps -o stat= -p "$1") && [ "${state:0:1}" != Z ]
}
gone() { ! alive "$1"; }
group_gone() { ! kill -0 -- "-$1" 2>/dev/null; }

# stop PID: SIGTERM to its group, SIGKILL to what is left of it half a minute later.
stop() {
  # Its group is there a moment after the process itself.
  kill -TERM -- "-$1" 2>/dev/null || kill -TERM "$1" 2>/dev/null || return 0
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
