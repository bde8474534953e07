#!/usr/bin/env bash
# The rows of DESIGN §7 that can be measured on one machine in some minutes, each beside its peer in the same run:
# OpenClaw 2026.9.6 for the gateway, the command line and the app. Prints a Markdown table. The tunnel has a bench of its
# own beside OpenSSH: `cargo bench --bench tunnel`.
#   .ci/perf.sh            all
#   .ci/perf.sh gateway    or cli, app, crowd: some
# `crowd` is 10,000 idle connections, and 1,000 busy ones beside three that never read; it has no peer here: Node needs
# most of the machine for the clients alone.
# docs/PERFORMANCE.md holds dated results.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
[ -n "${CLAWLINE_BIN:-}" ] || cargo build --release --workspace --quiet || exit 1
CLAWLINE_BIN=${CLAWLINE_BIN:-$PWD/target/release}
.ci/interop/install-openclaw.sh >/dev/null || exit 1
source .ci/interop/lib.sh
SECTIONS=${*:-gateway cli app crowd}
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

# crowd_bin: the load generator of the gateway's crate, built as the gateway was.
crowd_bin() {
  local profile=()
  [[ $CLAWLINE_BIN != */release ]] || profile=(--release)
  (cd "$ROOT" && cargo build -p clawline-gateway --bench crowd "${profile[@]}" --message-format=json 2>/dev/null) |
    sed -n 's/.*"executable":"\([^"]*\/crowd-[^"]*\)".*/\1/p'
}
if wanted crowd; then
  CROWD=$(crowd_bin)
  [ -x "$CROWD" ] || { echo "the load generator was not built"; exit 1; }
  ulimit -n "$(ulimit -Hn)"
  need "our gateway starts" start_gateway
  check "${CLAWLINE_CROWD:-10000} idle connections" says 'figure' "$CROWD" idle "$GATEWAY_PORT" "$OUR_TOKEN" "$GATEWAY" "${CLAWLINE_CROWD:-10000}"
  check "1,000 busy clients beside three that never read" says 'figure busy silent ones cut: 3,' "$CROWD" busy "$GATEWAY_PORT" "$OUR_TOKEN" $((${CLAWLINE_CROWD:-10000} / 10)) 3
  stop "$GATEWAY"
  unset GATEWAY_PORT
fi

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

echo
echo "Measured on $(date -u +%F), $(nproc) cores ($(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)), $(ssh -V 2>&1 | cut -d, -f1)."
echo
echo "| what | clawline | peer | target |"
echo "|---|---|---|---|"
printf '%s\n' "${ROWS[@]}"
finish
