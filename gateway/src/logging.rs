//! The log: JSON lines in an owner-only file of bounded size, and short lines for a person who
//! watches at a terminal.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use clawline::owner_file;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

/// A full file is put aside once; with the one before it, twice this is kept.
const MAX_BYTES: u64 = 8 * 1024 * 1024;
/// What is written down unless `CLAWLINE_LOG` says otherwise.
const DEFAULT_FILTER: &str = "info,hyper=warn,sqlx=warn,tungstenite=warn";
/// The variable with a filter of its own, in `tracing`'s spelling.
pub const FILTER_VARIABLE: &str = "CLAWLINE_LOG";

/// Sets the log up for the process. `filter` comes from the environment.
///
/// # Errors
/// When the file cannot be opened.
pub fn init(path: &Path, filter: Option<&str>) -> io::Result<()> {
    let filter = || EnvFilter::new(filter.unwrap_or(DEFAULT_FILTER));
    let file = LogFile::open(path, MAX_BYTES)?;
    let to_file = fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_writer(file)
        .with_filter(filter());
    let is_terminal = io::stderr().is_terminal();
    let to_person = fmt::layer()
        .compact()
        .with_target(false)
        .with_ansi(is_terminal)
        .with_writer(io::stderr)
        .with_filter(if is_terminal {
            filter()
        } else {
            EnvFilter::new("warn")
        });
    // An error says that a log was set up before, as tests of one process do.
    let _ = tracing_subscriber::registry()
        .with(to_file)
        .with(to_person)
        .try_init();
    Ok(())
}

/// A file that is put aside when it is full.
#[derive(Debug, Clone)]
struct LogFile {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: File,
    size: u64,
    max: u64,
}

impl LogFile {
    fn open(path: &Path, max: u64) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            owner_file::create_dir(parent)?;
        }
        let file = append(path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            inner: Arc::new(Mutex::new(Inner {
                path: path.to_owned(),
                file,
                size,
                max,
            })),
        })
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

/// The log of a state directory.
pub fn file(state_dir: &Path) -> PathBuf {
    state_dir.join("logs/gateway.jsonl")
}

/// Where a full log goes.
pub fn aside(path: &Path) -> PathBuf {
    path.with_extension("jsonl.1")
}

impl Write for &LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
        if inner.size > 0 && inner.size.saturating_add(length) > inner.max {
            std::fs::rename(&inner.path, aside(&inner.path))?;
            inner.file = append(&inner.path)?;
            inner.size = 0;
        }
        inner.file.write_all(line)?;
        inner.size += length;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = &'a LogFile;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_owner_only_and_stays_small() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/gateway.jsonl");
        let log = LogFile::open(&path, 100).unwrap();
        for _ in 0..50 {
            (&log).write_all(b"0123456789012345678\n").unwrap();
        }
        assert!(std::fs::metadata(&path).unwrap().len() <= 100);
        assert!(std::fs::metadata(aside(&path)).unwrap().len() <= 100);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
