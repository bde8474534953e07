#!/usr/bin/env bash
# Installs Node 24, the two OpenClaw releases and the client library that the interop checks run against, outside the
# repository.
# About two minutes the first time, nothing to do afterwards: a package.json that did not change is not installed again.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${CLAWLINE_CI_CACHE:-$HOME/.cache/clawline-ci}

# install NAME NPM_OPTION...: the packages of .ci/interop/NAME/package.json, into $cache/NAME.
install() {
  local name=$1 into=$cache/$1 started=$SECONDS
  shift
  if cmp -s "$here/$name/package.json" "$into/.installed"; then
    echo "have $name"
    return
  fi
  mkdir -p "$into"
  rm -f "$into/.installed"
  cp "$here/$name/package.json" "$into/package.json"
  local try
  for try in 1 2 3 4; do
    if (cd "$into" && npm install "$@" --no-audit --no-fund --no-package-lock --loglevel=error); then
      cp "$here/$name/package.json" "$into/.installed"
      echo "installed $name in $((SECONDS - started)) s"
      return
    fi
    echo "npm install of $name failed (try $try)" >&2
    # What is there by half may stand in the way of the next try, and a registry needs a moment.
    rm -rf "$into/node_modules"
    sleep $((try * 5))
  done
  return 1
}

if ! command -v npm >/dev/null; then
  for try in 1 2 3 4; do
    apt-get update -q -o Acquire::Retries=3 &&
      DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 nodejs npm && break
    echo "npm cannot be installed (try $try)" >&2
    sleep $((try * 5))
  done
fi
install node
# The releases check for their Node at install time, so npm itself runs on the one just installed.
PATH=$cache/node/node_modules/node/bin:$PATH
node --version
# No install scripts: they fetch native extras that a gateway without channels does not use.
install openclaw-v4 --ignore-scripts
install openclaw-v3 --ignore-scripts
install openclaw-client --ignore-scripts
# The schema that the tests hold our frames against.
install gateway-protocol --ignore-scripts
