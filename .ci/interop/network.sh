#!/usr/bin/env bash
# Faults of the network, on `clawline --tunnel-only` and on `ssh -N -L` under autossh beside it, in the same namespaces at
# the same moment. Three namespaces a row: a laptop, a router that translates addresses, a server with a real sshd.
#   .ci/interop/network.sh              every row, in its short form
#   .ci/interop/network.sh F8 F10       these rows
# CLAWLINE_SOAK=1 makes the long rows long. STRICT=1 holds every row to its time; without it a row has five seconds more,
# which is still far from what the failure would take, and one that fails beside the others is looked at again by itself, twice at most:
# packets are lost at random, and the rows take the machine's time from each other. One line a row:
#   row NAME clawline BACK s [told SECONDS s] outage LONGEST s replaced N autossh BACK s outage LONGEST s pass|FAIL WHAT
# BACK is from the healing of the fault to the first echo through the local port, `never` when none came while the row ran;
# "told" is when clawline said that it was down; "replaced" counts SSH connections whose place another one took.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
if [ "$(id -u)" != 0 ] || ! ip netns add "clawline-$$" 2>/dev/null; then
  echo "SKIPPED: no network namespaces can be made here"
  check "network namespaces are needed, and cannot be made here" true
  finish
fi
ip netns del "clawline-$$"
ALL=(F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 F11 STALLED F12 F13a F13b F15 F16 F16b F18)
ROWS=("${@:-${ALL[@]}}")
[ "$#" -gt 0 ] || ROWS=("${ALL[@]}")
AT_ONCE=${AT_ONCE:-7}
soak() { [ -n "${CLAWLINE_SOAK:-}" ]; }
long() { if soak; then echo "$2"; else echo "$1"; fi; }

ms() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }
secs() { if [ "$1" = never ]; then echo never; else awk -v ms="$1" 'BEGIN { printf "%.1f", ms / 1000 }'; fi; }

# ---- a world of its own for each row ---------------------------------------------------------------------

# Two ports, so that the two clients are told apart: clawline signs in at 22, autossh at 2222.
PORTS='{ 22, 2222 }'
in_lap() { ip netns exec "$NS-lap" "$@"; }
in_nat() { ip netns exec "$NS-nat" "$@"; }
in_srv() { ip netns exec "$NS-srv" "$@"; }
bg() { local side=$1; shift; setsid ip netns exec "$NS-$side" "$@" </dev/null & STARTED=$!; PIDS+=("$STARTED"); }

