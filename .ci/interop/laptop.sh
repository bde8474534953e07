# The laptop's side as a person uses it: the same claims against whatever gateway runs on the far machine.
# Sourced after lib.sh. TARGET and SSH_ARGS are what the person types; no port and no token is among them.

TARGET=$ME@127.0.0.1
ssh_args() { SSH_ARGS=(-p "$SSH_PORT" -i "$KEY"); }

# asks SUBCOMMAND...: a subcommand through SSH.
asks() { clawline "$@" -H "$TARGET" "${SSH_ARGS[@]}"; }

# json_says EXPRESSION COMMAND...: the command succeeds and the expression holds for its JSON, called `v`.
json_says() {
  local expression=$1 out code=0
  shift
  out=$("$@" 2>"$WORK/log/stderr") || code=$?
  printf '%s\n' "$out"
  cat "$WORK/log/stderr"
  [ "$code" = 0 ] || { echo "exit code $code"; return 1; }
  json "$expression" <<<"$out" >/dev/null || { echo "does not hold: $expression"; return 1; }
}

# history_has TEXT TIMES: so often the person's message is in the main session's history, as the gateway keeps it.
history_has() {
  local out count
  out=$(asks gateway call chat.history --params '{"sessionKey":"agent:main:main","limit":200}' --json) || { echo "$out"; return 1; }
  count=$(json '(v.payload ?? v.result ?? v).messages.filter((m) => m.role === "user").map((m) =>
    typeof m.content === "string" ? m.content : m.content.map((part) => part.text ?? "").join("")).filter((text) => text.includes('"$(printf '"%s"' "$1")"')).length + ""' <<<"$out")
  echo "in the history $count times: $1"
  [ "$count" = "$2" ]
}

# app_start NAME [OPTION...]: the app as a person starts it.
app_start() {
  local name=$1
  shift
  term_start "$name" "$WORK/near" "$BIN/clawline" "${SSH_ARGS[@]}" "$@" "$TARGET"
}
app_says() { enters "$1" "$2"; }

# commands_work VERSION_PATTERN: what scripts and monitoring use, with nothing configured on the laptop.
commands_work() {
  check "$1: health through SSH finds port and token" json_says 'v.ok === true && v.exit === 0' asks health --json
  check "$1: health says every layer is good" json_says 'v.rows.length > 5 && v.rows.every((row) => !/fail|wait|down/i.test(row.state))' asks health --json
  check "$1: status --deep names the port that was found" says "127\.0\.0\.1:$GATEWAY_PORT" asks status --deep
  check "$1: sessions --json" json_says 'typeof v === "object"' asks sessions --json
  check "$1: agent --message answers" says 'stub says: hello from clawline \(end\)' asks agent --message "hello from clawline"
  check "$1: the session is listed" says 'agent:main:main' asks sessions --json
  check "$1: gateway call" json_says 'typeof v === "object"' asks gateway call sessions.list --json
  check "$1: logs" asks logs
}

# chat_works NAME: one command to a live chat, in a real terminal.
chat_works() {
  app_start "$1"
  check "$1: the app links with one command" wait_screen "$1" "$SOON" 'linked'
  check "$1: the app streams a chat" streams "$1" "tell me slowly"
}

# link_comes_back NAME: sshd is killed as a crash would; nobody presses a key.
link_comes_back() {
  local before
  before=$(processes "$1")
  check "$1: sshd's processes killed" kill_sshd
  check "$1: the app says that the link is down" wait_screen "$1" "$SOON" 'no link|again in|refused|reset|closed'
  check "$1: sshd started again" start_sshd
  check "$1: the app is linked again by itself" wait_screen "$1" "$SOON" 'linked'
  check "$1: it is the same process" [ "$before" = "$(processes "$1")" ]
  check "$1: the transcript is there once" soon screen_has_once "$1" 'tell me slowly$'
  app_says "$1" "are you back"
  check "$1: it answers again" wait_screen "$1" "$SOON" 'stub says: are you back \(end\)'
}
processes() { children "$(tmux -S "$WORK/tmux" display-message -p -t "$1" '#{pane_pid}')"; }
screen_has_once() {
  term_screen "$1"
  [ "$(term_screen "$1" | grep -v 'stub says' | grep -cE -- "$2")" = 1 ]
}

# app_quits NAME: it leaves, and gives the terminal back.
app_quits() {
  check "$1: the app quits" leaves "$1" "$SOON"
  check "$1: with success" shows "$1" '\[ended with 0\]'
  check "$1: the terminal is given back: main screen, cursor, no mouse" terminal_is_as_before "$1"
  term_stop "$1"
}
terminal_is_as_before() {
  local seen
  seen=$(tmux -S "$WORK/tmux" display-message -p -t "$1" 'alternate=#{alternate_on} cursor=#{cursor_flag} mouse=#{mouse_any_flag}#{mouse_sgr_flag} keypad=#{keypad_flag}')
  echo "$seen"
  [ "$seen" = 'alternate=0 cursor=1 mouse=00 keypad=0' ]
}
