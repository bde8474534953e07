#!/usr/bin/env bash
# clawline against clawline-gateway through a real sshd, with nothing configured on the laptop.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
source "$HERE/laptop.sh"

ends_well() {
  local code=0
  kill -TERM "$GATEWAY"
  wait_for "$SOON" gone "$GATEWAY" || { echo "still there"; return 1; }
  wait "$GATEWAY" || code=$?
  echo "exit code $code"
  [ "$code" = 0 ] && wait_for "$SOON" not_listening "$GATEWAY_PORT"
}
kill_gateway() {
  kill -KILL "$GATEWAY"
  wait "$GATEWAY" 2>/dev/null
  wait_for "$SOON" not_listening "$GATEWAY_PORT"
}
# Who knows the secret but is another user is not paired silently: the kernel says whose connection it is.
other_user_waits() {
  local token out code=0
  token=$(cat "$WORK"/far/.local/state/clawline-gateway/token) || return 1
  mkdir -p "$WORK/other" && chmod 711 "$WORK" && chown nobody "$WORK/other"
  cp "$BIN/clawline" "$WORK/other/clawline"
  out=$(cd / && env -i HOME="$WORK/other" PATH="$PATH" setpriv --reuid nobody --regid nogroup --clear-groups \
    timeout 120 "$WORK/other/clawline" health --json --url "ws://127.0.0.1:$GATEWAY_PORT" --token "$token" </dev/null 2>&1) || code=$?
  echo "$out"
  echo "exit code $code"
  [ "$code" = 7 ] && grep -qi pairing <<<"$out"
}
owner_only() {
  local open
  open=$(find "$WORK/far/.clawline" "$WORK/far/.local/state/clawline-gateway" -perm /077 ! -type l)
  [ -z "$open" ] || { ls -ld $open; return 1; }
}

need "the model stub answers" start_model
need "sshd listens" start_sshd
ssh_args

need "the gateway starts with no config at all" start_gateway
check "echo: health through SSH finds port and token" json_says 'v.ok === true && v.exit === 0' asks health --json
check "echo: agent --message answers offline" says 'hello echo' asks agent --message "hello echo"
check "SIGTERM ends it with success" ends_well

cat >"$WORK/far/gateway.json5" <<EOF
{ models: { default: "stub/stub", providers: { stub: { kind: "openai", baseUrl: "http://127.0.0.1:$MODEL_PORT/v1", apiKey: "not-a-key", models: ["stub"] } } } }
EOF
chmod 600 "$WORK/far/gateway.json5"
need "the gateway starts with an OpenAI-compatible model" start_gateway --config "$WORK/far/gateway.json5"
commands_work ours
chat_works ours
link_comes_back ours

check "the gateway is killed" kill_gateway
check "the app says that the gateway is down" wait_screen ours "$SOON" 'no link|again in|nothing listens|refused'
app_says ours "written while it was away"
need "the gateway starts again" start_gateway --config "$WORK/far/gateway.json5"
check "the app is linked again by itself" wait_screen ours "$SOON" 'linked'
check "what was written offline is answered" wait_screen ours "$SOON" 'stub says: written while it was away'
check "it is in the history once" history_has "written while it was away" 1
check "what was said before is in the history once" history_has "tell me slowly" 1
app_quits ours

check "another user of the machine needs an approval" other_user_waits
check "files of the gateway are the owner's alone" owner_only
check "SIGTERM ends it with success" ends_well
finish