world() {
  NS=cl$$-$1
  W=$WORK/$1
  mkdir -p "$W/home/.ssh" "$W/far" "/etc/netns/$NS-lap"
  chmod 700 "$W/home" "$W/home/.ssh"
  local side
  for side in lap nat srv; do
    ip netns add "$NS-$side"
    ip -n "$NS-$side" link set lo up
  done
  ip -n "$NS-lap" link add eth0 type veth peer name lap netns "$NS-nat"
  ip -n "$NS-srv" link add eth0 type veth peer name srv netns "$NS-nat"
  ip -n "$NS-lap" addr add 10.77.1.2/24 dev eth0
  ip -n "$NS-nat" addr add 10.77.1.1/24 dev lap
  ip -n "$NS-nat" addr add 10.77.2.1/24 dev srv
  ip -n "$NS-srv" addr add 10.77.2.2/24 dev eth0
  for side in lap srv; do
    ip -n "$NS-nat" link set "$side" up
    ip -n "$NS-$side" link set eth0 up
  done
  ip -n "$NS-lap" route add default via 10.77.1.1
  ip -n "$NS-srv" route add default via 10.77.2.1
  in_nat sysctl -qw net.ipv4.ip_forward=1
  in_nat nft -f - <<'END'
table ip t {
  chain post {
    type nat hook postrouting priority 100;
    oifname "srv" masquerade
  }
  chain forward { type filter hook forward priority 0; }
  chain in { type filter hook input priority 0; }
}
END
  in_srv nft -f - <<'END'
table inet t {
  chain in { type filter hook input priority 0; }
  chain out { type filter hook output priority 0; }
}
END
  echo 'nameserver 10.77.1.1' >"/etc/netns/$NS-lap/resolv.conf"
  name_is 10.77.2.2
  start_dns
  ssh-keygen -q -t ed25519 -N '' -f "$W/host_key"
  ssh-keygen -q -t ed25519 -N '' -f "$W/home/.ssh/id"
  cp "$W/home/.ssh/id.pub" "$W/authorized_keys"
  echo "box,[box]:2222 $(cut -d' ' -f1,2 "$W/host_key.pub")" >"$W/home/.ssh/known_hosts"
  cat >"$W/sshd_config" <<END
Port 22
Port 2222
HostKey $W/host_key
PidFile none
AuthorizedKeysFile $W/authorized_keys
StrictModes no
UsePAM no
UseDNS no
PasswordAuthentication no
KbdInteractiveAuthentication no
SetEnv HOME=$W/far
LogLevel VERBOSE
END
  mkdir -p /run/sshd
  start_box
  bg srv "$NODE_PATH_DIR/node" "$HERE/network-probe.mjs" echo 7
  printf 'Host box\n  HostName box\n  User %s\n  IdentityFile %s\n  UserKnownHostsFile %s\n' "$ME" "$W/home/.ssh/id" "$W/home/.ssh/known_hosts" >"$W/home/.ssh/config"
  # Each line with the moment it was said.
  bg lap bash -c "cd $W/home; exec env -i HOME=$W/home USER=$ME PATH=/usr/bin:/bin XDG_RUNTIME_DIR=$W RUST_LOG= $BIN/clawline -v --log-file $W/clawline.log --tunnel-only -L 127.0.0.1:7001:127.0.0.1:7 box \
    > >(while IFS= read -r line; do echo \"\${EPOCHREALTIME/[.,]/} \$line\"; done >$W/said) 2>&1"
  LAP=$STARTED
  bg lap env -i HOME="$W/home" USER="$ME" PATH=/usr/bin:/bin AUTOSSH_GATETIME=0 autossh -M 0 -N -F "$W/home/.ssh/config" -p 2222 \
    -L 127.0.0.1:7002:127.0.0.1:7 -o ExitOnForwardFailure=yes -o ServerAliveInterval=5 -o ServerAliveCountMax=3 -o BatchMode=yes box 2>"$W/autossh.log"
  AUTOSSH=$STARTED
  : >"$W/echoes"
  bg lap "$NODE_PATH_DIR/node" "$HERE/network-probe.mjs" probe "$W/echoes" clawline=7001 autossh=7002
  PROBE=$STARTED
  wait_for 300 both_echo || { echo "the tunnels never came up"; return 1; }
  # Beyond the margin that is kept before a round trip was measured, and of a proven connection.
  sleep 2
}
both_echo() { grep -q clawline "$W/echoes" && grep -q autossh "$W/echoes" && grep -q state=up "$W/said"; }
start_box() { bg srv /usr/sbin/sshd -D -e -f "$W/sshd_config" 2>>"$W/sshd.log"; BOX=$STARTED; wait_for "$SOON" box_listens; }
box_listens() { [ "$(in_srv ss -Hltn 'sport = :22' | wc -l)" -gt 0 ]; }
sessions() { children "$BOX"; }
# shellcheck disable=SC2046 # lists of pids
kill_sessions() { kill -KILL $(sessions) 2>/dev/null; }
# shellcheck disable=SC2046
kill_box() { kill -KILL $(sessions) "$BOX" 2>/dev/null; wait "$BOX" 2>/dev/null; }
name_is() { echo "$1 box" >"$W/hosts"; }
start_dns() { bg nat dnsmasq --no-daemon --no-resolv --no-hosts --addn-hosts="$W/hosts" --listen-address=10.77.1.1 --bind-interfaces --local-ttl=0 --user=root --pid-file= 2>"$W/dns.log"; DNS=$STARTED; }
srv_rule() { in_srv nft add rule inet t "$1" "${@:2}"; }
srv_heal() { in_srv nft flush chain inet t in; in_srv nft flush chain inet t out; }
drop_to_server() { srv_rule in tcp dport "$PORTS" drop; }
drop_from_server() { srv_rule out tcp sport "$PORTS" drop; }
# The flows that are open now, both directions, for ever.
stall_open_flows() {
  local port
  for port in $(in_srv ss -Htn state established "( sport = :22 or sport = :2222 )" | awk '{ n = split($4, a, ":"); print a[n] }'); do
    srv_rule in tcp sport "$port" tcp dport "$PORTS" drop
    srv_rule out tcp dport "$port" tcp sport "$PORTS" drop
  done
}
end_world() {
  local pid side
  for pid in "${PIDS[@]}"; do kill -CONT -- "-$pid" 2>/dev/null; kill -KILL -- "-$pid" 2>/dev/null; done
  wait 2>/dev/null
  for side in lap nat srv; do
    ip netns pids "$NS-$side" 2>/dev/null | xargs -r kill -KILL 2>/dev/null
    ip netns del "$NS-$side" 2>/dev/null
  done
  rm -rf "/etc/netns/$NS-lap"
}

# ---- rows ------------------------------------------------------------------------------------------------

