//! Changing sessions: create, patch, compact, reset, delete.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ModelDefaults;

/// Parameters of `sessions.create`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionsCreateParams {
    /// Session key; a fresh one when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Its agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// Its label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Its model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// A first message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Key of the first message's run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// Parameters of `sessions.patch`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionsPatchParams {
    /// Session key.
    pub key: String,
    /// What is to change; null clears.
    #[serde(flatten)]
    pub settings: Map<String, Value>,
}

/// Reply of `sessions.patch`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionsPatchReply {
    /// Always true.
    pub ok: bool,
    /// Where it is stored.
    pub path: String,
    /// The full session key.
    pub key: String,
    /// The session as it is now.
    pub entry: Map<String, Value>,
    /// Model in effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved: Option<ModelDefaults>,
}

/// Parameters of `sessions.reset`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionsResetParams {
    /// Session key.
    pub key: String,
    /// `new` or `reset`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Reply of `sessions.reset`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionsResetReply {
    /// Always true.
    pub ok: bool,
    /// The full session key.
    pub key: String,
    /// The session as it is now.
    pub entry: Map<String, Value>,
    /// The model that it has now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved: Option<ModelDefaults>,
}

/// Parameters of `sessions.delete`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionsDeleteParams {
    /// Session key.
    pub key: String,
    /// The transcript too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_transcript: Option<bool>,
    /// Only when it is archived (version 4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archived_only: Option<bool>,
}

/// Reply of `sessions.delete`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionsDeleteReply {
    /// Always true.
    pub ok: bool,
    /// The full session key.
    pub key: String,
    /// Whether there was one.
    pub deleted: bool,
    /// What was kept, and where.
    pub archived: Vec<String>,
}

/// Parameters of `sessions.compact`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionsCompactParams {
    /// Session key.
    pub key: String,
    /// How many of the newest messages the model goes on seeing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_lines: Option<u64>,
}

/// Reply of `sessions.compact`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionsCompactReply {
    /// Always true.
    pub ok: bool,
    /// The full session key.
    pub key: String,
    /// Whether the model sees less than before.
    pub compacted: bool,
    /// How many messages it still sees.
    pub kept: u64,
    /// Why nothing was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
