//! What a run is: one answer of a model to one message, under one idempotency key.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::sessions::{SessionKey, Usage};

/// The longest idempotency key.
pub const MAX_RUN_ID_CHARS: usize = 128;

/// The idempotency key that a client chose; also the run's id. `[A-Za-z0-9._:-]{1,128}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(String);

/// A text that cannot be an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the idempotency key must have 1 to {MAX_RUN_ID_CHARS} characters of A-Z, a-z, 0-9, \".\", \"_\", \":\" and \"-\""
)]
pub struct BadRunId;

impl RunId {
    /// Checks a text.
    pub fn parse(text: &str) -> Result<Self, BadRunId> {
        let good = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b':' | b'-');
        if (1..=MAX_RUN_ID_CHARS).contains(&text.len()) && text.bytes().all(good) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadRunId)
        }
    }

    /// A fresh one, for work that the gateway starts by itself.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().to_string())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which method asked for the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunKind {
    Chat,
    Agent,
}

impl RunKind {
    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Agent => "agent",
        }
    }

    /// Reads the stored name.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "chat" => Some(Self::Chat),
            "agent" => Some(Self::Agent),
            _ => None,
        }
    }
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunState {
    /// Committed, not yet given to the model: it runs, also after a restart.
    Accepted,
    /// Given to the model: it is never given twice.
    Given,
    Done,
    Error,
    Aborted,
    /// The gateway stopped while it was given.
    Interrupted,
}

impl RunState {
    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Given => "given",
            Self::Done => "done",
            Self::Error => "error",
            Self::Aborted => "aborted",
            Self::Interrupted => "interrupted",
        }
    }

    /// Reads the stored name.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "accepted" => Self::Accepted,
            "given" => Self::Given,
            "done" => Self::Done,
            "error" => Self::Error,
            "aborted" => Self::Aborted,
            "interrupted" => Self::Interrupted,
            _ => return None,
        })
    }

    /// True when nothing more will happen to the run.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Accepted | Self::Given)
    }
}

/// What a run was asked to do beyond its message; stored, so that it can start after a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RunOptions {
    /// `off`, `minimal`, `low`, `medium`, `high`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking: Option<String>,
    /// The whole run ends after this time; zero means no other limit than the usual one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Put before the agent's own system prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_prompt: Option<String>,
    /// `provider/model`; wins over session and agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// A message to be answered.
#[derive(Debug, Clone)]
pub struct Submit {
    pub idempotency_key: RunId,
    pub session_key: SessionKey,
    pub message: String,
    pub kind: RunKind,
    /// The request's parameters in one canonical spelling; the same key with other ones is a
    /// conflict.
    pub params_canonical_json: String,
    pub options: RunOptions,
}

/// The answer to a [`Submit`], given after the commit.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    pub run_id: RunId,
    pub session_key: SessionKey,
    pub session_id: String,
    /// Milliseconds UTC of the first acceptance.
    pub accepted_at: i64,
    pub status: SubmitStatus,
}

/// What became of the key so far.
#[derive(Debug, Clone, PartialEq)]
pub enum SubmitStatus {
    /// New: it is stored and will run.
    Started,
    /// The same key is waiting or running.
    InFlight,
    /// The same key has ended well, or was stopped on request (`state` tells).
    Ok(RunOutcome),
    /// The same key failed or was interrupted by a stop of the gateway.
    Error(RunOutcome),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct RunOutcome {
    pub run_id: RunId,
    pub session_key: SessionKey,
    pub session_id: String,
    /// One of the final states.
    pub state: RunState,
    /// The whole answer, or the part that had arrived.
    pub text: String,
    pub error: Option<String>,
    pub stop_reason: Option<String>,
    pub usage: Option<Usage>,
    pub provider: Option<String>,
    pub model: Option<String>,
    pub accepted_at: i64,
    pub started_at: Option<i64>,
    pub ended_at: Option<i64>,
}

/// One run as the store holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    pub run_id: RunId,
    pub session_key: SessionKey,
    /// The transcript that it was asked in, also after a reset.
    pub session_id: String,
    pub kind: RunKind,
    /// SHA-256 over kind and canonical parameters.
    pub body_hash: [u8; 32],
    pub state: RunState,
    pub options: RunOptions,
    /// The place of the user's message in its transcript.
    pub user_seq: i64,
    /// The answer so far, written about once a second.
    pub text: String,
    pub error: Option<String>,
    pub stop_reason: Option<String>,
    pub usage: Option<Usage>,
    pub provider: Option<String>,
    pub model: Option<String>,
    pub created_at: i64,
    pub updated_at: i64,
    pub started_at: Option<i64>,
    pub ended_at: Option<i64>,
}

impl Run {
    /// The outcome; only meaningful in a final state.
    pub fn outcome(&self) -> RunOutcome {
        RunOutcome {
            run_id: self.run_id.clone(),
            session_key: self.session_key.clone(),
            session_id: self.session_id.clone(),
            state: self.state,
            text: self.text.clone(),
            error: self.error.clone(),
            stop_reason: self.stop_reason.clone(),
            usage: self.usage,
            provider: self.provider.clone(),
            model: self.model.clone(),
            accepted_at: self.created_at,
            started_at: self.started_at,
            ended_at: self.ended_at,
        }
    }

    /// What the same key is answered with.
    pub fn status(&self) -> SubmitStatus {
        match self.state {
            RunState::Accepted | RunState::Given => SubmitStatus::InFlight,
            RunState::Done | RunState::Aborted => SubmitStatus::Ok(self.outcome()),
            RunState::Error | RunState::Interrupted => SubmitStatus::Error(self.outcome()),
        }
    }
}

/// A run that waits or is being answered, for clients that come back in the middle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveRun {
    pub run_id: RunId,
    pub session_key: SessionKey,
    /// Waits behind another run of its session.
    pub queued: bool,
    /// The answer so far.
    pub text: String,
    /// The number of its last event.
    pub seq: u64,
    pub started_at: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_short_keys_are_run_ids() {
        assert!(RunId::parse("282e73f1-52be-4eb7-aad1-34b1c3b3f47e").is_ok());
        assert!(RunId::parse("cli:run_1.2").is_ok());
        for bad in ["", "two words", "ü", "a/b", &"x".repeat(129)] {
            assert_eq!(RunId::parse(bad), Err(BadRunId), "{bad:?}");
        }
    }
}
