//! `send` and `wake`: messages that start somewhere else than in a chat.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::protocol::method::methods;
use crate::protocol::scope::{Needs, Scope};

methods! {
    /// Sends through a channel. This gateway has none, and says so.
    Send = "send", |_, _| Needs::Operator(Scope::Write), SendParams => Value;
    /// Gives the agent something to do now; `{ok: true}`.
    Wake = "wake", |_, _| Needs::Operator(Scope::Write), WakeParams => Value;
}

/// Parameters of `send`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SendParams {
    /// Whom to.
    pub to: String,
    /// What.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// By which channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// One message has one key.
    pub idempotency_key: String,
}

/// Parameters of `wake`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WakeParams {
    /// `now` or `next-heartbeat`.
    pub mode: WakeMode,
    /// What the agent is told.
    pub text: String,
    /// In which session; the main one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_key: Option<String>,
}

/// When to wake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WakeMode {
    /// At once.
    Now,
    /// With the next heartbeat.
    NextHeartbeat,
}
