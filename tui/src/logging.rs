//! Where the log goes: a file when one is named, else the error output of subcommands that were asked
//! to say more. The full-screen app owns the terminal, so it logs to its file alone.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::sync::Mutex;

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::cli::args::GeneralArgs;
use crate::cli::output::Output;

/// Starts logging as the flags say; called once, before anything else runs.
pub(crate) fn start(general: &GeneralArgs) {
    if let Some(path) = &general.log_file {
        to_file(path, general.verbose);
    } else if general.verbose > 0 {
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(false);
        let _ = tracing_subscriber::registry()
            .with(levels(general.verbose))
            .with(layer)
            .try_init();
    }
}

/// Logs to a file, which is made owner-only. A file that cannot be opened is said and left out.
pub(crate) fn to_file(path: &Path, verbose: u8) {
    match open(path) {
        Ok(file) => {
            let layer = tracing_subscriber::fmt::layer()
                .with_writer(Mutex::new(file))
                .with_ansi(false);
            let _ = tracing_subscriber::registry()
                .with(levels(verbose))
                .with(layer)
                .try_init();
        }
        Err(error) => {
            let out = Output::new(false);
            out.error(&format!("cannot log to {}: {error}", path.display()));
        }
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        clawline::owner_file::create_dir(parent)?;
    }
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path)
}

fn levels(verbose: u8) -> Targets {
    let ours = match verbose {
        0 => Level::INFO,
        1 => Level::DEBUG,
        _ => Level::TRACE,
    };
    Targets::new()
        .with_default(Level::WARN)
        .with_target("clawline", ours)
}
