//! The log: JSON lines in owner-only files of bounded size and number, and short lines for a person
//! who watches at a terminal.
//!
//! One event is one line in both, whatever strangers put into it; see [`line`].

mod file;
mod line;

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt, reload};

use crate::settings::LogSettings;
use file::LogFile;
pub(crate) use file::aside;

/// Parts that are noisy at the level of everything else. What a provider says is told by the run it is about.
const QUIET: &str = "hyper=warn,sqlx=warn,tungstenite=warn,genai=off";
/// The variable with a filter of its own, in `tracing`'s spelling.
pub const FILTER_VARIABLE: &str = "CLAWLINE_LOG";

/// Changes the level of a log that is set up. A cheap clone.
#[derive(Clone)]
pub struct LogControl {
    set: Arc<dyn Fn(&str) + Send + Sync>,
}

impl LogControl {
    /// From now on this level is written, unless the environment asked for a filter of its own.
    pub fn set_level(&self, level: &str) {
        (self.set)(level);
    }
}

/// Sets the log up for the process. `filter` comes from the environment and wins over the settings.
///
/// # Errors
/// When the file cannot be opened.
pub fn init(path: &Path, settings: &LogSettings, filter: Option<&str>) -> io::Result<LogControl> {
    let of_level = |level: &str| EnvFilter::new(format!("{level},{QUIET}"));
    let first = || filter.map_or_else(|| of_level(&settings.level), EnvFilter::new);
    let file = LogFile::open(path, settings)?;
    let (file_filter, file_level) = reload::Layer::new(first());
    let to_file = fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_writer(file)
        .with_filter(file_filter);
    let is_terminal = io::stderr().is_terminal();
    let person = if is_terminal {
        first()
    } else {
        of_level("warn")
    };
    let (person_filter, person_level) = reload::Layer::new(person);
    let to_person = fmt::layer()
        .compact()
        .with_target(false)
        .with_ansi(is_terminal)
        .with_writer(|| line::OneLine(io::stderr()))
        .with_filter(person_filter);
    // An error says that a log was set up before, as tests of one process do.
    let _ = tracing_subscriber::registry()
        .with(to_file)
        .with(to_person)
        .try_init();
    let is_fixed = filter.is_some();
    Ok(LogControl {
        set: Arc::new(move |level| {
            if is_fixed {
                return;
            }
            // An error says that the log is gone, and then nobody misses its level.
            let _ = file_level.reload(of_level(level));
            if is_terminal {
                let _ = person_level.reload(of_level(level));
            }
        }),
    })
}

/// The log of a state directory.
pub fn file(state_dir: &Path) -> PathBuf {
    state_dir.join("logs/gateway.jsonl")
}
