//! What stands below the options in `--help`: examples, and what the command ends with.

/// Of the program.
pub(super) const PROGRAM: &str = "\
Examples:
  clawline-gateway run                    serve on loopback; a token is made and its file named
  clawline-gateway install                a service of this user, from every login on
  clawline-gateway status                 does it run, and is it well?
  clawline-gateway token --setup          a one-time code for one more device
  clawline-gateway devices list           who may connect, and who asks to
  clawline-gateway doctor                 permissions, port, clock, disk, store

Environment:
  CLAWLINE_CONFIG, CLAWLINE_PROFILE       as --config and --profile, where they are not given
  CLAWLINE_STATE_DIR                      where the state is kept, instead of ~/.local/state
  CLAWLINE_GATEWAY_PORT, _TOKEN, _PASSWORD  win over the config file; then OPENCLAW_GATEWAY_…
  CLAWLINE_GATEWAY_BIND, …                every key has one: dots and capitals become _
  CLAWLINE_LOG                            what is logged, e.g. debug

Exit codes: 0 good, 1 failed or not running, 2 wrong usage or config, or it runs already,
8 the port cannot be bound, 130 ended at once by a second signal.";

pub(super) const RUN: &str = "\
Examples:
  clawline-gateway run                                loopback, port 18789
  clawline-gateway run --port 0                       a free port, for a try
  clawline-gateway run --bind lan --tls               for your network; asks about each new device
  clawline-gateway run --token-file ~/gateway-token   a token of yours

SIGHUP reads the config file again. SIGTERM and Ctrl-C let answers complete for five seconds; the
second one does not wait.

Exit codes: 0 stopped, 1 failed, 2 wrong usage or config, or it runs already, 8 the port cannot be
bound, 130 ended at once.";

pub(super) const TOKEN: &str = "\
Examples:
  clawline-gateway token                  for a client that cannot read its file
  clawline-gateway token --qr             with URL and TLS fingerprint, to be scanned
  clawline-gateway token --setup          a code for one device, once, within ten minutes
  clawline-gateway token --setup --node   the same for a node
  clawline-gateway token --rotate         after the old one was seen by somebody";

pub(super) const TLS: &str = "\
Examples:
  clawline-gateway tls show               what clients pin (clawline --tls-fingerprint)
  clawline-gateway tls renew              another certificate; then tell every client";

pub(super) const DEVICES: &str = "\
Examples:
  clawline-gateway devices list           requests come first, each with its id
  clawline-gateway devices approve ID     let in what asks; the beginning of the id is enough
  clawline-gateway devices revoke ID      keep out what was lost";

pub(super) const NODES: &str = "\
Examples:
  clawline-gateway nodes list             what is asked for, and what is approved
  clawline-gateway nodes approve ID       the beginning of the id is enough
  clawline-gateway nodes remove NODE      nothing of it is approved any more";

pub(super) const INSTALL: &str = "\
Examples:
  clawline-gateway install                write the service, and start it
  clawline-gateway install --print        only show it
  loginctl enable-linger                  keep it running while nobody is signed in (systemd)";

pub(super) const CONFIG: &str = "\
Examples:
  clawline-gateway config path            where the config file is
  clawline-gateway config show --sources  every value, and where it came from
  clawline-gateway config check           every mistake at once; exit code 2 where there is one";

pub(super) const BACKUP: &str = "\
Example:
  clawline-gateway backup ~/gateway-backup    the directory is made, and must not be there yet";

pub(super) const RESTORE: &str = "\
Example:
  clawline-gateway stop && clawline-gateway restore ~/gateway-backup && clawline-gateway start";

pub(super) const STATUS: &str = "\
Exit codes: 0 it runs and is ready, 1 it does not run or is not ready.";

pub(super) const DOCTOR: &str = "\
Exit codes: 0 nothing is bad, 1 something is.";
