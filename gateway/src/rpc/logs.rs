//! `logs.tail`: the end of the log file, from a cursor on.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use clawline::protocol::error::RpcError;
use clawline::protocol::methods::system::{LogsTail, LogsTailParams, LogsTailReply};

use super::{Call, Failure, Table};
use crate::logging;
use crate::state::App;

/// Lines and bytes when the caller does not say, and at most.
const DEFAULT_LINES: u64 = 500;
const MAX_LINES: u64 = 5000;
const DEFAULT_BYTES: u64 = 250_000;
const MAX_BYTES: u64 = 1_000_000;

pub(crate) fn rows(table: Table) -> Table {
    table.on::<LogsTail, _>(tail)
}

async fn tail(app: App, call: Call<LogsTail>) -> Result<LogsTailReply, Failure> {
    let _page = call.conn.page().await;
    let path = logging::file(&app.settings().state_dir);
    let params = call.params;
    let read = tokio::task::spawn_blocking(move || read(&path, &params)).await;
    let reply = read
        .map_err(|error| RpcError::unavailable(error.to_string()))?
        .map_err(|error| RpcError::unavailable(format!("the log cannot be read: {error}")))?;
    Ok(reply)
}

/// Whole lines only: what is being written is left for the next call.
fn read(path: &Path, params: &LogsTailParams) -> io::Result<LogsTailReply> {
    let max_lines = params.limit.unwrap_or(DEFAULT_LINES).clamp(1, MAX_LINES);
    let max_bytes = params
        .max_bytes
        .unwrap_or(DEFAULT_BYTES)
        .clamp(1, MAX_BYTES);
    let mut reply = LogsTailReply {
        file: path.display().to_string(),
        ..LogsTailReply::default()
    };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(reply),
        Err(error) => return Err(error),
    };
    let size = file.metadata()?.len();
    // A file that is shorter than the cursor was put aside since.
    reply.reset = params.cursor.is_some_and(|cursor| cursor > size);
    let wanted = params.cursor.filter(|cursor| *cursor <= size);
    let start = wanted.unwrap_or(0).max(size.saturating_sub(max_bytes));
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(max_bytes).read_to_end(&mut bytes)?;
    let end = bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    bytes.truncate(end);
    reply.size = size;
    reply.cursor = start + u64::try_from(end).unwrap_or(0);
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

    #[test]
    fn a_follower_sees_each_whole_line_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        assert_eq!(read(&path, &params(None, 10, 1000)).unwrap().lines.len(), 0);
        std::fs::write(&path, "one\ntwo\nhal").unwrap();
        let first = read(&path, &params(None, 10, 1000)).unwrap();
        assert_eq!(first.lines, ["one", "two"]);
        std::fs::write(&path, "one\ntwo\nhalf\n").unwrap();
        let next = read(&path, &params(Some(first.cursor), 10, 1000)).unwrap();
        assert_eq!((next.lines, next.reset), (vec!["half".to_owned()], false));
        std::fs::write(&path, "new\n").unwrap();
        let rotated = read(&path, &params(Some(first.cursor), 10, 1000)).unwrap();
        assert_eq!(
            (rotated.lines, rotated.reset),
            (vec!["new".to_owned()], true)
        );
    }

    #[test]
    fn limits_keep_the_newest_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "aaaa\nbbbb\ncccc\n").unwrap();
        let two = read(&path, &params(None, 2, 1000)).unwrap();
        assert_eq!(
            (two.lines.as_slice(), two.truncated),
            (&["bbbb".to_owned(), "cccc".to_owned()][..], true)
        );
        let few_bytes = read(&path, &params(None, 10, 7)).unwrap();
        assert_eq!(few_bytes.lines, ["cccc"]);
    }
}