# result NAME WHAT MAX_MS [EXTRA_CHECK...]: prints the row; between FAULT and now, healed at HEAL.
result() {
  local name=$1 what=$2 max=$3 ours theirs outage their_outage told='' verdict=pass end
  shift 3
  [ -n "${STRICT:-}" ] || max=$((max + 5000))
  # Echoes until the end, or there is none: the pause of a row is not the limit of its machine.
  wait_for "$SOON" echoes_now clawline
  end=$(ms)
  read -r ours outage < <("$NODE_PATH_DIR/node" "$HERE/network-probe.mjs" sum "$W/echoes" clawline "$FAULT" "$HEAL" "$end")
  read -r theirs their_outage < <("$NODE_PATH_DIR/node" "$HERE/network-probe.mjs" sum "$W/echoes" autossh "$FAULT" "$HEAL" "$end")
  told=$(awk -v from="$FAULT" '$1 / 1000 > from && /state=/ && !/state=up/ { printf " told %.1f s", ($1 / 1000 - from) / 1000; exit }' "$W/said")
  if [ "$ours" = never ] || [ "$ours" -gt "$max" ]; then verdict=FAIL; fi
  if [ "$#" -gt 0 ] && ! "$@"; then verdict="FAIL($*)"; fi
  echo "row $name clawline $(secs "$ours") s${told} outage $(secs "$outage") s replaced $(replacements) autossh $(secs "$theirs") s outage $(secs "$their_outage") s $verdict $what"
  [ "$verdict" = pass ]
}
# echoes_now NAME: it did in the last moment before this look. The number is a text to awk, which would shorten it.
echoes_now() {
  local last now
  now=$(ms)
  last=$(tail -n 60 "$W/echoes" | awk -v name="$1" '$2 == name { at = $1 } END { print at "" }')
  [ $((now - ${last:-0})) -lt 400 ]
}
fault() { FAULT=$(ms) HEAL=$FAULT; }
heal() { HEAL=$(ms); }
# In the log since the fault: its times are UTC, to the microsecond.
replacements() {
  local from
  from=$(date -u -d "@$((FAULT / 1000)).$(printf %03d $((FAULT % 1000)))" +%Y-%m-%dT%H:%M:%S.%3N)
  awk -v from="$from" 'substr($1, 1, 23) >= from && /took over|is replaced|is given up|tunnel down/' "$W/clawline.log" | wc -l
}
no_replacement() { [ "$(replacements)" = 0 ]; }
replacements_at_most() { [ "$(replacements)" -le "$1" ]; }

