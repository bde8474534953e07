//! The status socket: a line of JSON in, lines of JSON out, for this user's programs alone.
//!
//! `{"cmd":"status"}` answers once, `{"cmd":"watch"}` at each change, `{"cmd":"reconnect"}` and
//! `{"cmd":"stop"}` do what they say. Every answer has `v` and `ok`; a refusal has `error`.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clawline::tunnel::Tunnel;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::state::{Board, State};

/// Clients at a time; more are turned away at once.
const MAX_CLIENTS: usize = 16;
/// Longest question.
const MAX_QUESTION: u64 = 4096;
/// How long a client may take to ask.
const ASK_DEADLINE: Duration = Duration::from_secs(5);
/// How long a client may take to read an answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);
/// Changes that come faster than this are told as one.
const WATCH_PAUSE: Duration = Duration::from_millis(100);
/// Pause after a failed accept, which would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Question {
    /// How does it stand?
    Status,
    /// Tell every change.
    Watch,
    /// Connect now.
    Reconnect,
    /// End.
    Stop,
}

/// A question on the wire.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Asked {
    pub cmd: Question,
}

/// An answer on the wire.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Told {
    pub v: u32,
    pub ok: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<State>,
}

/// What the socket has to answer with.
#[derive(Clone)]
pub(super) struct Desk {
    pub board: Arc<Board>,
    pub states: watch::Receiver<State>,
    pub tunnel: Tunnel,
    /// Somebody asked for the end.
    pub stop: CancellationToken,
}

/// The socket, removed with its listener.
#[derive(Debug)]
pub(super) struct StatusSocket {
    listener: UnixListener,
    path: PathBuf,
    file: (u64, u64),
}

impl StatusSocket {
    /// Binds it. The caller holds the claim, so what is at `path` belongs to nobody any more.
    pub fn bind(path: &Path) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // The directory is its owner's alone, so nobody comes before the mode is set; whoever does is
        // asked for their user id.
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        let meta = fs::symlink_metadata(path)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            file: (meta.dev(), meta.ino()),
        })
    }

    /// Answers; never returns.
    pub async fn serve(&self, desk: &Desk) -> Infallible {
        let mut clients = JoinSet::new();
        loop {
            tokio::select! {
                Some(_) = clients.join_next() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) if !is_ours(&stream) => {
                        tracing::warn!("a question of another user was refused");
                    }
                    Ok((stream, _)) if clients.len() >= MAX_CLIENTS => {
                        // What fits into the socket's buffer needs no waiting.
                        let busy = refusal("too many ask at a time");
                        let _ = stream.try_write(line(&busy).as_bytes());
                    }
                    Ok((stream, _)) => {
                        clients.spawn(serve_one(stream, desk.clone()));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "accept failed on the status socket");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }
}

impl Drop for StatusSocket {
    fn drop(&mut self) {
        let is_same = fs::symlink_metadata(&self.path)
            .is_ok_and(|meta| (meta.dev(), meta.ino()) == self.file);
        if is_same {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn is_ours(stream: &UnixStream) -> bool {
    let us = nix::unistd::getuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == us)
}

async fn serve_one(stream: UnixStream, desk: Desk) {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read.take(MAX_QUESTION));
    let mut text = String::new();
    match timeout(ASK_DEADLINE, read.read_line(&mut text)).await {
        Ok(Ok(1..)) => {}
        _ => return,
    }
    let mut answer = async |value: &Value| {
        let text = line(value);
        let written = timeout(ANSWER_DEADLINE, write.write_all(text.as_bytes()));
        matches!(written.await, Ok(Ok(())))
    };
    let asked = match serde_json::from_str::<Asked>(&text) {
        Ok(asked) => asked.cmd,
        Err(error) => {
            answer(&refusal(&format!("no question that is known: {error}"))).await;
            return;
        }
    };
    match asked {
        Question::Status => {
            answer(&status(&desk.board.now())).await;
        }
        Question::Reconnect => {
            desk.tunnel.reconnect_now();
            answer(&status(&desk.board.now())).await;
        }
        Question::Stop => {
            answer(&status(&desk.board.now())).await;
            desk.stop.cancel();
        }
        Question::Watch => {
            let mut states = desk.states.clone();
            let telling = async {
                loop {
                    let state = states.borrow_and_update().clone();
                    if !answer(&status(&state)).await {
                        return;
                    }
                    tokio::time::sleep(WATCH_PAUSE).await;
                    if states.changed().await.is_err() {
                        return;
                    }
                }
            };
            // A client that goes away is noticed at once, not at the next change.
            let mut more = [0];
            tokio::select! {
                () = telling => {}
                _ = read.read(&mut more) => {}
            }
        }
    }
}

fn status(state: &State) -> Value {
    json!({ "v": 1, "ok": true, "status": state })
}

fn refusal(error: &str) -> Value {
    json!({ "v": 1, "ok": false, "error": error })
}

fn line(value: &Value) -> String {
    format!("{value}\n")
}
