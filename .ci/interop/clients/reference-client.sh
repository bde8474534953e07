# Rows of openclaw-clients.sh: OpenClaw's published client library for other programs, @openclaw/gateway-client.

reference_client_rows() {
  REFERENCE=$WORK/near/reference
  mkdir -p "$REFERENCE"
  cp "$HERE/reference-client.mjs" "$REFERENCE/"
  ln -sfn "$CACHE/openclaw-client/node_modules" "$REFERENCE/node_modules"
  row "gateway-client, connects and is paired silently on the gateway's machine" \
    holds 'v.connected && v.attempts === 1 && v.protocol === 4 && v.issued && v.stored && v.scopes.includes("operator.admin")' library connect "$TOKEN"
  row "gateway-client, the device token is enough the next time" holds 'v.connected && v.method === "device-token"' library token-only
  row "gateway-client, calls and errors" \
    holds 'v.health && v.status && v.answers === 200 && v.unknown === "INVALID_REQUEST: unknown method: no.such.method" && v.invalid.startsWith("INVALID_REQUEST: invalid chat.history params: ")' \
    library calls "$TOKEN"
  row "gateway-client, a chat streams and is in the history" \
    holds 'v.ack === "started" && v.deltas >= 3 && v.final.endsWith("word60 (end)") && v.agentEvents > 0 && v.gaps === 0 && v.once && v.history.length === 2 && v.history[1].endsWith("word60 (end)")' \
    library chat "$TOKEN"
  # A new device: one that is paired would be told something else.
  row "gateway-client, a wrong token makes no storm of tries" \
    holds '!v.connected && v.attempts <= 2 && v.paused && v.detail === "AUTH_TOKEN_MISMATCH"' library refused wrong "$REFERENCE/other.json"
}
# library CASE [TOKEN [STATE_FILE]]
library() {
  (clean_env "$REFERENCE" timeout -k 5 300 node reference-client.mjs "$1" "$URL" "${2:-}" "${3:-$REFERENCE/device.json}") </dev/null
}
