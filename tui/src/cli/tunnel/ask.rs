//! The other end of the status socket.

use std::io;
use std::path::Path;
use std::time::Duration;

use clawline::layer::printable;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader,
};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::cli::tunnel_only::claim::Held;
use crate::cli::tunnel_only::state::State;
use crate::cli::tunnel_only::status_socket::{Asked, Question, Told};

/// How long an answer may take: a program that asks wants one within two seconds.
const ANSWER_DEADLINE: Duration = Duration::from_millis(1500);
/// Longest answer.
const MAX_ANSWER: u64 = 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// It is there and says nothing.
    #[error("does not answer")]
    Silent,
    /// It cannot be asked.
    #[error("cannot be asked: {0}")]
    Unreachable(io::Error),
    /// It does not want to.
    #[error("refused: {0}")]
    Refused(String),
    /// It was asked to end and has not.
    #[error("was asked to end and is still there")]
    StillThere,
    /// It has ended, while it was watched.
    #[error("has ended")]
    Ended,
}

impl AskError {
    /// What to do about it.
    pub fn next(&self, pid: u32) -> String {
        match self {
            Self::Silent => format!(
                "it may be stopped: `kill -CONT {pid}` wakes it, `kill -KILL {pid}` ends it at once"
            ),
            Self::StillThere | Self::Unreachable(_) => {
                format!("`kill {pid}` ends it, `kill -KILL {pid}` at once")
            }
            Self::Refused(_) | Self::Ended => String::new(),
        }
    }
}

/// Asks once.
///
/// # Errors
/// [`AskError`].
pub(super) async fn ask(socket: &Path, question: Question) -> Result<State, AskError> {
    let asking = async {
        let mut answers = send(socket, question).await?;
        read(&mut answers).await
    };
    match timeout(ANSWER_DEADLINE, asking).await {
        Ok(answer) => answer,
        Err(_) => Err(AskError::Silent),
    }
}

/// A change of a tunnel, or why there are no more.
pub(super) type Change = (Held, Result<State, AskError>);

/// Sends every change of a tunnel, and at last why there are no more.
pub(super) async fn watch(held: Held, changes: mpsc::Sender<Change>) {
    let why = match follow(&held, &changes).await {
        Ok(()) => return,
        Err(why) => why,
    };
    // Nobody listens any more, or learns it.
    let _ = changes.send((held, Err(why))).await;
}

/// Ends without an error once nobody wants to know any more.
async fn follow(held: &Held, changes: &mpsc::Sender<Change>) -> Result<(), AskError> {
    let first = async {
        let mut answers = send(&held.socket, Question::Watch).await?;
        let state = read(&mut answers).await?;
        Ok((answers, state))
    };
    let first = timeout(ANSWER_DEADLINE, first).await;
    let (mut answers, mut state) = first.unwrap_or(Err(AskError::Silent))?;
    while changes.send((held.clone(), Ok(state))).await.is_ok() {
        // There is no deadline for a change.
        state = read(&mut answers).await.map_err(|error| match error {
            AskError::Unreachable(_) => AskError::Ended,
            error => error,
        })?;
    }
    Ok(())
}

async fn send(socket: &Path, question: Question) -> Result<BufReader<UnixStream>, AskError> {
    let mut stream = UnixStream::connect(socket)
        .await
        .map_err(AskError::Unreachable)?;
    let text = serde_json::to_string(&Asked { cmd: question }).unwrap_or_default() + "\n";
    stream
        .write_all(text.as_bytes())
        .await
        .map_err(AskError::Unreachable)?;
    Ok(BufReader::new(stream))
}

async fn read(answers: &mut (impl AsyncBufRead + Unpin)) -> Result<State, AskError> {
    let mut line = Vec::new();
    let read = answers.take(MAX_ANSWER).read_until(b'\n', &mut line).await;
    if read.map_err(AskError::Unreachable)? == 0 {
        return Err(AskError::Unreachable(io::ErrorKind::UnexpectedEof.into()));
    }
    let told: Told = serde_json::from_slice(&line)
        .map_err(|error| AskError::Refused(format!("an answer that is not understood: {error}")))?;
    match told.status {
        Some(state) if told.ok => Ok(state),
        _ => Err(AskError::Refused(printable(&told.error, 200))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_no_answer_is_told_apart() {
        for (text, words) in [
            (&b""[..], "cannot be asked"),
            (
                b"{\"v\":1,\"ok\":false,\"error\":\"too many\"}\n",
                "refused: too many",
            ),
            (b"not json\n", "not understood"),
            (b"\xff\xfe\n", "not understood"),
        ] {
            let mut answers = text;
            let error = read(&mut answers).await.unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[tokio::test]
    async fn a_socket_that_is_not_there_is_an_answer_at_once() {
        let error = ask(Path::new("/no/such/socket"), Question::Status).await;
        assert!(matches!(error, Err(AskError::Unreachable(_))));
    }
}
