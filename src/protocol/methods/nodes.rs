//! `node.*` for operators: which nodes there are, and commands for them. What a node itself says is in
//! [`super::node_host`], how it is let in in [`super::node_pairing`].

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::NoParams;
use crate::protocol::method::methods;
use crate::protocol::scope::{Needs, Scope};

methods! {
    /// Nodes, connected or only paired.
    NodeList = "node.list", |_, _| Needs::Operator(Scope::Read), NoParams => NodeListReply;
    /// One node.
    NodeDescribe = "node.describe", |_, _| Needs::Operator(Scope::Read), NodeIdParams => NodeDescribeReply;
    /// Has a node carry out a command, and waits for its result.
    NodeInvoke = "node.invoke", |_, p| invoke_needs(p.map_or("", |p| &p.command)), NodeInvokeParams => NodeInvokeReply;
    /// Gives a node another name.
    NodeRename = "node.rename", |_, _| Needs::Operator(Scope::Pairing), NodeRenameParams => NodeRenameReply;
}

/// Commands that reach further than running something need more than writing.
fn invoke_needs(command: &str) -> Needs {
    // A gateway asks the node for the name without the white space around it.
    let command = command.trim();
    let is_far =
        command.starts_with("browser.proxy") || matches!(command, "fs.listDir" | "terminal.upload");
    Needs::Operator(if is_far { Scope::Admin } else { Scope::Write })
}

/// A node id: the device id of the node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeIdParams {
    /// 64 hex digits.
    pub node_id: String,
}

/// Reply of `node.list`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeListReply {
    /// When, ms since the epoch.
    pub ts: i64,
    /// Connected ones first.
    pub nodes: Vec<NodeRow>,
}

/// Reply of `node.describe`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeDescribeReply {
    /// When, ms since the epoch.
    pub ts: i64,
    /// The node.
    #[serde(flatten)]
    pub node: NodeRow,
}

/// How far the commands and capabilities that a node declares are approved (version 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ApprovalState {
    /// All that it declares.
    Approved,
    /// Nothing yet; a request waits.
    PendingApproval,
    /// It declares more than was approved; a request waits.
    PendingReapproval,
    /// Nothing, and no request waits.
    Unapproved,
    /// Something newer than we know.
    #[serde(other)]
    Unknown,
}

/// A node, as lists show it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeRow {
    /// The device id.
    pub node_id: String,
    /// Name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `client.id` (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// `client.mode` (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_mode: Option<String>,
    /// Device family.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_family: Option<String>,
    /// Hardware model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_identifier: Option<String>,
    /// Address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_ip: Option<String>,
    /// Capabilities that may be used, sorted.
    pub caps: Vec<String>,
    /// Commands that may be invoked, sorted.
    pub commands: Vec<String>,
    /// Permissions of the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Value>,
    /// PATH of the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_env: Option<String>,
    /// Where sessions live; never here (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_host: Option<bool>,
    /// Load, memory and disk, as the node last said (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_stats: Option<Value>,
    /// Tools of its plugins, while it is connected (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_plugin_tools: Option<Vec<Value>>,
    /// Version 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval_state: Option<ApprovalState>,
    /// The request that waits (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_request_id: Option<String>,
    /// What it asks for (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_declared_caps: Option<Vec<String>>,
    /// What it asks for (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_declared_commands: Option<Vec<String>>,
    /// Since when it is connected, ms since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connected_at_ms: Option<i64>,
    /// Version 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_connected_at_ms: Option<i64>,
    /// Version 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_disconnected_at_ms: Option<i64>,
    /// Version 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen_at_ms: Option<i64>,
    /// Version 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen_reason: Option<String>,
    /// Of the commands where they are approved, of the device where not (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved_at_ms: Option<i64>,
    /// Whether its device is paired.
    pub paired: bool,
    /// Whether it is here now.
    pub connected: bool,
    /// Everything else, kept as it came.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// Parameters of `node.invoke`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeInvokeParams {
    /// The device id of the node.
    pub node_id: String,
    /// `system.which`, `system.run`, …
    pub command: String,
    /// By command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<Value>,
    /// How long the caller waits, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// The same key with the same content is carried out once.
    pub idempotency_key: String,
    /// The session on whose behalf it is (version 4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_key: Option<String>,
}

/// Reply of `node.invoke`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeInvokeReply {
    /// True.
    pub ok: bool,
    /// The node.
    pub node_id: String,
    /// The command.
    pub command: String,
    /// The result; null when there is none or it is no JSON.
    pub payload: Value,
    /// The result as the node wrote it; null when it came as a value.
    #[serde(rename = "payloadJSON")]
    pub payload_json: Option<String>,
}

/// Parameters of `node.rename`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeRenameParams {
    /// The device id of the node.
    pub node_id: String,
    /// Its new name.
    pub display_name: String,
}

/// Reply of `node.rename`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeRenameReply {
    /// The device id of the node.
    pub node_id: String,
    /// Its new name.
    pub display_name: String,
}
