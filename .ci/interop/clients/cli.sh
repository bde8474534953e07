# Rows of openclaw-clients.sh: the command line.

cli_rows() {
  local probe='Connectivity probe: ok' probed='Connect: ok .*connect-only'
  [ "$LANE" = v4 ] || probe='RPC probe: ok' probed='Connect: ok .*RPC: ok'

  # Sessions are named to who may administer; the command line of version 4 asks for no more than reading.
  local recent='v.sessions.recent.some((s) => s.key === "agent:main:main")'
  [ "$LANE" != v4 ] || recent='v.sessions.recent.length === 0'

  # What they ask the gateway within a time of their own, which no option makes longer than some seconds, is tried again.
  row "gateway health" tells '^OK \(' -- oc gateway health "${EXPLICIT[@]}" "${PATIENT[@]}"
  row "health" tells 'Agents: main \(default\)' 'Session store \(main\): .* \([0-9]+ entries\)' '!Config hot reload: disabled' -- oc health "${PATIENT[@]}"
  row "health --json" holds 'v.ok === true && v.agents[0].agentId === "main" && v.agents[0].isDefault && typeof v.sessions.count === "number"' oc health --json "${PATIENT[@]}"
  row "status" tries tells 'Gateway +│ local .* reachable [0-9.]+m?s · auth token' 'Agents +│ 1' 'Sessions' -- oc status "${PATIENT[@]}"
  row "status --deep" tries tells 'Gateway +│ reachable +│ [0-9.]+m?s' 'Gateway +│ local .* reachable' -- oc status --deep "${PATIENT[@]}"
  row "gateway status" tries tells "$probe" "Listening: 127.0.0.1:$PORT" -- oc gateway status "${PATIENT[@]}"
  row "gateway probe" tries tells 'Reachable: yes' "$probed" -- oc gateway probe "${PATIENT[@]}"
  row "agent --message" tells "^stub says: hello from $LANE \\(end\\)\$" -- oc agent --agent main --message "hello from $LANE"
  row "agent --message --json" holds 'v.status === "ok" && v.result.payloads[0].text === "stub says: as json (end)" && v.result.meta.agentMeta.model === "stub" && typeof v.runId === "string"' \
    oc agent --agent main --message "as json" --json
  row "gateway call status" holds "v.sessions.count >= 1 && $recent" called status
  row "gateway call sessions.list" holds 'v.count >= 1 && v.sessions.some((s) => s.key === "agent:main:main" && s.sessionId && s.updatedAt > 0)' called sessions.list
  row "gateway call chat.history" holds "JSON.stringify(v.messages.map((m) => m.role)).includes('\"user\",\"assistant\"') && JSON.stringify(v.messages).includes('stub says: hello from $LANE (end)')" \
    called chat.history --params '{"sessionKey":"main"}'
  row "gateway call agents.list" holds 'v.defaultId === "main" && v.agents[0].id === "main"' called agents.list
  row "gateway call models.list" holds 'v.models.some((m) => m.provider === "stub" && m.id === "stub")' called models.list
  row "gateway call, an unknown method" refuses 'unknown method: no.such.method' oc gateway call no.such.method "${EXPLICIT[@]}" "${PATIENT[@]}"
  row "gateway call, wrong parameters" refuses 'invalid chat.history params: ' oc gateway call chat.history --params '{"nope":1}' "${EXPLICIT[@]}" "${PATIENT[@]}"
  row "sessions" tells 'No sessions found' -- oc sessions
  row "channels status" tells 'Gateway reachable' -- oc channels status "${PATIENT[@]}"
  row "models list" oc models list
  row "agents list" tells '^- main \(default\)' -- oc agents list
  row "system presence" holds 'v.some((p) => p.mode === "gateway" && p.reason === "self" && p.text.startsWith("Gateway: "))' oc system presence "${PATIENT[@]}"
  row "system heartbeat last" tells '^null$' -- oc system heartbeat last "${PATIENT[@]}"
  row "cron list" cron_is_listed
  row "nodes status" tells 'Known: 0 · Paired: 0 · Connected: 0' -- oc nodes status "${PATIENT[@]}"
  row "nodes list" tells 'Pending: 0 · Paired: 0' -- oc nodes list "${PATIENT[@]}"
  row "nodes pending" tells 'No pending pairing requests' -- oc nodes pending "${PATIENT[@]}"
  row "logs" tells '^Log file: ' '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+[^ ]* (info|warn|error|debug) ' -- oc logs --limit 50
  row "logs --follow" follows
  row "a wrong token" refuses "$([ "$LANE" = v4 ] && echo 'unauthorized: gateway token mismatch' || echo 'unauthorized: device token mismatch')" \
    oc gateway health --url "$URL" --token wrong "${PATIENT[@]}"
}
called() { oc gateway call "$@" --json "${EXPLICIT[@]}" "${PATIENT[@]}"; }

# Their own gateways put jobs of their own on the list of version 4; we have none to show.
cron_is_listed() {
  if [ -n "$THEIRS" ] && [ "$LANE" = v4 ]; then tells '^ID +Declaration' -- oc cron list "${PATIENT[@]}"; else tells 'No (cron jobs|automations)' -- oc cron list "${PATIENT[@]}"; fi
}

# A follower sees what is written after it began.
follows() {
  local log=followed-$LANE before
  start "$log" "$CLIENT" timeout -k 5 900 node "$(openclaw_entry "$LANE")" logs --follow --limit 20 --interval 200
  local follower=$STARTED
  wait_for 240 grep -q 'Log file' "$WORK/log/$log" || { echo "it never began"; cat "$WORK/log/$log"; return 1; }
  wait_for "$SOON" has_no_more_lines "$WORK/log/$log"
  before=$(wc -l <"$WORK/log/$log")
  oc gateway health "${EXPLICIT[@]}" "${PATIENT[@]}" >/dev/null
  wait_for "$SOON" has_more_lines "$WORK/log/$log" "$before" || { echo "nothing came after line $before"; tail -n 3 "$WORK/log/$log"; stop "$follower"; return 1; }
  echo "$before lines, then:"
  tail -n +$((before + 1)) "$WORK/log/$log" | head -n 3
  stop "$follower"
}
# The first page has been written: nothing more came while it was looked at twice.
has_no_more_lines() {
  local before
  before=$(wc -l <"$1")
  sleep 0.7
  [ "$(wc -l <"$1")" = "$before" ]
}
has_more_lines() { [ "$(wc -l <"$1")" -gt "$2" ]; }
