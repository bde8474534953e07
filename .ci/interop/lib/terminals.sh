# Real terminals: what is typed in them and what they show. A part of lib.sh.

# term_start NAME HOME COMMAND...: in a terminal of 120 by 40, or TERM_COLUMNS by TERM_ROWS, that stays readable after the
# command ended.
term_start() {
  local name=$1 home=$2 quoted
  shift 2
  printf -v quoted '%q ' "$@"
  cat >"$WORK/tmp/$name.sh" <<EOF
# A Ctrl+C that comes when the command has just ended is not for this shell, either.
trap : INT
( $(declare -f clean_env); WORK=$(printf %q "$WORK") ME=$(printf %q "$ME") NODE_PATH_DIR=$(printf %q "$NODE_PATH_DIR"); clean_env $(printf %q "$home") $quoted )
echo "[ended with \$?]"
trap '' INT
exec sleep 3600
EOF
  tmux -S "$WORK/tmux" -f "$WORK/tmp/tmux.conf" new-session -d -s "$name" -x "${TERM_COLUMNS:-120}" -y "${TERM_ROWS:-40}" "bash $WORK/tmp/$name.sh"
}
term_send() { tmux -S "$WORK/tmux" send-keys -t "$1" -l "$2"; }
term_key() { tmux -S "$WORK/tmux" send-keys -t "$1" "${@:2}"; }
term_screen() { tmux -S "$WORK/tmux" capture-pane -t "$1" -p; }
# term_stop NAME: and waits until what ran in it has gone, so that it disturbs nobody who comes after it.
term_stop() {
  local pid pids
  pid=$(tmux -S "$WORK/tmux" display-message -p -t "$1" '#{pane_pid}' 2>/dev/null) || return 0
  pids=$(children "$pid")
  tmux -S "$WORK/tmux" kill-session -t "$1" 2>/dev/null
  for pid in $pids; do wait_for 15 gone "$pid"; done
  return 0
}

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

# leaves NAME SECONDS: Ctrl+C, and where it asks for it once more, twice: the second one must come soon after the first, and
# until the question is on the screen and was seen, that time may be over.
leaves() {
  local until=$((SECONDS + $2))
  term_key "$1" C-c
  wait_for "$2" shows "$1" '\[ended with|again'
  until shows "$1" '\[ended with' || [ "$SECONDS" -ge "$until" ]; do
    term_key "$1" C-c C-c
    wait_for 15 shows "$1" '\[ended with'
  done
  wait_screen "$1" 1 '\[ended with'
}
