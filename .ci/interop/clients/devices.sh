# Rows of openclaw-clients.sh: pairing, approved and taken back from their command line. The device that asks is OpenClaw's
# client library, run by another user of the machine: who is the gateway's own user is paired without asking.

devices_rows() {
  if [ "$(id -u)" != 0 ] || [ -n "$THEIRS" ]; then
    echo "     | devices: another user is needed, so root, and a gateway that tells users apart"
    return 0
  fi
  local role=(--role operator)
  stranger_moves_in
  row "devices list, a device asks" lists_it
  row "devices reject" rejected
  row "devices approve" approved
  row "devices list, a paired device" holds "!v.pending.some((d) => d.deviceId === '$(device_id)') && v.paired.some((d) => d.deviceId === '$(device_id)' && d.roles.includes('operator'))" oc devices list --json "${PATIENT[@]}"
  row "devices, the token that came with the approval is enough" holds 'v.connected && v.method === "device-token"' stranger token-only
  row "devices rotate" rotated "${role[@]}"
  row "devices revoke" revoked "${role[@]}"
  [ "$LANE" != v4 ] || row "devices remove" removed
}

# The stranger's home: a copy of Node and of the library, which root's cache keeps from other users.
stranger_moves_in() {
  STRANGER=$WORK/stranger-$LANE
  mkdir -p "$STRANGER/node_modules"
  chmod 711 "$WORK"
  cp "$NODE_PATH_DIR/node" "$HERE/reference-client.mjs" "$STRANGER/"
  cp -r "$CACHE/openclaw-client/node_modules/." "$STRANGER/node_modules/"
  chown -R nobody "$STRANGER"
}
# stranger CASE [TOKEN]: what the library says, one line of JSON; see reference-client.mjs.
stranger() {
  (cd "$STRANGER" && env -i HOME="$STRANGER" setpriv --reuid nobody --regid nogroup --clear-groups \
    timeout -k 5 300 ./node reference-client.mjs "$1" "$URL" "${2:-}" "$STRANGER/device.json") </dev/null
}
device_id() { json v.deviceId <"$STRANGER/device.json"; }
# asks: the stranger knows the secret and is still told to wait. Sets REQUEST.
asks() {
  local said
  said=$(stranger connect "$TOKEN") || { echo "$said"; return 1; }
  echo "$said"
  REQUEST=$(json 'v.paused && v.detail === "PAIRING_REQUIRED" && v.attempts === 1 && v.requestId' <<<"$said")
}
# The other version's stranger may be on the same list.
lists_it() { asks && tells 'Pending \([12]\)' "$REQUEST" 'operator' -- oc devices list "${PATIENT[@]}"; }
its_pending() { holds "v.pending.some((d) => d.deviceId === '$(device_id)') === $1" oc devices list --json "${PATIENT[@]}"; }
rejected() {
  asks && its_pending true && tells '[Rr]ejected' -- oc devices reject "$REQUEST" "${PATIENT[@]}" && its_pending false
}
approved() {
  asks && tells 'Approved' -- oc devices approve "$REQUEST" "${PATIENT[@]}" && holds 'v.connected && v.method === "token" && v.stored' stranger connect "$TOKEN"
}
# The old token is worth nothing; the new one is for the device alone, which gets it when it signs in with the secret.
rotated() {
  holds 'v.rotatedAtMs > 0 && (v.token === undefined) === (v.tokenDelivery === "withheld-cross-device")' oc devices rotate --device "$(device_id)" "$@" --json "${PATIENT[@]}" || return 1
  holds 'v.connected === false' stranger token-only || { echo "the old token still works"; return 1; }
  holds 'v.connected && v.stored' stranger connect "$TOKEN" && holds 'v.connected' stranger token-only
}
revoked() {
  holds 'v.revokedAtMs > 0 || v.revoked' oc devices revoke --device "$(device_id)" "$@" --json "${PATIENT[@]}" || return 1
  holds 'v.connected === false' stranger token-only
}
removed() {
  oc devices remove "$(device_id)" "${PATIENT[@]}" && holds "!v.paired.some((d) => d.deviceId === '$(device_id)')" oc devices list --json "${PATIENT[@]}"
}
