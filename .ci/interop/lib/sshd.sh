# Debian's own sshd, with its own config, keys and port. A part of lib.sh.

# start_sshd: Debian's own, with its own config, keys and port. Sets SSH_PORT, SSHD and KEY; writes the laptop's known_hosts.
start_sshd() {
  SSH_PORT=${SSH_PORT:-$(free_port)}
  KEY=$WORK/near/.ssh/id_ed25519
  if [ ! -e "$WORK/host_key" ]; then
    ssh-keygen -q -t ed25519 -N '' -C 'interop host' -f "$WORK/host_key"
    ssh-keygen -q -t ed25519 -N '' -C 'interop laptop' -f "$KEY"
    cp "$KEY.pub" "$WORK/authorized_keys"
    cat >"$WORK/sshd_config" <<EOF
ListenAddress 127.0.0.1
Port $SSH_PORT
HostKey $WORK/host_key
PidFile none
AuthorizedKeysFile $WORK/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AcceptEnv LANG LC_*
SetEnv HOME=$WORK/far
PrintMotd no
LogLevel VERBOSE
EOF
    know_host "$WORK/host_key.pub"
  fi
  # Debian's sshd drops privileges into this directory; systemd makes it, a container does not have it.
  [ "$(id -u)" != 0 ] || mkdir -p /run/sshd
  start sshd "$WORK/far" /usr/sbin/sshd -D -e -f "$WORK/sshd_config"
  SSHD=$STARTED
  wait_for "$SOON" listening "$SSH_PORT"
}

# know_host PUBLIC_KEY: the laptop's known_hosts says exactly this about our sshd.
know_host() { echo "[127.0.0.1]:$SSH_PORT $(cut -d' ' -f1,2 "$1")" >"$WORK/near/.ssh/known_hosts"; }

# kill_sshd: SIGKILL to the listener and to every session it serves, as a crash of the machine would.
kill_sshd() {
  local pids
  pids="$(children "$SSHD") $SSHD"
  # shellcheck disable=SC2086 # a list of pids
  kill -KILL $pids 2>/dev/null
  wait "$SSHD" 2>/dev/null
  wait_for "$SOON" not_listening "$SSH_PORT"
}

# SSH options of OpenSSH's own client to our sshd, for checks of the harness itself and for comparisons.
ssh_options() {
  echo "-F none -p $SSH_PORT -i $KEY -o BatchMode=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile=$WORK/near/.ssh/known_hosts"
}
