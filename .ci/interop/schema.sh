#!/usr/bin/env bash
# The schema in tests/data is the one that OpenClaw publishes.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${CLAWLINE_CI_CACHE:-$HOME/.cache/clawline-ci}
exec "$cache/node/node_modules/node/bin/node" "$here/schema.mjs" "$here/../../tests/data/protocol-v4-subset.schema.json" \
  "$cache/gateway-protocol/node_modules/@openclaw/gateway-protocol"
