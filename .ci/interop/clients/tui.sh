# Rows of openclaw-clients.sh: their terminal app, in a real terminal. The two versions look and speak differently; what a
# row waits for is what each shows against a gateway of its own.

# Each version in a session of its own, so that neither aborts the other's answers.
tui_starts() { term_start "$LANE" "$CLIENT" node "$(openclaw_entry "$LANE")" tui "${EXPLICIT[@]}" --session "talk-$LANE"; }

tui_rows() {
  # Their own gateways know that the stub does not think, and hundreds of models beside it.
  local think=low model=
  if [ -n "$THEIRS" ]; then think=off model=stub; fi
  tui_starts
  row "tui, connects" wait_screen "$LANE" 300 '^ *(gateway )?connected \| idle'
  row "tui, names agent and session" wait_screen "$LANE" "$SOON" "agent main .*\\| session talk-$LANE"
  row "tui, a chat streams" streams "$LANE" "tell me slowly, $LANE"
  row "tui, /status" commanded /status "$([ "$LANE" = v4 ] && echo 'Model: stub/stub' || echo 'Default model: stub|Gateway status')"
  row "tui, /think" commanded "/think $think" "thinking set to $think|think $think"
  row "tui, /verbose" commanded "/verbose on" 'verbose (set to )?on'
  row "tui, /model lists the models" picks /model '(→|>) *stub/stub' "$model"
  row "tui, /agent lists the agents" picks /agent '→ *main'
  row "tui, /sessions lists the sessions" picks /sessions '(→|  ).*(just now|ago)'
  row "tui, Esc aborts an answer" aborts
  row "tui, the aborted session goes on" says_and_hears "after the abort $LANE"
  if [ "$LANE" = v4 ]; then
    row "tui, /new begins another session" commanded /new 'new session: agent:main:tui-'
    row "tui, a chat in the new session" says_and_hears "first words $LANE"
    row "tui, /session goes back" commanded "/session talk-$LANE" "after the abort $LANE"
  fi
  row "tui, /reset empties the session" resets
  row "tui, a chat after the reset" says_and_hears "last words $LANE"
  term_key "$LANE" C-u
  row "tui, leaves" leaves "$LANE" "$SOON"
  term_stop "$LANE"
  tui_starts
  row "tui, another one shows the history" wait_screen "$LANE" 300 "stub says: last words $LANE"
}

# typed TEXT: typed and sent. The first Enter on a command with a word behind it may only choose the word that is offered
# while typing: then it is pressed again. A command alone is sent by the first one, and where that opens a list, another Enter
# would choose from it.
typed() {
  term_key "$LANE" C-u
  term_send "$LANE" "$1"
  wait_for "$SOON" shows "$LANE" "^ *${1%% *}" || return 1
  term_key "$LANE" Enter
  case $1 in
    /*' '*) wait_for 4 not_typed "$1" || term_key "$LANE" Enter ;;
  esac
}
# The line that is typed stands between two rules.
not_typed() { ! grep -qF -- "$1" <<<"$(term_screen "$LANE" | grep -E -A1 '^─{20}')"; }

commanded() {
  typed "$1" || { echo "it was not typed"; term_screen "$LANE"; return 1; }
  wait_screen "$LANE" "$SOON" "$2"
}
# picks COMMAND PATTERN [SEARCH]: a list opens, shows it (when the words to search for were typed), and Esc closes it.
picks() {
  typed "$1"
  local code=0
  { wait_for "$SOON" shows "$LANE" '([sS]earch|Filter): ' && term_send "$LANE" "${3:-}" && wait_for "$SOON" shows "$LANE" "$2"; } || code=1
  term_screen "$LANE" | grep -vE '^ *$' | tail -n 25
  term_key "$LANE" Escape
  wait_for 10 closed || { term_key "$LANE" Escape; wait_for "$SOON" closed || { echo "the list stays"; code=1; }; }
  return "$code"
}
closed() { ! shows "$LANE" '([sS]earch|Filter): >'; }
says_and_hears() {
  # The last words are on the screen a moment before the run is over.
  typed "$1" && wait_screen "$LANE" "$SOON" "stub says: $1" && wait_screen "$LANE" "$SOON" "connected \\| idle"
}
aborts() {
  typed "and now slowly, $LANE"
  wait_for "$SOON" shows_part "$LANE" || { echo "it never streamed"; term_screen "$LANE"; return 1; }
  term_key "$LANE" Escape
  wait_screen "$LANE" "$SOON" 'run aborted|\| aborted' || return 1
  ! grep -q 'word60' <<<"$(term_screen "$LANE" | awk '/and now slowly/ { found = 1 } found')"
}
resets() {
  typed /reset
  wait_for "$SOON" emptied || { echo "the old words are still there"; term_screen "$LANE"; return 1; }
  term_screen "$LANE" | grep -vE '^ *$'
}
emptied() { ! shows "$LANE" "after the abort $LANE" && shows "$LANE" 'connected \| (idle|aborted)'; }

# After both lanes: each version's terminal is open, on one gateway.
tui_together_rows() {
  local version old=$GATEWAY
  URL=ws://127.0.0.1:$GATEWAY_PORT
  LANE=v3
  row "tui, /session opens the session of another client" commanded "/session talk-v4" "stub says: last words v4"
  LANE=v4
  row "tui, shows what another client says" other_says
  if [ -d "${REFERENCE:=$WORK/near/reference}" ]; then
    start stays "$REFERENCE" node reference-client.mjs stays "$URL" "$TOKEN" "$REFERENCE/device.json"
    wait_for "$SOON" grep -q '^up 1' "$WORK/log/stays"
  fi
  kill -TERM "$GATEWAY"
  wait_for "$SOON" gone "$GATEWAY"
  for version in v4 v3; do
    LANE=$version
    row "tui, says that the gateway is gone" wait_screen "$LANE" "$SOON" 'gateway disconnected|disconnected|reconnect'
  done
  start_gateway --config "$WORK/far/gateway.json5"
  for version in v4 v3; do
    LANE=$version
    row "tui, connects again by itself" wait_screen "$LANE" 180 '^ *(gateway )?(re)?connected( \||$)'
    row "tui, a chat after the restart" says_and_hears "back again $LANE"
  done
  LANE=v4
  if [ -d "$REFERENCE" ]; then
    row "gateway-client, connects again after a restart" stayed
  fi
  unset LANE
}
other_says() {
  LANE=v3 says_and_hears "said in v3" >/dev/null && wait_screen v4 "$SOON" '^ *said in v3'
}
stayed() {
  wait_for 180 grep -q '"hellos":2' "$WORK/log/stays" || { cat "$WORK/log/stays"; return 1; }
  holds 'v.health && v.gaps === 0 && v.attempts <= 12' tail -n 1 "$WORK/log/stays"
}
