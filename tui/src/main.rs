//! `clawline`: parse flags, then a subcommand or the full-screen app.

mod allocator;
mod app;
mod cli;
mod commands;
mod keys;
mod link;
mod logging;
mod markdown;
mod node_host;
mod outbox;
mod panes;
mod start;
mod terminal;
mod theme;
mod widgets;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;

/// How long tasks may take to let go at the end, e.g. a thread that waits for the terminal.
const EXIT_GRACE: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    if let Some(code) = node_host::keeper::run_if_asked() {
        return code;
    }
    if let Some(code) = cli::help::run_if_asked() {
        return ExitCode::from(code);
    }
    let cli = match cli::args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(cli::wrong_usage(&error)),
    };
    if cli.command.is_some() || cli.app.tunnel_only {
        logging::start(&cli.general);
    }
    allocator::keep_freed_memory();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            cli::output::Output::new(false).error(&format!("cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(cli::run(cli));
    runtime.shutdown_timeout(EXIT_GRACE);
    ExitCode::from(code)
}