row_F1() { fault; kill_sessions; sleep 4; result F1 "sshd's session process killed" 2000; }
row_F2() { fault; kill -KILL "$BOX"; sleep 2; result F2 "sshd's listener killed, sessions live" 0 no_replacement; }
row_F3() { fault; kill_box; sleep 5; start_box; heal; sleep 6; result F3 "sshd gone for 5 s" 500; }
row_F4() {
  fault
  in_lap ip addr add 10.77.1.3/24 dev eth0
  in_lap ip addr del 10.77.1.2/24 dev eth0
  in_lap ip addr replace 10.77.1.3/24 dev eth0
  in_lap ip route replace default via 10.77.1.1
  heal
  sleep "$(long 24 30)"
  result F4 "the laptop's address changes" 5000
}
row_F5() {
  # What no translation is known for is dropped, as most routers do; nothing says so to the laptop.
  in_nat sysctl -qw net.netfilter.nf_conntrack_tcp_loose=0
  in_nat nft add rule ip t forward ct state invalid drop
  fault
  in_nat conntrack -F 2>/dev/null
  sleep 24
  result F5 "the router forgets the connections, in silence" 4000
}
row_F6() {
  fault
  in_srv ip addr add 10.77.2.3/24 dev eth0
  in_srv ip addr del 10.77.2.2/24 dev eth0
  in_srv ip addr replace 10.77.2.3/24 dev eth0
  in_srv ip route replace default via 10.77.2.1
  sleep 4
  name_is 10.77.2.3
  kill -HUP "$DNS"
  heal
  sleep 24
  result F6 "the server's address changes, DNS 4 s later" 5000
}
row_F7() {
  fault
  srv_rule in tcp dport "$PORTS" reject with tcp reset
  sleep 0.5
  srv_heal
  heal
  sleep 4
  result F7 "connections reset" 2000
}
row_F8() { fault; drop_to_server; sleep 20; srv_heal; heal; sleep 15; result F8 "nothing reaches the server for 20 s" 4000; }
row_F9() { fault; drop_from_server; sleep 20; srv_heal; heal; sleep 15; result F9 "nothing comes from the server for 20 s" 4000; }
row_F10() { fault; drop_to_server; sleep 3; srv_heal; heal; sleep 6; result F10 "nothing reaches the server for 3 s" 1100 no_reconnect; }
# Another connection may have been opened beside; the ones from before carry on.
no_reconnect() { awk -v from="$FAULT" '$1 / 1000 > from && /state=/ { said = 1 } END { exit said }' "$W/said"; }
row_F11() { fault; stall_open_flows; kill_sessions; sleep 26; result F11 "half-open: the server forgot, and nothing says so" 4000; }
row_STALLED() { fault; stall_open_flows; sleep 26; result STALLED "old connections stalled for ever, new ones work" 4000; }
row_F12() {
  fault
  drop_to_server
  drop_from_server
  sleep "$(long 30 600)"
  srv_heal
  heal
  sleep 35
  result F12 "both directions gone" 35000
}
lossy() {
  in_nat nft add rule ip t forward numgen random mod 100 '<' "$1" drop
  sleep 1
  fault
  sleep "$(long 20 300)"
  in_nat nft flush chain ip t forward
  heal
  sleep 3
}
row_F13a() { lossy 10; result F13a "10 % of packets lost" 1000 no_replacement; }
row_F13b() { lossy 30; result F13b "30 % of packets lost" 2000 replacements_at_most 1; }
row_F15() {
  local n peak=0 now
  fault
  for n in $(seq "$(long 6 100)"); do
    in_lap ip link set eth0 down
    sleep 3
    in_lap ip link set eth0 up
    in_lap ip route replace default via 10.77.1.1 2>/dev/null
    for _ in 1 2 3 4; do
      sleep 0.5
      now=$(in_lap ss -Htn state established 'dport = :22' | wc -l)
      [ "$now" -le "$peak" ] || peak=$now
    done
  done
  heal
  sleep 5
  PEAK=$peak
  result F15 "the link flaps, 2 s up and 3 s down; at most $peak SSH connections at a time" 2500 peak_at_most 3
}
peak_at_most() { [ "$PEAK" -le "$1" ]; }
clawline_pid() { pgrep -f -- "$BIN/clawline.*-L 127.0.0.1:7001" | while read -r pid; do [ "$(ip netns identify "$pid")" = "$NS-lap" ] && [ "$(cat "/proc/$pid/comm")" = clawline ] && echo "$pid"; done; }
autossh_pids() { echo "$AUTOSSH"; children "$AUTOSSH"; }
# shellcheck disable=SC2046
stop_laptop() { kill -STOP "$PROBE" $(clawline_pid) $(autossh_pids); }
# shellcheck disable=SC2046
wake_laptop() { kill -CONT "$PROBE" $(clawline_pid) $(autossh_pids); }
row_F16() {
  fault
  stop_laptop
  stall_open_flows
  sleep "$(long 20 120)"
  wake_laptop
  heal
  sleep 25
  result F16 "asleep, and its connections dead meanwhile in silence" 3000
}
row_F16b() {
  fault
  stop_laptop
  kill_box
  sleep "$(long 10 120)"
  wake_laptop
  sleep 3
  start_box
  heal
  sleep 8
  result F16b "asleep, sshd gone meanwhile and back 3 s after" 2000
}
row_F18() {
  fault
  in_nat nft add rule ip t in udp dport 53 drop
  kill_sessions
  sleep 12
  in_nat nft flush chain ip t in
  sleep 8
  result F18 "DNS silent while the connection dies" 5000
}

# ---- all of them, several at a time ----------------------------------------------------------------------

run_row() {
  trap end_world EXIT
  PIDS=()
  world "$1" && "row_$1"
}
held() { [ "$(cat "$WORK/log/code-$1")" = 0 ]; }
look_at() { (trap - EXIT; run_row "$1" >"$WORK/log/row-$1" 2>&1; echo $? >"$WORK/log/code-$1"); }
running=0
for row in "${ROWS[@]}"; do
  look_at "$row" &
  running=$((running + 1))
  [ "$running" -lt "$AT_ONCE" ] || { wait -n; running=$((running - 1)); }
done
wait
for row in "${ROWS[@]}"; do
  for try in 1 2; do
    [ -z "${STRICT:-}" ] && ! held "$row" || break
    echo "again, by itself: $(tail -n 1 "$WORK/log/row-$row")"
    mv "$WORK/$row" "$WORK/$row.before-$try"
    look_at "$row"
  done
done
row_held() { cat "$WORK/log/row-$1"; held "$1" || { tail -n 20 "$WORK/$1/said" "$WORK/$1/clawline.log"; return 1; }; }
for row in "${ROWS[@]}"; do check "$row" row_held "$row"; done
grep -h '^row ' "$WORK"/log/row-* | sort -V
finish
