#!/bin/sh
# Stands in for the program `tailscale`: notes each call, and answers as the real one does. What it answers
# is decided by the files beside it.
dir=$(dirname "$0")
echo "$*" >>"$dir/calls"
if [ -e "$dir/down" ]; then
  echo "failed to connect to local tailscaled; it doesn't appear to be running (sudo systemctl start tailscaled ?)" >&2
  exit 1
fi
case "$1 $2" in
"status --json")
  printf '{"BackendState":"%s","Self":{"DNSName":"box.tail.ts.net.","TailscaleIPs":["%s","fd7a::7"]}}' "$(cat "$dir/state")" "$(cat "$dir/address")"
  ;;
"whois --json")
  [ -e "$dir/login" ] || { echo "peer not found" >&2; exit 1; }
  printf '{"Node":{"Name":"phone.tail.ts.net."},"UserProfile":{"LoginName":"%s","DisplayName":"Somebody"}}' "$(cat "$dir/login")"
  ;;
"serve status") cat "$dir/route" 2>/dev/null || echo '{}' ;;
"serve --yes" | "funnel --yes")
  case $* in *" off") rm -f "$dir/route"; exit 0 ;; esac
  [ ! -e "$dir/denied" ] || { echo "Access denied: serve config denied" >&2; exit 1; }
  trap 'rm -f "$dir/route" "$dir/serving"; exit 0' TERM INT
  printf '{"TCP":{"443":{"HTTPS":true}},"Web":{"box.tail.ts.net:443":{"Handlers":{"/":{"Proxy":"http://127.0.0.1:%s"}}}}}' "$4" >"$dir/route"
  echo "Available within your tailnet:"
  echo "https://box.tail.ts.net/"
  echo "Press Ctrl+C to exit."
  echo "$$" >"$dir/new" && mv "$dir/new" "$dir/serving"
  while :; do sleep 0.05; done
  ;;
*) echo "unknown subcommand" >&2; exit 2 ;;
esac
