//! The command line of the daemon: what was typed, and the exit code it ends with.

mod address;
mod backup;
mod config;
mod daemon;
mod devices;
mod doctor;
mod help;
mod lifecycle;
mod nodes;
mod options;
mod output;
mod reach;
mod run;
mod service;
mod setup_code;
mod status;
mod tls;
mod token;
mod waiting;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::start_error::StartError;

/// A gateway for OpenClaw clients: conversations and their agent, on a machine that stays on.
#[derive(Debug, Parser)]
#[command(
    name = "clawline-gateway",
    version,
    after_help = help::PROGRAM,
    max_term_width = 100
)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// Options of every subcommand.
#[derive(Debug, Clone, Args)]
struct Common {
    /// Config file to read instead of the usual one.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    /// A gateway of its own, with its own state and config.
    #[arg(long, global = true, value_name = "NAME", conflicts_with = "dev")]
    profile: Option<String>,
    /// The profile "dev", on port 19001.
    #[arg(long, global = true)]
    dev: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until stopped.
    #[command(after_help = help::RUN)]
    Run(Box<run::RunArgs>),
    /// Print the shared token; it is made when there is none.
    #[command(after_help = help::TOKEN)]
    Token(token::TokenArgs),
    /// The gateway's own TLS certificate.
    #[command(subcommand, after_help = help::TLS)]
    Tls(tls::TlsCommand),
    /// Who may connect: list, approve, reject, remove, rotate, revoke. On the host, without a login.
    #[command(subcommand, after_help = help::DEVICES)]
    Devices(devices::DevicesCommand),
    /// Make it a service of this user, which runs from every login on.
    #[command(after_help = help::INSTALL)]
    Install(service::InstallArgs),
    /// End the service and remove it; state and config stay.
    Uninstall(service::UninstallArgs),
    /// Run it in the background: the service, where there is one.
    Start,
    /// End it; answers that are being written may complete.
    Stop,
    /// End it and run it again.
    Restart,
    /// What nodes may be used for: list, approve, reject, remove. On the host, without a login.
    #[command(subcommand, after_help = help::NODES)]
    Nodes(nodes::NodesCommand),
    /// What is configured, where it came from, and what is wrong with it.
    #[command(subcommand, after_help = help::CONFIG)]
    Config(config::ConfigCommand),
    /// Look at everything that the gateway needs, and say what helps.
    #[command(after_help = help::DOCTOR)]
    Doctor(doctor::DoctorArgs),
    /// Save the state and the config file, also while the gateway runs.
    #[command(after_help = help::BACKUP)]
    Backup(backup::BackupArgs),
    /// Put a saved state in the place of the present one, which is kept aside.
    #[command(after_help = help::RESTORE)]
    Restore(backup::RestoreArgs),
    /// Say whether the gateway runs, and how it is.
    #[command(after_help = help::STATUS)]
    Status(status::StatusArgs),
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    Good,
    Failed,
    Usage,
    CannotBind,
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Good => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::CannotBind => 8,
            Exit::Interrupted => 130,
        })
    }
}

/// A command that failed: its words, and its exit code.
#[derive(Debug)]
struct Failure {
    text: String,
    exit: Exit,
}

impl Failure {
    fn usage(text: impl std::fmt::Display) -> Self {
        Self {
            text: text.to_string(),
            exit: Exit::Usage,
        }
    }

    fn failed(text: impl std::fmt::Display) -> Self {
        Self {
            text: text.to_string(),
            exit: Exit::Failed,
        }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let exit = match &error {
            StartError::UnsafeState(_)
            | StartError::Lock(_)
            | StartError::Secret(_)
            | StartError::NoPassword
            | StartError::WeakSecret { .. }
            | StartError::SameSecret(..)
            | StartError::TrustedProxy(_)
            | StartError::OpenToAll
            | StartError::PublishedBeyondLoopback { .. }
            | StartError::FunnelWithoutPassword
            | StartError::PublishedToAll
            | StartError::Tls(_)
            | StartError::Config(_) => Exit::Usage,
            StartError::Listen(_) | StartError::Tailscale(_) => Exit::CannotBind,
            StartError::StateDir { .. } | StartError::Store(_) | StartError::Runs(_) => {
                Exit::Failed
            }
        };
        Self {
            text: error.to_string(),
            exit,
        }
    }
}

/// Waits for something outside, in a command that does nothing else meanwhile.
fn wait<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::failed)?;
    Ok(runtime.block_on(work))
}

/// The whole program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Run(args) => run::run(&cli.common, &args),
        Command::Token(args) => token::run(&cli.common, &args),
        Command::Tls(command) => tls::run(&cli.common, command),
        Command::Devices(command) => devices::run(&cli.common, &command),
        Command::Install(args) => service::install(&cli.common, &args),
        Command::Uninstall(args) => service::uninstall(&cli.common, &args),
        Command::Start => lifecycle::start(&cli.common),
        Command::Stop => lifecycle::stop(&cli.common),
        Command::Restart => lifecycle::restart(&cli.common),
        Command::Nodes(command) => nodes::run(&cli.common, &command),
        Command::Config(command) => config::run(&cli.common, &command),
        Command::Doctor(args) => doctor::run(&cli.common, &args),
        Command::Backup(args) => backup::save(&cli.common, &args),
        Command::Restore(args) => backup::restore(&cli.common, &args),
        Command::Status(args) => status::run(&cli.common, &args),
    };
    match done {
        Ok(Exit::Good) if output::is_lost() => Exit::Failed.into(),
        Ok(exit) => exit.into(),
        Err(failure) => {
            output::error(&failure.text);
            failure.exit.into()
        }
    }
}
