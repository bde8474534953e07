#!/usr/bin/env bash
# The harness alone: OpenClaw's own client against OpenClaw's own gateway through OpenSSH's own tunnel. When this fails,
# the machine is at fault and not clawline.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need "the model stub answers" start_model
need "sshd listens" start_sshd
check "ssh signs in and gets the far HOME" says "^$WORK/far\$" near ssh $(ssh_options) "$ME@127.0.0.1" 'printf "%s\n" "$HOME"'

for version in v4 v3; do
  need "OpenClaw $version starts" start_openclaw "$version"
  port=$(free_port)
  start "ssh-$version" "$WORK/near" ssh -N -L "127.0.0.1:$port:127.0.0.1:$GATEWAY_PORT" $(ssh_options) "$ME@127.0.0.1"
  need "$version: ssh forwards" wait_for "$SOON" listening "$port"
  check "$version: gateway health through ssh" says OK openclaw "$version" gateway health --timeout "$PATIENT_MS" --url "ws://127.0.0.1:$port" --token "$TOKEN"
  check "$version: a wrong token is refused" expect 1 openclaw "$version" gateway health --timeout "$PATIENT_MS" --url "ws://127.0.0.1:$port" --token wrong
  mkdir -p "$WORK/near/openclaw-$version"
  term_start "$version" "$WORK/near/openclaw-$version" node "$(openclaw_entry "$version")" tui --url "ws://127.0.0.1:$port" --token "$TOKEN"
  check "$version: tui connects through ssh" wait_screen "$version" 300 '^ *(gateway )?connected \| idle'
  check "$version: tui streams a chat through ssh" streams "$version" "tell me slowly"
  term_stop "$version"
  stop "$GATEWAY"
done
finish
