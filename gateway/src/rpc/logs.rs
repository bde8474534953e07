//! `logs.tail`: the end of the log, from a cursor on, across files that were put aside meanwhile.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use clawline::protocol::error::RpcError;
use clawline::protocol::methods::system::{LogsTail, LogsTailParams, LogsTailReply};

use super::call::off_the_runtime;
use super::log_line::for_clients;
use super::{Call, Failure, Table};
use crate::logging;
use crate::state::App;

/// Lines and bytes when the caller does not say, and at most.
const DEFAULT_LINES: u64 = 500;
const MAX_LINES: u64 = 5000;
const DEFAULT_BYTES: u64 = 250_000;
const MAX_BYTES: u64 = 1_000_000;

/// A cursor is the file's mark times this, plus the place in the file; together they fit into the
/// whole numbers that JavaScript knows.
const PLACES: u64 = 1 << 32;
/// Marks of files.
const MARKS: u64 = 1 << 20;

pub(crate) fn rows(table: Table) -> Table {
    table.on::<LogsTail, _>(tail)
}

async fn tail(app: App, call: Call<LogsTail>) -> Result<LogsTailReply, Failure> {
    let _page = call.conn.page().await;
    let told = call.whereabouts(&app);
    let settings = app.settings();
    let (path, files) = (logging::file(&settings.state_dir), settings.log.max_files);
    let params = call.params;
    let read = off_the_runtime(move || read(&path, files, &params)).await?;
    let reply =
        read.map_err(|error| RpcError::unavailable(format!("the log cannot be read: {error}")))?;
    Ok(LogsTailReply {
        lines: reply
            .lines
            .iter()
            .map(|line| told.text(&for_clients(line)))
            .collect(),
        file: told.path(Path::new(&reply.file)),
        ..reply
    })
}

/// A file of the log, told apart from the others by its inode: names move when a file is put aside.
struct Part {
    file: File,
    mark: u64,
    size: u64,
}

impl Part {
    fn open(path: &PathBuf) -> io::Result<Option<Self>> {
        match File::open(path) {
            Ok(file) => {
                let metadata = file.metadata()?;
                Ok(Some(Self {
                    mark: 1 + metadata.ino() % (MARKS - 1),
                    size: metadata.len(),
                    file,
                }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn cursor(&self, place: u64) -> u64 {
        self.mark * PLACES + place
    }
}

/// Whole lines only: what is being written is left for the next call.
fn read(path: &Path, files: u32, params: &LogsTailParams) -> io::Result<LogsTailReply> {
    let max_lines = params.limit.unwrap_or(DEFAULT_LINES).clamp(1, MAX_LINES);
    let max_bytes = params
        .max_bytes
        .unwrap_or(DEFAULT_BYTES)
        .clamp(1, MAX_BYTES);
    let mut reply = LogsTailReply {
        file: path.display().to_string(),
        ..LogsTailReply::default()
    };
    let Some(newest) = Part::open(&path.to_owned())? else {
        return Ok(reply);
    };
    // A follower goes on in the file in which it stopped, and then in the next newer one.
    let mut wanted = None;
    let mut part = newest;
    let mut newer = None;
    if let Some(cursor) = params.cursor {
        let (mark, place) = (cursor / PLACES, cursor % PLACES);
        let mut age = 0;
        loop {
            if part.mark == mark && place <= part.size {
                wanted = Some(place);
                break;
            }
            age += 1;
            let older = match age < files.max(1) {
                true => Part::open(&logging::aside(path, age))?,
                false => None,
            };
            match older {
                Some(older) => newer = Some(std::mem::replace(&mut part, older)),
                None => break,
            }
        }
        if wanted == Some(part.size)
            && let Some(next) = newer.take()
        {
            (part, wanted) = (next, Some(0));
        }
        if wanted.is_none() {
            // What was read last is gone: the follower starts over with the newest file.
            reply.reset = true;
            part = match Part::open(&path.to_owned())? {
                Some(part) => part,
                None => return Ok(reply),
            };
        }
    }
    let start = wanted.unwrap_or(0).max(part.size.saturating_sub(max_bytes));
    part.file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    (&mut part.file).take(max_bytes).read_to_end(&mut bytes)?;
    let end = bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    bytes.truncate(end);
    reply.size = part.size;
    reply.cursor = part.cursor(start + u64::try_from(end).unwrap_or(0));
    let text = String::from_utf8_lossy(&bytes);
    let mut lines: Vec<&str> = text.lines().collect();
    // Started in the middle of a line: its rest is no record.
    let is_cut = start > wanted.unwrap_or(0);
    if is_cut && !lines.is_empty() {
        lines.remove(0);
    }
    let surplus = lines
        .len()
        .saturating_sub(usize::try_from(max_lines).unwrap_or(usize::MAX));
    reply.truncated = is_cut || surplus > 0;
    reply.lines = lines[surplus..]
        .iter()
        .map(|line| (*line).to_owned())
        .collect();
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(cursor: Option<u64>, limit: u64, max_bytes: u64) -> LogsTailParams {
        LogsTailParams {
            cursor,
            limit: Some(limit),
            max_bytes: Some(max_bytes),
        }
    }

    fn tail(path: &Path, cursor: Option<u64>) -> LogsTailReply {
        read(path, 3, &params(cursor, 10, 1000)).unwrap()
    }

    #[test]
    fn a_follower_sees_each_whole_line_once_and_a_file_that_is_gone_starts_it_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.jsonl");
        assert_eq!(tail(&path, None).lines.len(), 0);
        std::fs::write(&path, "one\ntwo\nhal").unwrap();
        let first = tail(&path, None);
        assert_eq!(first.lines, ["one", "two"]);
        assert!(first.cursor < 1 << 53, "JavaScript knows it");
        std::fs::write(&path, "one\ntwo\nhalf\n").unwrap();
        let next = tail(&path, Some(first.cursor));
        assert_eq!((next.lines, next.reset), (vec!["half".to_owned()], false));
        // Another file, longer than the cursor.
        let other = dir.path().join("other");
        std::fs::write(&other, "new and longer than the one before\n").unwrap();
        std::fs::rename(&other, &path).unwrap();
        let gone = tail(&path, Some(next.cursor));
        assert!(gone.reset);
        assert_eq!(gone.lines, ["new and longer than the one before"]);
    }

    #[test]
    fn a_file_that_was_put_aside_is_read_to_its_end_before_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.jsonl");
        std::fs::write(&path, "one\n").unwrap();
        let mut at = tail(&path, None);
        std::fs::write(&path, "one\ntwo\n").unwrap();
        for age in [1, 0] {
            let from = logging::aside(&path, age);
            if from.exists() {
                std::fs::rename(from, logging::aside(&path, age + 1)).unwrap();
            }
        }
        std::fs::write(&path, "three\n").unwrap();
        let mut seen = Vec::new();
        for _ in 0..3 {
            at = tail(&path, Some(at.cursor));
            assert!(!at.reset);
            seen.extend(at.lines.clone());
        }
        assert_eq!(seen, ["two", "three"]);
    }

    #[test]
    fn limits_keep_the_newest_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "aaaa\nbbbb\ncccc\n").unwrap();
        let two = read(&path, 1, &params(None, 2, 1000)).unwrap();
        assert_eq!(
            (two.lines.as_slice(), two.truncated),
            (&["bbbb".to_owned(), "cccc".to_owned()][..], true)
        );
        let few_bytes = read(&path, 1, &params(None, 10, 7)).unwrap();
        assert_eq!(few_bytes.lines, ["cccc"]);
    }
}
