//! What a session is: its row, its messages, its settings, its pages.

use serde::{Deserialize, Serialize};

use super::key::SessionKey;
use super::usage::Usage;

/// One conversation as the store holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// The canonical key.
    pub key: SessionKey,
    /// The current transcript (a uuid); a reset gives a new one.
    pub session_id: String,
    /// Raised by each reset, from 1.
    pub revision: i64,
    /// The name that a person gave.
    pub label: Option<String>,
    pub archived: bool,
    pub pinned: bool,
    /// Milliseconds UTC.
    pub created_at: i64,
    /// Milliseconds UTC of the last message, run or patch.
    pub updated_at: i64,
    pub settings: Settings,
    /// Tokens of all runs of this transcript together.
    pub tokens: Usage,
    /// Billionths of a dollar for all runs of this transcript; `None` when that of one is unknown.
    pub cost_nanos: Option<i64>,
    /// Tokens of the last run: how full the context is.
    pub context_tokens: i64,
    pub last_run: Option<LastRun>,
    /// The beginning of the first thing the user wrote.
    pub title: Option<String>,
    /// The beginning of the last message.
    pub preview: Option<String>,
    /// The number of messages, which is also the last one's `seq`.
    pub message_count: i64,
}

/// The newest run of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastRun {
    pub run_id: String,
    /// A [`crate::runs::RunState`] as text.
    pub state: String,
    pub started_at: Option<i64>,
    pub ended_at: Option<i64>,
    pub provider: Option<String>,
    pub model: Option<String>,
}

/// Per-session choices; an absent one means "as the agent says".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking_level: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verbose_level: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_level: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_usage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elevated_level: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec_host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec_security: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec_ask: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec_node: Option<String>,
    /// `provider/model`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_policy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_activation: Option<String>,
}

/// Who a message is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    User,
    Assistant,
    System,
    ToolResult,
}

impl Role {
    /// The name on the wire and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::System => "system",
            Self::ToolResult => "toolResult",
        }
    }

    /// Reads the stored name.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "user" => Self::User,
            "assistant" => Self::Assistant,
            "system" => Self::System,
            "toolResult" => Self::ToolResult,
            _ => return None,
        })
    }
}

/// One part of a message's content; serializes to the shape that clients know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Part {
    Text {
        text: String,
    },
    Thinking {
        thinking: String,
    },
    ToolCall {
        id: String,
        name: String,
        arguments: serde_json::Value,
    },
    /// A part that a newer version wrote.
    #[serde(untagged)]
    Other(serde_json::Value),
}

impl Part {
    /// A text part.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into() }
    }
}

/// One stored message. Messages are never changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// A uuid.
    pub id: String,
    pub session_id: String,
    /// Position in the transcript, from 1, without gaps.
    pub seq: i64,
    pub role: Role,
    pub content: Vec<Part>,
    /// Milliseconds UTC.
    pub timestamp: i64,
    /// The run that it belongs to; the idempotency key of a user message.
    pub run_id: Option<String>,
    pub provider: Option<String>,
    pub model: Option<String>,
    pub stop_reason: Option<String>,
    pub usage: Option<Usage>,
    /// The run was stopped on request; the content is what had arrived.
    pub aborted: bool,
    /// The gateway stopped in the middle; the content is what had arrived.
    pub interrupted: bool,
    /// Why the run failed, where it did.
    pub error: Option<String>,
    /// A slash command or its answer: people see it, models do not.
    pub aside: bool,
}

impl Message {
    /// All text parts together.
    pub fn text(&self) -> String {
        text_of(&self.content)
    }
}

/// A message that is to be appended; the store gives it its id and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct NewMessage {
    pub role: Role,
    pub content: Vec<Part>,
    pub timestamp: i64,
    pub run_id: Option<String>,
    pub provider: Option<String>,
    pub model: Option<String>,
    pub stop_reason: Option<String>,
    pub usage: Option<Usage>,
    pub aborted: bool,
    pub interrupted: bool,
    pub error: Option<String>,
    pub aside: bool,
}

