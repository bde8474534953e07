//! What the gateway answers by itself, and compacting: each is one transaction.

use async_trait::async_trait;

use super::{EndedRun, RunEnd, StoreError};
use crate::runs::{Run, RunId, RunKind};
use crate::sessions::{Message, NewMessage, Session, SessionKey, SessionPatch};

type Result<T> = std::result::Result<T, StoreError>;

/// A slash command with what it does and what is answered, under its idempotency key.
#[derive(Debug, Clone)]
pub struct Command {
    pub run_id: RunId,
    pub session_key: SessionKey,
    pub kind: RunKind,
    pub body_hash: [u8; 32],
    pub effect: CommandEffect,
    /// Runs that it stops, where they have not been given to a model yet: after this they never are.
    pub stops: Vec<RunEnd>,
    /// The command as it was typed and the answer; without them the transcript stays as it is.
    pub messages: Option<(NewMessage, NewMessage)>,
    /// What the key is answered with from now on.
    pub answer: String,
    pub at: i64,
}

/// What a command does to its session.
#[derive(Debug, Clone)]
pub enum CommandEffect {
    Nothing,
    /// Nothing beside the runs that it stops.
    Stop,
    /// A new, empty transcript.
    Reset,
    Patch(Box<SessionPatch>),
    /// The model goes on seeing this many of the newest messages.
    Compact(u64),
}

/// What became of a [`Command`].
#[derive(Debug, Clone)]
pub enum CommandOutcome {
    Done(Box<DoneCommand>),
    /// The key was used before; nothing was written.
    Existing(Box<Run>),
}

/// A command that was just committed.
#[derive(Debug, Clone)]
pub struct DoneCommand {
    pub run: Run,
    pub session: Session,
    pub messages: Option<(Message, Message)>,
    /// Of the runs that it stops those that had still waited.
    pub ended: Vec<EndedRun>,
}

/// How much of a transcript models are shown after compacting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// Whether it is less than before.
    pub less: bool,
    /// Messages that are shown.
    pub kept: u64,
}

/// Commands and compacting.
#[async_trait]
pub trait CommandStore: Send + Sync {
    /// Effect, ended runs, messages and key in one transaction; makes the session when absent.
    async fn carry_out(&self, command: Command) -> Result<CommandOutcome>;
    /// What a key of a command is answered with from now on.
    async fn amend(&self, run_id: &RunId, answer: &str) -> Result<()>;
    /// Shows models only this many of the newest messages; `None` without such a session.
    async fn compact(&self, key: &SessionKey, keep: u64) -> Result<Option<Compacted>>;
}
