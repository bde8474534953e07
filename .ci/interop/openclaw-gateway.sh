#!/usr/bin/env bash
# clawline against OpenClaw's own gateways, both protocol versions, through a real sshd and with nothing told but where to
# sign in: it finds port and token, pairs, lists sessions and chats.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
source "$HERE/laptop.sh"

need "the model stub answers" start_model
need "sshd listens" start_sshd
ssh_args
for version in ${OPENCLAW_VERSIONS:-v4 v3}; do
  # A new machine for each: what was paired with the other one is not known here.
  rm -rf "$WORK/near/.local" "$WORK/near/.config"
  need "OpenClaw $version starts" start_openclaw "$version"
  commands_work "$version"
  chat_works "$version"
  link_comes_back "$version"
  check "$version: each message is in the history once" history_has "tell me slowly" 1
  app_quits "$version"
  stop "$GATEWAY"
done
finish
