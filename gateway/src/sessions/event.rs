//! What the sessions service tells the rest of the gateway.

use std::sync::Arc;

use super::key::SessionKey;
use super::model::{Message, Session};

/// Why a session's row changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeReason {
    Create,
    Send,
    Patch,
    Reset,
    Delete,
    Inject,
    RunStarted,
    RunEnded,
    RunFailed,
}

impl ChangeReason {
    /// The name that clients know.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Send => "send",
            Self::Patch => "patch",
            Self::Reset => "reset",
            Self::Delete => "delete",
            Self::Inject => "inject",
            Self::RunStarted => "agent.run.started",
            Self::RunEnded => "end",
            Self::RunFailed => "error",
        }
    }
}

/// A committed change of a session.
#[derive(Debug, Clone)]
pub enum SessionEvent {
    Changed {
        key: SessionKey,
        reason: ChangeReason,
        run_id: Option<String>,
        /// The row after the change; absent after a delete.
        session: Option<Arc<Session>>,
        /// Milliseconds UTC.
        at: i64,
    },
    /// A message was added to the transcript.
    Message {
        key: SessionKey,
        message: Arc<Message>,
    },
}
