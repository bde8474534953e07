# Helpers of the interop scripts: a world of its own a script, with a real sshd, real gateways and real terminals.
# Source it, use the start_* functions, state claims with `check`, end with `finish`.
#
# $WORK/near is the laptop's HOME, $WORK/far is the HOME of the machine the gateway runs on. sshd is told to
# give that HOME to those who sign in, so nothing of the real user's is read or written.
set -uo pipefail
# Screens have lines and arrows in them, and patterns name them.
export LC_ALL=C.UTF-8

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
CACHE=${CLAWLINE_CI_CACHE:-$HOME/.cache/clawline-ci}
BIN=${CLAWLINE_BIN:-$ROOT/target/debug}
NODE_PATH_DIR=$CACHE/node/node_modules/node/bin
ME=$(id -un)
# It guards nothing but a gateway that lives as long as the script.
TOKEN=interop-token

WORK=$(mktemp -d /tmp/clawline-interop.XXXXXX)
mkdir -p "$WORK"/{near,far,tmp,run,log} "$WORK/near/.ssh" "$WORK/far/.openclaw"
chmod 700 "$WORK"/{near,far,run} "$WORK/near/.ssh" "$WORK/far/.openclaw"
# What OpenClaw compiles at its first start is kept between runs: it takes half a minute on a busy machine.
mkdir -p "$CACHE"/tmp/{jiti,node-compile-cache}
ln -s "$CACHE"/tmp/{jiti,node-compile-cache} "$WORK/tmp/"

# tmux goes on without a session: one that is just ending would take the next one with it.
echo 'set -s exit-empty off' >"$WORK/tmp/tmux.conf"

PIDS=()
PASSED=0
FAILED=0

# A part a subject; the traps of claims.sh clean up after all of them.
for part in running claims sshd gateways terminals; do
  # shellcheck source=/dev/null
  source "$HERE/lib/$part.sh"
done
unset part
