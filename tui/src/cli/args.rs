//! What can be typed: options, subcommands and the help that teaches them.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  clawline me@desktop                     open the app over SSH; nothing to set up
  clawline home                           a host named in clawline.json5 or ~/.ssh/config
  clawline wss://gate.example --token T   a gateway that is reached directly
  clawline health me@desktop              is it well? the exit code says at which layer not
  clawline --tunnel-only me@desktop       hold ws://127.0.0.1:18789 open for other programs
  clawline demo                           try the app with nothing but this program

Exit codes: 0 good, 1 failed or unhealthy, 2 wrong usage or config, 3 unreachable,
4 host key refused, 5 SSH sign-in refused, 6 forwarding refused or nothing listens there,
7 the gateway refused, 8 a local port cannot be bound, 130 interrupted.";

/// A terminal app for the gateway at home, over its own supervised SSH connection.
#[derive(Debug, Parser)]
#[command(
    name = "clawline",
    version,
    after_help = EXAMPLES,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    /// Where the gateway is: [USER@]HOST[:PORT], an alias of ssh_config, a host of clawline.json5, a
    /// ws:// or wss:// URL, or `local` for this machine
    #[arg(value_name = "TARGET")]
    pub target: Option<String>,

    #[command(flatten)]
    pub app: AppArgs,

    #[command(flatten)]
    pub connect: ConnectArgs,

    #[command(flatten)]
    pub general: GeneralArgs,

    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options of the app and of `--tunnel-only`.
#[derive(Debug, Args)]
pub(crate) struct AppArgs {
    /// Open this session
    #[arg(long, value_name = "KEY")]
    pub session: Option<String>,
    /// Talk to this agent
    #[arg(long, value_name = "ID")]
    pub agent: Option<String>,
    /// Send this once the chat is open
    #[arg(long, value_name = "TEXT")]
    pub message: Option<String>,
    /// No app: hold the forward and print a line for each change of state
    #[arg(long)]
    pub tunnel_only: bool,
    /// Local end for --tunnel-only: [NAME=][ADDRESS:]PORT[:HOST:PORT], either end may be the path of a
    /// socket; may be repeated [default: 127.0.0.1:18789]
    #[arg(short = 'L', long, value_name = "END", requires = "tunnel_only")]
    pub listen: Vec<String>,
    /// Local end for --tunnel-only where programs say by SOCKS where they want to go: [ADDRESS:]PORT; may
    /// be repeated
    #[arg(
        short = 'D',
        long,
        visible_alias = "socks",
        value_name = "END",
        requires = "tunnel_only"
    )]
    pub dynamic: Vec<String>,
    /// Write how the tunnel stands to this file, as JSON, at each change
    #[arg(long, value_name = "FILE", requires = "tunnel_only")]
    pub status_file: Option<PathBuf>,
    /// Let programs of other users through the local ends
    #[arg(long, requires = "tunnel_only")]
    pub allow_other_users: bool,
}

