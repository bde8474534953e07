#!/usr/bin/env bash
# The rows of DESIGN §7 that can be measured on one machine in some minutes, each beside its peer in the same run:
# OpenClaw 2026.9.6 for the gateway and the command line, `ssh -N -L` for the tunnel. Prints a Markdown table.
#   .ci/perf.sh            all
#   .ci/perf.sh gateway    or cli, app, tunnel, distance, recovery: some
# docs/PERFORMANCE.md holds dated results.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
[ -n "${CLAWLINE_BIN:-}" ] || cargo build --release --workspace --quiet || exit 1
CLAWLINE_BIN=${CLAWLINE_BIN:-$PWD/target/release}
.ci/interop/install-openclaw.sh >/dev/null || exit 1
source .ci/interop/lib.sh
SECTIONS=${*:-gateway cli app tunnel distance recovery}
TARGET=$ME@127.0.0.1

wanted() { [[ " $SECTIONS " == *" $1 "* ]]; }
perf() { near timeout -k 5 400 node "$HERE/perf.mjs" "$@"; }
# row WHAT OURS PEER THEIRS TARGET
ROWS=()
row() {
  ROWS+=("| $1 | $2 | $4 ($3) | $5 |")
  echo "${ROWS[-1]}" >&2
  PASSED=$((PASSED + 1))
}
# rss PID: MB of it and of all its children.
rss() {
  local pid
  for pid in "$1" $(children "$1"); do awk '/VmRSS/ { print $2 }' "/proc/$pid/status"; done | awk '{ sum += $1 } END { printf "%.1f", sum / 1024 }'
}
# tunnels: the same far port through clawline and through ssh; sets OURS_PORT and THEIRS_PORT.
tunnels() {
  local ssh_port=$1
  OURS_PORT=$(free_port)
  THEIRS_PORT=$(free_port)
  start tunnel "$WORK/near" "$BIN/clawline" --tunnel-only -L "127.0.0.1:$OURS_PORT:127.0.0.1:$FAR_PORT" -p "$ssh_port" -i "$KEY" "$TARGET"
  OURS=$STARTED
  # shellcheck disable=SC2046 # a list of options
  start ssh "$WORK/near" ssh -N -L "127.0.0.1:$THEIRS_PORT:127.0.0.1:$FAR_PORT" $(SSH_PORT=$ssh_port ssh_options) "$TARGET"
  THEIRS=$STARTED
  wait_for 20 listening "$OURS_PORT" && wait_for 20 listening "$THEIRS_PORT"
}
best() { printf '%s\n' "$@" | sort -n | tail -1; }

need "the model stub answers" start_model 5
need "sshd listens" start_sshd

OUR_TOKEN=$WORK/far/.local/state/clawline-gateway/token
# How long from the key press to a chat that is ready, in a real terminal.
until_ready() {
  local name=$1 pattern=$2 began=${EPOCHREALTIME/[.,]/}
  shift 2
  term_start "$name" "$@"
  until shows "$name" "$pattern"; do
    [ $((${EPOCHREALTIME/[.,]/} - began)) -lt 60000000 ] || { echo "never"; return 1; }
  done
  echo $(((${EPOCHREALTIME/[.,]/} - began) / 1000))
  term_stop "$name"
}

