#!/usr/bin/env bash
# TLS with a pinned certificate, each client against each gateway: the official command lines against
# clawline-gateway over wss://, and `clawline` against clawline-gateway and OpenClaw. A wrong pin is refused by all.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

WRONG=$(printf 'ab%.0s' {1..32})

# pinned VERSION URL PIN: the official client's config for a gateway elsewhere.
pinned() {
  mkdir -p "$WORK/near/openclaw-$1/.openclaw"
  cat >"$WORK/near/openclaw-$1/.openclaw/openclaw.json" <<JSON
{ "gateway": { "mode": "remote", "remote": { "url": "$2", "token": "$TOKEN", "tlsFingerprint": "$3" } } }
JSON
  chmod 600 "$WORK/near/openclaw-$1/.openclaw/openclaw.json"
}
official_health() { pinned "$1" "$2" "$3" && openclaw "$1" health --json --timeout "$PATIENT_MS"; }
official_is_refused() {
  local out code=0
  pinned "$1" "$2" "$3"
  out=$(openclaw "$1" health --json --timeout "$PATIENT_MS" 2>&1) || code=$?
  echo "$out"
  [ "$code" != 0 ] && grep -qiE 'fingerprint|certificate' <<<"$out"
}
ours_health() { clawline health --json --url "$1" --tls-fingerprint "$2" --token "$TOKEN"; }
ours_is_refused() {
  local out code=0
  out=$(ours_health "$1" "$2" 2>&1) || code=$?
  echo "$out"
  [ "$code" != 0 ] && grep -q "pinned is sha256:$WRONG" <<<"$out"
}
says_use_wss() { says 'wss://' curl -sS -m "$SOON" "http://127.0.0.1:$1/"; }
start_ours() {
  PORT=$(free_port)
  start ours "$WORK/far" "$BIN/clawline-gateway" run --port "$PORT" --tls --token "$TOKEN"
  wait_for "$SOON" listening "$PORT" && wait_for "$SOON" grep -q 'TLS fingerprint' "$WORK/log/ours"
}
start_theirs() {
  PORT=$(free_port)
  mkdir -p "$WORK/theirs/.openclaw" && chmod 700 "$WORK/theirs" "$WORK/theirs/.openclaw"
  cat >"$WORK/theirs/.openclaw/openclaw.json" <<JSON
{ "gateway": { "mode": "local", "port": $PORT, "bind": "loopback", "auth": { "mode": "token", "token": "$TOKEN" }, "tls": { "enabled": true } } }
JSON
  chmod 600 "$WORK/theirs/.openclaw/openclaw.json"
  start theirs "$WORK/theirs" node "$(openclaw_entry v4)" gateway run
  wait_for 600 curl -kfsS -m 10 -o /dev/null "https://127.0.0.1:$PORT/readyz"
}
pin_of() { openssl x509 -in "$1" -noout -fingerprint -sha256 | cut -d= -f2; }

need "our gateway starts with TLS" start_ours
URL=wss://127.0.0.1:$PORT
PIN=$(sed -n 's/^TLS fingerprint sha256://p' "$WORK/log/ours")
check "the printed fingerprint is the certificate's" test "$(pin_of "$WORK"/far/.local/state/clawline-gateway/tls/cert.pem | tr -d : | tr A-F a-f)" = "$PIN"
for version in v4 v3; do
  check "$version: the official health command answers over wss with the pin" official_health "$version" "$URL" "$PIN"
  check "$version: and takes it with colons" official_health "$version" "$URL" "$(sed 's/../&:/g; s/:$//' <<<"$PIN" | tr a-f A-F)"
  check "$version: a wrong pin is refused" official_is_refused "$version" "$URL" "$WRONG"
done
check "clawline: health over wss with the pin" ours_health "$URL" "$PIN"
check "clawline: a wrong pin is refused" ours_is_refused "$URL" "$WRONG"
check "plain HTTP is told to use wss" says_use_wss "$PORT"

need "OpenClaw's gateway starts with TLS" start_theirs
URL=wss://127.0.0.1:$PORT
THEIR_PIN=$(pin_of "$WORK/theirs/.openclaw/gateway/tls/gateway-cert.pem")
# It is ready a moment before it answers every method.
check "clawline: health of OpenClaw's gateway over wss with the pin" soon ours_health "$URL" "$THEIR_PIN"
check "clawline: a wrong pin is refused there, too" ours_is_refused "$URL" "$WRONG"
finish
