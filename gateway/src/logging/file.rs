//! The log's files: the one being written, and older ones put aside as `.1` (the newest), `.2`, …

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use clawline::owner_file;
use tracing_subscriber::fmt::MakeWriter;

use super::line;
use crate::settings::LogSettings;

/// The smallest file that is put aside; less would turn files over all the time.
const MIN_BYTES: u64 = 64 * 1024;

/// A file that is put aside when it is full.
#[derive(Debug, Clone)]
pub(super) struct LogFile {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: File,
    size: u64,
    max_bytes: u64,
    max_files: u32,
}

impl LogFile {
    pub(super) fn open(path: &Path, settings: &LogSettings) -> io::Result<Self> {
        Self::bounded(
            path,
            settings.max_file_bytes.max(MIN_BYTES),
            settings.max_files.max(1),
        )
    }

    fn bounded(path: &Path, max_bytes: u64, max_files: u32) -> io::Result<Self> {
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
                max_bytes,
                max_files,
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

/// Where the next file is opened before it takes the log's name.
fn next(path: &Path) -> PathBuf {
    path.with_extension("jsonl.new")
}

/// Where the log that was full `age` turns ago lies; 0 is the one being written.
pub(crate) fn aside(path: &Path, age: u32) -> PathBuf {
    if age == 0 {
        path.to_owned()
    } else {
        path.with_extension(format!("jsonl.{age}"))
    }
}

impl Inner {
    /// Puts the full file aside, the oldest is dropped. A failure leaves the files as they are: a log
    /// that grows is better than none.
    fn turn(&mut self) {
        let turned = (|| {
            let next = next(&self.path);
            // What a turn left behind that was cut short.
            match std::fs::remove_file(&next) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            // It is there before the first name moves: without it, each try would drop one old file.
            let file = append(&next)?;
            for age in (1..self.max_files).rev() {
                match std::fs::rename(aside(&self.path, age - 1), aside(&self.path, age)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            std::fs::rename(&next, &self.path)?;
            Ok(file)
        })();
        if let Ok(file) = turned {
            self.file = file;
            self.size = 0;
        }
    }

    fn put(&mut self, line: &[u8]) -> io::Result<()> {
        let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
        if self.size > 0 && self.size.saturating_add(length) > self.max_bytes {
            self.turn();
        }
        self.file.write_all(line)?;
        self.size += length;
        Ok(())
    }
}

impl Write for &LogFile {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let line = line::bounded(&String::from_utf8_lossy(text));
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.put(line.as_bytes())?;
        Ok(text.len())
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
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_log_is_owner_only_and_bounded_in_size_and_number() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/gateway.jsonl");
        let log = LogFile::bounded(&path, 100, 3).unwrap();
        for turn in 0..50 {
            (&log)
                .write_all(format!("{{\"n\":\"01234567890{turn:02}\"}}\n").as_bytes())
                .unwrap();
        }
        for age in 0..3 {
            let file = std::fs::metadata(aside(&path, age)).unwrap();
            assert!(file.len() <= 100, "{age}");
            assert_eq!(file.permissions().mode() & 0o777, 0o600);
        }
        assert!(!aside(&path, 3).exists());
        let last = std::fs::read_to_string(&path).unwrap();
        assert!(last.ends_with("49\"}\n"), "{last}");
        let before = std::fs::read_to_string(aside(&path, 1)).unwrap();
        assert!(before < last, "{before} {last}");
    }

    #[test]
    fn a_turn_that_cannot_open_the_next_file_costs_no_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gateway.jsonl");
        let log = LogFile::bounded(&path, 10, 3).unwrap();
        for line in ["\"one\"\n", "\"two\"\n", "\"three\"\n"] {
            (&log).write_all(line.as_bytes()).unwrap();
        }
        let read = |age| std::fs::read_to_string(aside(&path, age)).unwrap();
        std::fs::create_dir(next(&path)).unwrap();
        for _ in 0..3 {
            (&log).write_all(b"\"more\"\n").unwrap();
        }
        assert_eq!(read(0), "\"three\"\n\"more\"\n\"more\"\n\"more\"\n");
        assert_eq!((&*read(1), &*read(2)), ("\"two\"\n", "\"one\"\n"));
        std::fs::remove_dir(next(&path)).unwrap();
        (&log).write_all(b"\"last\"\n").unwrap();
        assert_eq!((&*read(0), &*read(2)), ("\"last\"\n", "\"two\"\n"));
        assert!(!next(&path).exists());
    }

    #[test]
    fn with_one_file_the_old_lines_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gateway.jsonl");
        let log = LogFile::bounded(&path, 10, 1).unwrap();
        (&log).write_all(b"\"one\"\n").unwrap();
        (&log).write_all(b"\"two\"\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "\"two\"\n");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