if wanted gateway || wanted cli || wanted app; then
  # One after the other, so that neither takes the other's processor.
  GATEWAY_PORT=$(free_port)
  need "our gateway starts" start_gateway
  if wanted gateway; then
    ours_memory=$(rss "$GATEWAY")
    ours_flood=$(perf flood "$GATEWAY_PORT" "$OUR_TOKEN" 5 32)
  fi
  ! wanted cli || ours_cli=$(far node "$HERE/perf.mjs" wall 20 "$BIN/clawline" health local)
  ! wanted app || ours_app=$(until_ready ours linked "$WORK/near" "$BIN/clawline" -p "$SSH_PORT" -i "$KEY" "$TARGET")
  stop "$GATEWAY"
  ! wanted gateway || ours_start=$(far node "$HERE/perf.mjs" start "$GATEWAY_PORT" "$OUR_TOKEN" 10 "$BIN/clawline-gateway" run --port "$GATEWAY_PORT")

  need "OpenClaw starts" start_openclaw v4
  if wanted gateway; then
    theirs_memory=$(rss "$GATEWAY")
    theirs_flood=$(perf flood "$GATEWAY_PORT" "$TOKEN" 5 32)
  fi
  ! wanted cli || theirs_cli=$(far node "$HERE/perf.mjs" wall 5 node "$(openclaw_entry v4)" health)
  ! wanted app || theirs_app=$(until_ready theirs connected "$WORK/far" node "$(openclaw_entry v4)" tui)
  stop "$GATEWAY"
  ! wanted gateway || theirs_start=$(far node "$HERE/perf.mjs" start "$GATEWAY_PORT" "$TOKEN" 1 node "$(openclaw_entry v4)" gateway run --port "$GATEWAY_PORT")

  if wanted gateway; then
    row "gateway: process start to first \`health\` answered, ms" "$ours_start" OpenClaw "$theirs_start" "≤ 50"
    row "gateway: idle memory with its helpers, MB" "$ours_memory" OpenClaw "$theirs_memory" "≤ 20"
    row "gateway: \`health\` a second over one connection, 32 in flight" "$ours_flood" OpenClaw "$theirs_flood" "≥ 40,000"
  fi
  ! wanted cli || row "\`health\` on the gateway's machine, ms wall" "$ours_cli" OpenClaw "$theirs_cli" "≤ 25"
  ! wanted app || row "app: one command to a chat that is ready, ms (ours through SSH, theirs local)" "$ours_app" OpenClaw "$theirs_app" "≤ 300"
fi

if wanted tunnel || wanted distance || wanted recovery; then
  FAR_PORT=$(free_port)
  start far-end "$WORK/far" node "$HERE/perf.mjs" serve "$FAR_PORT"
  wait_for 10 listening "$FAR_PORT"
  need "both tunnels listen" tunnels "$SSH_PORT"
fi
# Turn and turn about, the best of three each: what the line can do, not what else ran meanwhile.
turns() {
  local kind=$1 amount=$2 n ours=() theirs=()
  for n in 1 2 3; do
    ours+=("$(perf "$kind" "$OURS_PORT" "$amount")")
    theirs+=("$(perf "$kind" "$THEIRS_PORT" "$amount")")
  done
  OURS_BEST=$(best "${ours[@]}")
  THEIRS_BEST=$(best "${theirs[@]}")
}
if wanted tunnel; then
  turns pull 1024
  row "tunnel: download on loopback, MB/s" "$OURS_BEST" "ssh -L" "$THEIRS_BEST" "≥ 1.2×"
  turns push 1024
  row "tunnel: upload on loopback, MB/s" "$OURS_BEST" "ssh -L" "$THEIRS_BEST" "≥ 1.2×"
  row "tunnel: round trip of 64 bytes, µs p50 and p99" "$(perf echo "$OURS_PORT" 10000)" "ssh -L" "$(perf echo "$THEIRS_PORT" 10000)" "≤ ssh"
fi
if wanted recovery; then
  kill_sshd
  sleep 3 # the length of the outage, not a wait for anything
  perf back "$OURS_PORT" "$SSH_PORT" >"$WORK/log/back" &
  waiting=$!
  start_sshd
  wait "$waiting"
  row "tunnel: usable again after sshd came back (down 3 s), ms" "$(cat "$WORK/log/back")" "ssh -L" "ends" "≤ 500"
fi
if wanted distance; then
  stop "$OURS"
  stop "$THEIRS"
  LONG_PORT=$(free_port)
  start long-line "$WORK/near" node "$HERE/perf.mjs" delay "$LONG_PORT" "$SSH_PORT" 50
  wait_for 10 listening "$LONG_PORT"
  echo "[127.0.0.1]:$LONG_PORT $(cut -d' ' -f1,2 "$WORK/host_key.pub")" >>"$WORK/near/.ssh/known_hosts"
  need "both tunnels listen over the long line" tunnels "$LONG_PORT"
  turns pull 256
  row "tunnel: download at 100 ms round trip, MB/s" "$OURS_BEST" "ssh -L" "$THEIRS_BEST" "≥ 5×"
  turns push 256
  row "tunnel: upload at 100 ms round trip, MB/s" "$OURS_BEST" "ssh -L" "$THEIRS_BEST" ""
fi

echo
echo "Measured on $(date -u +%F), $(nproc) cores ($(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)), $(ssh -V 2>&1 | cut -d, -f1)."
echo
echo "| what | clawline | peer | target |"
echo "|---|---|---|---|"
printf '%s\n' "${ROWS[@]}"
finish