/// How to get to the gateway.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectArgs {
    /// The target of a subcommand
    #[arg(short = 'H', long, value_name = "TARGET", global = true)]
    pub host: Option<String>,
    /// Port of the SSH server
    #[arg(short = 'p', long, value_name = "PORT", global = true, value_parser = clap::value_parser!(u16).range(1..))]
    pub ssh_port: Option<u16>,
    /// Private key file; may be repeated
    #[arg(short = 'i', long, value_name = "FILE", global = true)]
    pub identity: Vec<String>,
    /// Jump hosts, separated by commas
    #[arg(short = 'J', long, value_name = "HOSTS", global = true)]
    pub jump: Option<String>,
    /// Read this instead of ~/.ssh/config; `none` reads nothing
    #[arg(short = 'F', long, value_name = "FILE", global = true)]
    pub ssh_config: Option<String>,
    /// An option of ssh_config; may be repeated
    #[arg(short = 'o', value_name = "KEY=VALUE", global = true)]
    pub option: Vec<String>,
    /// Trust and remember a host that is not known yet, without asking; a changed key is still refused
    #[arg(long, global = true)]
    pub accept_new_host_key: bool,
    /// The gateway as the SSH server sees it: HOST:PORT or the path of a socket [default: found there,
    /// else 127.0.0.1:18789]
    #[arg(long, value_name = "END", global = true)]
    pub remote: Option<String>,
    /// A gateway that is reached directly; takes --token or --password, nothing from config
    #[arg(long, value_name = "URL", global = true)]
    pub url: Option<String>,
    /// The gateway's token
    #[arg(long, value_name = "TOKEN", global = true, allow_hyphen_values = true)]
    pub token: Option<String>,
    /// The gateway's password
    #[arg(
        long,
        value_name = "PASSWORD",
        global = true,
        allow_hyphen_values = true
    )]
    pub password: Option<String>,
    /// SHA-256 of the gateway's certificate; no other is accepted
    #[arg(long, value_name = "HEX", global = true)]
    pub tls_fingerprint: Option<String>,
}

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "General")]
pub(crate) struct GeneralArgs {
    /// JSON for programs
    #[arg(long, global = true)]
    pub json: bool,
    /// Config file
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Config and state of their own under this name
    #[arg(long, value_name = "NAME", global = true)]
    pub profile: Option<String>,
    /// The profile `dev`, whose gateway listens on 19001
    #[arg(long, global = true, conflicts_with = "profile")]
    pub dev: bool,
    /// No colours
    #[arg(long, global = true)]
    pub no_color: bool,
    /// No drawing characters
    #[arg(long, global = true)]
    pub plain: bool,
    /// Log more; -vv logs everything of ours
    #[arg(short = 'v', long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    /// Where to log
    #[arg(long, value_name = "FILE", global = true)]
    pub log_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Is the gateway well? The exit code names the layer where it is not
    Health(super::health::Args),
    /// Who and what is there
    Status(super::status::Args),
    /// Calls to the gateway
    Gateway(super::gateway::Args),
    /// Conversations
    Sessions(super::sessions::Args),
    /// One message to the agent, and its answer
    Agent(super::agent::Args),
    /// Devices that may connect
    Devices(super::devices::Args),
    /// Machines that the gateway can have commands carried out on
    Nodes(super::nodes::Args),
    /// This machine as a node of a gateway
    Node(super::node::Args),
    /// The gateway's log
    Logs(super::logs::Args),
    /// What is configured, and where each value came from
    Config(super::config::Args),
    /// Every SSH setting for a target, with file and line
    Explain(super::explain::Args),
    /// The tunnels that `clawline --tunnel-only` holds on this machine
    Tunnel(super::tunnel::Args),
    /// Hold a tunnel from every login on, as a service of this user
    InstallTunnel(super::install_tunnel::Args),
    /// Server keys that are known: list, add, remove, trust
    Hosts(super::hosts::Args),
    /// Is this machine in order for connecting? Nothing is dialled or changed
    Doctor(super::doctor::Args),
    /// Completions for a shell
    Completions(super::completions::Args),
    /// The app against a gateway of its own, over a real SSH connection inside this process
    #[cfg(feature = "demo")]
    Demo(super::demo::Args),
}

/// A bare TARGET, where a subcommand takes one.
#[derive(Debug, Args)]
pub(crate) struct TargetArg {
    /// Where the gateway is; the configured default when left out
    #[arg(value_name = "TARGET")]
    pub target: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_subcommand_s_name_wins_over_a_host_s_and_options_may_stand_on_both_sides() {
        let cli = Cli::try_parse_from(["clawline", "-p", "22", "health", "me@desktop", "--json"]);
        let cli = cli.unwrap();
        assert!(matches!(cli.command, Some(Command::Health(_))));
        assert_eq!((cli.target, cli.connect.ssh_port), (None, Some(22)));
        assert!(cli.general.json);
        let cli = Cli::try_parse_from(["clawline", "ssh://status"]).unwrap();
        assert_eq!(cli.target.as_deref(), Some("ssh://status"));
    }

    #[test]
    fn the_help_teaches_by_examples() {
        let help = Cli::command().render_long_help().to_string();
        assert!(help.contains("clawline me@desktop"));
    }
}
