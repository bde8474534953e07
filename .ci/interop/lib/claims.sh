# Claims: stated, counted, side by side in lanes; and the end of a script. A part of lib.sh.

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

# exits_saying CODE PATTERN COMMAND...: the command ends with this exit code, and its output matches (extended regular
# expression).
exits_saying() {
  local wanted=$1 pattern=$2 out code=0
  shift 2
  out=$("$@" 2>&1) || code=$?
  printf '%s\n' "$out"
  [ "$code" = "$wanted" ] || { echo "exit code $code, wanted $wanted"; return 1; }
  grep -qE -- "$pattern" <<<"$out" || { echo "no match for: $pattern"; return 1; }
}
# says PATTERN COMMAND...: the command succeeds and says so. refuses PATTERN COMMAND...: it fails with exit code 1 and says so.
says() { exits_saying 0 "$@"; }
refuses() { exits_saying 1 "$@"; }

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

# tries COMMAND...: as the command says, up to four times, and once with STRICT=1. For questions of programs that give the
# answer a short time of their own, which a busy machine may take before the gateway is even asked.
tries() {
  local try
  for try in 1 2 3; do
    [ -z "${STRICT:-}" ] || break
    "$@" && return
    echo "-- that was try $try --"
  done
  "$@"
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
