//! What the runs service tells the rest of the gateway.

use std::sync::Arc;

use super::model::{RunId, RunKind};
use crate::sessions::{Message, SessionKey, Usage};

/// A step of one run. `seq` counts from 1 within the run.
#[derive(Debug, Clone)]
pub struct RunEvent {
    pub run_id: RunId,
    pub session_key: SessionKey,
    pub session_id: String,
    pub kind: RunKind,
    pub seq: u64,
    /// Milliseconds UTC.
    pub at: i64,
    pub step: RunStep,
}

/// What happened. Each accepted run gets exactly one of the last four.
#[derive(Debug, Clone)]
pub enum RunStep {
    /// It was given to the model.
    Started {
        started_at: i64,
        provider: String,
        model: String,
    },
    /// More text; several pieces are joined to about one event in 75 ms.
    Delta {
        /// Everything so far.
        text: Arc<str>,
        /// What is new since the last one.
        delta: String,
    },
    /// More of the model's reasoning, where it shows any.
    Thinking { text: Arc<str>, delta: String },
    /// The answer is complete and stored.
    Final {
        message: Arc<Message>,
        usage: Option<Usage>,
        stop_reason: Option<String>,
        started_at: Option<i64>,
    },
    /// The gateway itself answered, at once; no model was asked.
    Answered { message: Arc<Message> },
    /// It was stopped on request, or by a stop of the gateway (`stop_reason` tells).
    Aborted {
        /// What had arrived, as it was stored; absent when nothing had.
        partial: Option<Arc<Message>>,
        stop_reason: String,
        started_at: Option<i64>,
    },
    /// It failed.
    Error {
        kind: RunErrorKind,
        text: String,
        /// What had arrived, as it was stored.
        partial: Option<Arc<Message>>,
        started_at: Option<i64>,
    },
}

/// What kind of failure it was, as far as the provider told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunErrorKind {
    Refusal,
    Timeout,
    RateLimit,
    ContextLength,
    Unknown,
}

impl RunErrorKind {
    /// The name that clients know.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refusal => "refusal",
            Self::Timeout => "timeout",
            Self::RateLimit => "rate_limit",
            Self::ContextLength => "context_length",
            Self::Unknown => "unknown",
        }
    }
}

impl RunEvent {
    /// The agent that answers.
    pub fn agent_id(&self) -> &str {
        self.session_key.agent_id()
    }
}
