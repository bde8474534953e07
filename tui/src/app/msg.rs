//! Everything that can wake the app.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clawline::protocol::error::RpcError;
use clawline::protocol::frame::Event;
use clawline::protocol::hello::HelloOk;
use clawline::protocol::methods::agents::{CommandRow, ModelRow};
use clawline::protocol::methods::approvals::{Decision, ExecApprovalRow};
use clawline::protocol::methods::chat::{ChatHistoryReply, ChatSendReply};
use clawline::protocol::methods::sessions::SessionsListReply;
use clawline::protocol::methods::system::HealthReply;
use clawline::tunnel::prompt::Prompt;
use ratatui::crossterm::event::KeyEvent;

use super::prompt::PromptId;
use crate::outbox::Message;
use crate::panes::link::state::LinkState;

/// The time, handed in so that `update` needs no clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Now {
    /// For durations.
    pub(crate) at: Instant,
    /// ms since the epoch.
    pub(crate) wall_ms: i64,
}

impl Now {
    /// This moment.
    pub(crate) fn read() -> Self {
        Self {
            at: Instant::now(),
            wall_ms: jiff::Timestamp::now().as_millisecond(),
        }
    }
}

/// A message.
#[derive(Debug)]
pub(crate) enum Msg {
    /// A key was pressed.
    Key(KeyEvent),
    /// Text was pasted.
    Paste(String),
    /// The wheel was turned by so many rows; up is negative.
    Wheel(i16),
    /// The terminal has another size.
    Resize(u16, u16),
    /// The link published something.
    Link(Box<LinkState>),
    /// A hello came.
    Connected(Arc<HelloOk>),
    /// The connection is gone, and why.
    Disconnected(String),
    /// A push of the gateway.
    Gateway(Arc<Event>),
    /// Some pushes were missed.
    Gap,
    /// The tunnel asks something.
    Question(PromptId, Prompt),
    /// A question was withdrawn.
    QuestionGone(PromptId),
    /// Time has passed: spinners, countdowns.
    Tick,
    /// The system says something.
    Signal(Signal),
    /// An effect is done.
    Done(Done),
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Leave now (TERM, INT, HUP).
    Leave,
    /// Sleep (TSTP).
    Sleep,
    /// Awake again (CONT): the terminal may be as somebody else left it.
    Wake,
}

/// Why a call of the gateway gave nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It said no.
    Refused(Box<RpcError>),
    /// There was no connection: nothing was sent.
    NotSent(String),
    /// The answer never came: it may or may not have been done.
    Unknown(String),
}

impl Failure {
    /// One line for people.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Refused(error) => crate::widgets::text::one_line(&error.message),
            Self::NotSent(words) | Self::Unknown(words) => crate::widgets::text::one_line(words),
        }
    }
}

/// What history was read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The newest page, for the screen.
    Newest,
    /// What came after a cursor, for the screen.
    After,
    /// Messages before those on screen.
    Older,
    /// Only to see which messages of the outbox arrived.
    Outbox,
}

/// The outcome of an effect.
#[derive(Debug)]
pub(crate) enum Done {
    /// `chat.history`.
    History {
        /// Session key.
        session: String,
        /// What for.
        reading: Reading,
        /// The page.
        result: Result<Box<ChatHistoryReply>, Failure>,
    },
    /// The outbox file was read.
    Outbox(Result<Vec<Message>, String>),
    /// A message is on disk, or why not.
    Stored(Message, Result<(), String>),
    /// `chat.send`.
    Sent {
        /// The key.
        key: String,
        /// The answer.
        result: Result<Box<ChatSendReply>, Failure>,
    },
    /// The outbox may try again.
    Awake,
    /// `chat.abort`.
    Aborted(Result<bool, Failure>),
    /// `agent.wait`: the run's status.
    RunStatus {
        /// The run.
        run: String,
        /// `ok`, `error`, `timeout`, …, and the words of an error.
        result: Result<(String, Option<String>), Failure>,
    },
    /// `sessions.list`.
    Sessions(Result<Box<SessionsListReply>, Failure>),
    /// `health`, and its round trip.
    Health(Result<Box<HealthReply>, Failure>, Duration),
    /// `models.list`.
    Models(Result<Vec<ModelRow>, Failure>),
    /// `commands.list`.
    Commands(Result<Vec<CommandRow>, Failure>),
    /// `exec.approval.list`.
    Approvals(Result<Vec<ExecApprovalRow>, Failure>),
    /// `exec.approval.resolve`.
    Decided {
        /// The approval.
        id: String,
        /// What was said.
        decision: Decision,
        /// What came of it.
        result: Result<(), Failure>,
    },
    /// A small change: the words for success, or why not.
    Changed {
        /// Said when it worked.
        what: String,
        /// What came of it.
        result: Result<(), Failure>,
    },
    /// A session was started over.
    Reset {
        /// Session key.
        session: String,
        /// What came of it.
        result: Result<(), Failure>,
    },
    /// Lines for the transcript, e.g. of `/status`.
    Said(Result<String, Failure>),
    /// The draft of a session.
    Draft {
        /// Session key.
        session: String,
        /// Its text.
        text: String,
    },
    /// Something on disk went wrong.
    DiskTrouble(String),
    /// What was typed on the first-run screen leads somewhere.
    Opened(Box<LinkState>),
    /// What was typed on the first-run screen cannot be used, and why.
    NotOpened(String),
}
