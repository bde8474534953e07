//! Talking by session key (version 4).

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Parameters of `sessions.send`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionsSendParams {
    /// Session key.
    pub key: String,
    /// The text.
    pub message: String,
    /// Becomes the run id; a fresh one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Level of thinking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thinking: Option<String>,
    /// How long the run may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachments: Option<Vec<Value>>,
}

/// Parameters of `sessions.abort`; one of both.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionsAbortParams {
    /// Session key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// One run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
}