impl NewMessage {
    /// A message of one text part and nothing else.
    pub fn text(role: Role, text: impl Into<String>, timestamp: i64) -> Self {
        Self {
            role,
            content: vec![Part::text(text)],
            timestamp,
            run_id: None,
            provider: None,
            model: None,
            stop_reason: None,
            usage: None,
            aborted: false,
            interrupted: false,
            error: None,
            aside: false,
        }
    }
}

/// All text parts together.
pub fn text_of(content: &[Part]) -> String {
    let mut out = String::new();
    for part in content {
        if let Part::Text { text } = part {
            out.push_str(text);
        }
    }
    out
}

/// Which sessions to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// At most this many; zero means [`super::DEFAULT_LIST_LIMIT`].
    pub limit: usize,
    pub offset: usize,
    /// Where the page before ended; faster than an offset on deep pages.
    pub after: Option<ListCursor>,
    /// Part of the key, label or title, in any case.
    pub search: Option<String>,
    pub agent_id: Option<String>,
    /// Only sessions touched at or after this time (ms UTC).
    pub active_since: Option<i64>,
    pub label: Option<String>,
    pub archived: Archived,
}

/// Which sessions by their archive mark.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Archived {
    #[default]
    No,
    Only,
    All,
}

/// The place after one row of the list: newest first, ties by key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListCursor {
    pub updated_at: i64,
    pub key: String,
}

/// A page of sessions, the newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionPage {
    pub sessions: Vec<Session>,
    /// All sessions that the query matches, not only this page's.
    pub total: u64,
    /// False when there are at least so many, and counting them would read too much.
    pub is_counted: bool,
    pub has_more: bool,
    pub next_offset: Option<usize>,
    pub next: Option<ListCursor>,
}

/// Which part of a transcript to read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Span {
    /// The newest messages.
    #[default]
    Last,
    /// The newest messages, leaving out this many of the very newest.
    Skip(u64),
    /// The newest messages whose `seq` is smaller.
    Before(i64),
    /// The oldest messages whose `seq` is larger.
    After(i64),
}

/// A page of a transcript, the oldest message first.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    pub key: SessionKey,
    /// Absent when the session does not exist (yet); that is not an error.
    pub session: Option<Session>,
    pub messages: Vec<Message>,
    /// Messages in the whole transcript.
    pub total: u64,
    /// More messages lie beyond this page, in the direction that was read.
    pub has_more: bool,
    /// What to give to [`super::Sessions::history_since`] later; absent without a session, and on
    /// pages that do not reach the newest message ([`Span::Before`], [`Span::Skip`]).
    pub delta_cursor: Option<String>,
}

/// What happened to a transcript since a cursor.
#[derive(Debug, Clone, PartialEq)]
pub enum HistoryDelta {
    /// Everything newer, oldest first.
    Delta {
        session: Box<Session>,
        messages: Vec<Message>,
        delta_cursor: String,
    },
    /// The cursor is of another transcript, unreadable, or too far back: read the last page again.
    Reset,
}

/// What a patch does to one value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Change<T> {
    #[default]
    Keep,
    Clear,
    Set(T),
}

impl<T> From<Option<Option<T>>> for Change<T> {
    /// Absent keeps, null clears, a value sets.
    fn from(value: Option<Option<T>>) -> Self {
        match value {
            None => Self::Keep,
            Some(None) => Self::Clear,
            Some(Some(value)) => Self::Set(value),
        }
    }
}

impl<T> Change<T> {
    /// Applies it to an optional value.
    pub fn apply(self, to: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Clear => *to = None,
            Self::Set(value) => *to = Some(value),
        }
    }
}

/// Changes of one session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionPatch {
    pub label: Change<String>,
    pub archived: Option<bool>,
    pub pinned: Option<bool>,
    pub thinking_level: Change<String>,
    pub verbose_level: Change<String>,
    pub reasoning_level: Change<String>,
    pub response_usage: Change<String>,
    pub elevated_level: Change<String>,
    pub exec_host: Change<String>,
    pub exec_security: Change<String>,
    pub exec_ask: Change<String>,
    pub exec_node: Change<String>,
    pub model: Change<String>,
    pub send_policy: Change<String>,
    pub group_activation: Change<String>,
}

/// What a delete did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deleted {
    /// False when there was no such session.
    pub deleted: bool,
    /// Transcripts that are kept, by session id.
    pub archived: Vec<String>,
}
