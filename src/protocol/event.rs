//! What the gateway pushes, and who may see it (PROTOCOL.md §7).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::methods::chat::ChatMessage;
use super::methods::sessions::SessionRow;
use super::methods::system::PresenceEntry;
use super::scope::{Needs, Scope};

/// Names of the events we send, in the order in which hello lists them.
pub const NAMES: [&str; 22] = [
    "connect.challenge",
    "agent",
    "chat",
    "presence",
    "tick",
    "shutdown",
    "health",
    "heartbeat",
    "sessions.changed",
    "session.message",
    "device.pair.requested",
    "device.pair.resolved",
    "node.pair.requested",
    "node.pair.resolved",
    "node.invoke.request",
    "node.invoke.cancel",
    "node.hostStats",
    "node.runnerInventory.changed",
    "voicewake.changed",
    "voicewake.routing.changed",
    "exec.approval.requested",
    "exec.approval.resolved",
];

/// What a connection needs to be sent `event`. Unknown events go to nobody but admins.
pub fn needs(event: &str) -> Needs {
    match event {
        "connect.challenge" | "tick" | "health" | "heartbeat" | "shutdown" => Needs::Anyone,
        "presence" | "agent" | "chat" | "sessions.changed" | "session.message" => {
            Needs::Operator(Scope::Read)
        }
        "node.hostStats" | "node.runnerInventory.changed" => Needs::Operator(Scope::Read),
        "voicewake.changed" | "voicewake.routing.changed" => Needs::Operator(Scope::Read),
        "exec.approval.requested" | "exec.approval.resolved" => Needs::Operator(Scope::Approvals),
        "node.invoke.request" | "node.invoke.cancel" => Needs::Node,
        "device.pair.requested"
        | "device.pair.resolved"
        | "node.pair.requested"
        | "node.pair.resolved" => Needs::Operator(Scope::Pairing),
        _ => Needs::Operator(Scope::Admin),
    }
}

/// `tick`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TickEvent {
    /// ms since the epoch.
    pub ts: i64,
}

/// `shutdown`: calls and runs under way get a little time, then the connection closes with 1012.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ShutdownEvent {
    /// `gateway stopping`.
    pub reason: String,
    /// When it expects to be back. Version 3 has null when it does not, version 4 leaves it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_expected_ms: Option<u64>,
}

/// `presence`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PresenceEvent {
    /// The gateway first.
    pub presence: Vec<PresenceEntry>,
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChatState {
    /// Getting ready (version 4).
    Status,
    /// More text.
    Delta,
    /// The end; without `message` there is no visible answer.
    Final,
    /// Stopped by a person.
    Aborted,
    /// Failed.
    Error,
    /// Something newer than we know.
    #[serde(other)]
    Unknown,
}

/// `chat`. A delta's `message` holds the whole text so far of the current message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatEvent {
    /// The run.
    pub run_id: String,
    /// The session.
    pub session_key: String,
    /// Number within the run, from 1, with gaps.
    #[serde(default)]
    pub seq: u64,
    /// How far it has come.
    pub state: ChatState,
    /// The agent (version 4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// Of `status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// What came since the last delta (version 4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delta_text: Option<String>,
    /// `deltaText` replaces everything so far (version 4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace: Option<bool>,
    /// The text so far, or the last message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<ChatMessage>,
    /// Tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Value>,
    /// Why it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<String>,
    /// The failure in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
}

/// `agent`: the inner life of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentEvent {
    /// The run.
    pub run_id: String,
    /// Number within the run, from 1.
    #[serde(default)]
    pub seq: u64,
    /// `lifecycle`, `assistant`, `tool`, `thinking`, …
    pub stream: String,
    /// ms since the epoch.
    #[serde(default)]
    pub ts: i64,
    /// By stream.
    #[serde(default)]
    pub data: Map<String, Value>,
    /// The session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_key: Option<String>,
    /// The transcript.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The agent (version 4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
}

/// `sessions.changed` (version 4, after `sessions.subscribe`).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionsChangedEvent {
    /// The session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_key: Option<String>,
    /// The agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// `send`, `patch`, `reset`, `create`, `delete`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `start`, `model`, `end`, `error` of a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// The run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// ms since the epoch.
    pub ts: i64,
    /// The session as it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionRow>,
}

/// `session.message` (version 4): a message was added to a transcript.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionMessageEvent {
    /// The session.
    pub session_key: String,
    /// The agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// As in history.
    pub message: ChatMessage,
    /// Id of the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// Position in the transcript.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_seq: Option<u64>,
    /// The session as it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionRow>,
}
