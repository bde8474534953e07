//! What a node says, and what it is told: results, events, updates, and the payloads of
//! `node.invoke.request` and `node.invoke.cancel`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::NoParams;
use crate::protocol::method::methods;
use crate::protocol::scope::Needs;

methods! {
    /// The result of a command.
    NodeInvokeResult = "node.invoke.result", |_, _| Needs::Node, NodeInvokeResultParams => NodeResultReply;
    /// A piece of a command's output, while it goes on (version 4).
    NodeInvokeProgress = "node.invoke.progress", |_, _| Needs::Node, NodeInvokeProgressParams => NodeResultReply;
    /// Something happened on the node.
    NodeEvent = "node.event", |_, _| Needs::Node, NodeEventParams => NodeEventReply;
    /// What runs work there (version 4).
    NodeRunnerInventoryUpdate = "node.runnerInventory.update", |_, _| Needs::Node, NodeRunnerInventoryParams => NodeResultReply;
    /// The skills of the node (version 4).
    NodeSkillsUpdate = "node.skills.update", |_, _| Needs::Node, NodeSkillsParams => NodeSkillsReply;
    /// The tools of the node's plugins (version 4).
    NodePluginToolsUpdate = "node.pluginTools.update", |_, _| Needs::Node, NodePluginToolsParams => NodePluginToolsReply;
    /// Programs that skills need.
    SkillsBins = "skills.bins", |_, _| Needs::Node, NoParams => SkillsBinsReply;
}

/// Event name: carry out a command. Payload: [`InvokeRequest`], without a number.
pub const INVOKE_REQUEST: &str = "node.invoke.request";
/// Event name: nobody waits for it any more (version 4). Payload: [`InvokeCancel`], without a number.
pub const INVOKE_CANCEL: &str = "node.invoke.cancel";
/// `node.event` name: load, memory and disk of the host, about once a minute. Payload: [`HostStats`].
pub const HOST_STATS: &str = "node.host.stats";

/// Payload of `node.invoke.request`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvokeRequest {
    /// Names the command in its result.
    pub id: String,
    /// The node.
    pub node_id: String,
    /// The command.
    pub command: String,
    /// Its parameters: JSON in a text.
    #[serde(rename = "paramsJSON", skip_serializing_if = "Option::is_none")]
    pub params_json: Option<String>,
    /// How long a result is waited for, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// The caller's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

/// Payload of `node.invoke.cancel`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvokeCancel {
    /// [`InvokeRequest::id`].
    pub invoke_id: String,
    /// The node.
    pub node_id: String,
}

/// Parameters of `node.invoke.result`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeInvokeResultParams {
    /// [`InvokeRequest::id`].
    pub id: String,
    /// The node's own id.
    pub node_id: String,
    /// Whether it went well.
    pub ok: bool,
    /// The result as a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    /// The result as JSON in a text; preferred.
    #[serde(rename = "payloadJSON", skip_serializing_if = "Option::is_none")]
    pub payload_json: Option<String>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<NodeError>,
}

/// What went wrong on a node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeError {
    /// For programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// `{ok}`, and whether nobody had asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeResultReply {
    /// True.
    pub ok: bool,
    /// True when it was not wanted, or not any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignored: Option<bool>,
}

/// Parameters of `node.invoke.progress`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeInvokeProgressParams {
    /// [`InvokeRequest::id`].
    pub invoke_id: String,
    /// The node's own id.
    pub node_id: String,
    /// From 0.
    pub seq: u64,
    /// At most [`MAX_PROGRESS_CHUNK`] bytes.
    pub chunk: String,
}

/// Longest piece of output in one `node.invoke.progress`, in bytes.
pub const MAX_PROGRESS_CHUNK: usize = 16_384;

/// Parameters of `node.event`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct NodeEventParams {
    /// `node.host.stats`, `exec.finished`, …
    pub event: String,
    /// Its content as a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    /// Its content as JSON in a text.
    #[serde(rename = "payloadJSON", skip_serializing_if = "Option::is_none")]
    pub payload_json: Option<String>,
}

/// Reply of `node.event`; version 3 has `ok` alone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeEventReply {
    /// True.
    pub ok: bool,
    /// Its name again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Whether anything came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handled: Option<bool>,
    /// Why nothing came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Payload of the `node.host.stats` event.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HostStats {
    /// Processors.
    pub cpu_count: u64,
    /// Over 1, 5 and 15 minutes.
    pub load_average: [f64; 3],
    /// Memory.
    pub memory_total_bytes: u64,
    /// Memory that is free.
    pub memory_free_bytes: u64,
    /// Disk.
    pub disk_total_bytes: u64,
    /// Disk that is free.
    pub disk_available_bytes: u64,
}

/// Parameters of `node.runnerInventory.update`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeRunnerInventoryParams {
    /// What its runner understands.
    pub protocol_features: Vec<String>,
    /// `{enabled}`.
    pub worker_host: Map<String, Value>,
}

/// Parameters of `node.skills.update`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct NodeSkillsParams {
    /// `{name, description, content}` each, at most 64.
    pub skills: Vec<Value>,
}

/// Reply of `node.skills.update`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSkillsReply {
    /// The node.
    pub node_id: String,
    /// Those that are kept.
    pub skills: Vec<Value>,
}

/// Parameters of `node.pluginTools.update`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct NodePluginToolsParams {
    /// `{pluginId, name, description, …}` each.
    pub tools: Vec<Value>,
}

/// Reply of `node.pluginTools.update`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodePluginToolsReply {
    /// The node.
    pub node_id: String,
    /// Those that are kept.
    pub tools: Vec<Value>,
}

/// Reply of `skills.bins`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SkillsBinsReply {
    /// Names of programs.
    pub bins: Vec<String>,
}
