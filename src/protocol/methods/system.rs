//! `health`, `status`, `system-presence`, `logs.tail` and other small looks at the gateway.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::NoParams;
use crate::protocol::method::methods;
use crate::protocol::scope::{Needs, Scope};

methods! {
    /// Is the gateway well? Every connection may ask.
    Health = "health", |_, _| Needs::Anyone, HealthParams => HealthReply;
    /// The longer look: sessions, heartbeat, memory.
    Status = "status", |_, _| Needs::Operator(Scope::Read), StatusParams => Value;
    /// Who is connected; a bare array.
    SystemPresence = "system-presence", |_, _| Needs::Operator(Scope::Read), NoParams => Vec<PresenceEntry>;
    /// The last heartbeat, or null.
    LastHeartbeat = "last-heartbeat", |_, _| Needs::Operator(Scope::Read), NoParams => Value;
    /// The state of the channels; everything empty is valid.
    ChannelsStatus = "channels.status", |_, _| Needs::Operator(Scope::Read), Value => Value;
    /// The end of the log file, from a cursor on.
    LogsTail = "logs.tail", |_, _| Needs::Operator(Scope::Read), LogsTailParams => LogsTailReply;
}

/// Parameters of `health`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HealthParams {
    /// Ask the channels too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<bool>,
}

/// Reply of `health`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HealthReply {
    /// All is well.
    pub ok: bool,
    /// When, ms since the epoch.
    pub ts: i64,
    /// How long it took to find out.
    pub duration_ms: u64,
    /// State by channel.
    pub channels: Map<String, Value>,
    /// Order of the channels.
    pub channel_order: Vec<String>,
    /// Names of the channels.
    pub channel_labels: Map<String, Value>,
    /// Heartbeat interval; 0 is off.
    pub heartbeat_seconds: u64,
    /// The default agent.
    pub default_agent_id: String,
    /// State by agent.
    pub agents: Vec<Value>,
    /// Sessions: `path`, `count`, `recent`.
    pub sessions: HealthSessions,
    /// Everything else, kept as it came.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// `health.sessions`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HealthSessions {
    /// Where they are stored.
    pub path: String,
    /// How many.
    pub count: u64,
    /// The latest ones.
    pub recent: Vec<RecentSession>,
}

/// One of the latest sessions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RecentSession {
    /// Session key.
    pub key: String,
    /// Last change, ms since the epoch.
    pub updated_at: Option<i64>,
    /// How long ago, ms.
    pub age: Option<i64>,
}

/// Parameters of `status`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatusParams {
    /// Version 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include_channel_summary: Option<bool>,
}

/// Somebody who is connected.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PresenceEntry {
    /// Host name or display name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// Release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Device family.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_family: Option<String>,
    /// `gateway`, `ui`, `cli`, `node`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Why the entry was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// One line for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// When, ms since the epoch.
    pub ts: i64,
    /// Device id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// Roles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    /// Scopes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// One per process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// `client.id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Since when, ms since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub online_since: Option<i64>,
}

/// Parameters of `logs.tail`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogsTailParams {
    /// Where the last answer ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<u64>,
    /// At most so many lines (1..5000).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// At most so many bytes (1..1000000).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
}

/// Reply of `logs.tail`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogsTailReply {
    /// The log file.
    pub file: String,
    /// Where this answer ended.
    pub cursor: u64,
    /// Size of the file.
    pub size: u64,
    /// Raw records, one a line.
    pub lines: Vec<String>,
    /// More was there than fitted.
    pub truncated: bool,
    /// The file was rotated since the cursor.
    pub reset: bool,
}
