//! What `update` wants done; the loop does it and answers with `Msg::Done`.

use clawline::protocol::methods::approvals::Decision;
use clawline::secret::Secret;
use clawline::tunnel::prompt::Answer;

use super::msg::Reading;
use super::prompt::PromptId;
use crate::outbox::{Delivery, Message};

/// An effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// `chat.history`.
    ReadHistory {
        /// Session key.
        session: String,
        /// What for.
        reading: Reading,
        /// Where older ones start.
        offset: Option<u64>,
        /// Where the gap starts.
        cursor: Option<String>,
    },
    /// Puts a message on disk.
    Store(Message),
    /// Marks a message as sent on disk, then sends it.
    Send(Message),
    /// Notes on disk how far a message has come.
    Note {
        /// The key.
        key: String,
        /// How far.
        delivery: Delivery,
    },
    /// `Done::Awake` after so many milliseconds.
    Wake {
        /// How long.
        after_ms: u64,
    },
    /// `chat.abort`.
    Abort {
        /// Session key.
        session: String,
        /// The run.
        run: Option<String>,
    },
    /// `agent.wait`.
    AskRun {
        /// The run.
        run: String,
    },
    /// `sessions.list`.
    ListSessions,
    /// `sessions.subscribe`.
    Subscribe,
    /// `health`.
    Health,
    /// `models.list`.
    ListModels,
    /// `commands.list`.
    ListCommands,
    /// `exec.approval.list`.
    ListApprovals,
    /// `exec.approval.resolve`.
    Decide {
        /// The approval.
        id: String,
        /// Yes or no.
        decision: Decision,
    },
    /// `status`.
    Status,
    /// `sessions.patch` of one member.
    Patch {
        /// Session key.
        session: String,
        /// The member.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// `sessions.reset`.
    Reset {
        /// Session key.
        session: String,
    },
    /// Reads the draft of a session.
    LoadDraft {
        /// Session key.
        session: String,
    },
    /// Keeps a draft.
    SaveDraft {
        /// Session key.
        session: String,
        /// Its text.
        text: String,
    },
    /// Tries the link now.
    ReconnectNow,
    /// Shows the gateway this token.
    GiveToken(Secret),
    /// Shows the gateway this password.
    GivePassword(Secret),
    /// Answers a question.
    Answer(PromptId, Answer),
    /// Opens a connection to what was typed on the first-run screen.
    OpenTarget(String),
    /// Paints everything again.
    Redraw,
    /// Puts the app to sleep.
    Suspend,
    /// Takes the terminal again.
    TakeTerminal,
    /// Leaves.
    Quit,
}
