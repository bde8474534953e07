//! `node.pair.*`: which commands of a node may be used. In version 4 a request comes from the node's
//! `connect`, in version 3 from `node.pair.request`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::NoParams;
use super::devices::RequestIdParams;
use super::nodes::NodeIdParams;
use crate::protocol::method::methods;
use crate::protocol::scope::{Needs, Scope};

methods! {
    /// Requests that wait, and nodes whose commands are approved.
    NodePairList = "node.pair.list", |_, _| Needs::Operator(Scope::Pairing), NoParams => NodePairListReply;
    /// Approves what a node declares.
    NodePairApprove = "node.pair.approve", |_, _| Needs::Operator(Scope::Pairing), RequestIdParams => NodePairApproveReply;
    /// Turns a request down; what was approved before stays.
    NodePairReject = "node.pair.reject", |_, _| Needs::Operator(Scope::Pairing), RequestIdParams => NodePairRejectReply;
    /// Forgets a node and closes its connection (version 4).
    NodePairRemove = "node.pair.remove", |_, _| Needs::Operator(Scope::Pairing), NodeIdParams => NodePairRemoveReply;
    /// Asks for an approval on a node's behalf (version 3).
    NodePairRequest = "node.pair.request", |_, _| Needs::Operator(Scope::Pairing), NodePairRequestParams => NodePairRequestReply;
    /// Whether a node's pairing token is right (version 3).
    NodePairVerify = "node.pair.verify", |_, _| Needs::Operator(Scope::Pairing), NodePairVerifyParams => NodePairVerifyReply;
}

/// Reply of `node.pair.list`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NodePairListReply {
    /// Requests that wait.
    pub pending: Vec<NodePairRow>,
    /// Nodes with approved commands.
    pub paired: Vec<NodePairRow>,
}

/// A node, asking or approved; also the payload of `node.pair.requested`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodePairRow {
    /// Of a request that waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The device id.
    pub node_id: String,
    /// `client.id` (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// `client.mode` (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_mode: Option<String>,
    /// Name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Device family.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_family: Option<String>,
    /// Capabilities, asked for or approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caps: Option<Vec<String>>,
    /// Commands, asked for or approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commands: Option<Vec<String>>,
    /// What an approver needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required_approve_scopes: Option<Vec<String>>,
    /// The device was paired without asking a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent: Option<bool>,
    /// The node was approved before (version 3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_repair: Option<bool>,
    /// When a request came, ms since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ts: Option<i64>,
    /// Of an approved node, ms since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at_ms: Option<i64>,
    /// Of an approved node, ms since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved_at_ms: Option<i64>,
    /// Everything else, kept as it came.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// Reply of `node.pair.approve`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodePairApproveReply {
    /// The request.
    pub request_id: String,
    /// The node as it is now.
    pub node: NodePairRow,
}

/// Reply of `node.pair.reject`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodePairRejectReply {
    /// The request.
    pub request_id: String,
    /// The node.
    pub node_id: String,
}

/// Reply of `node.pair.remove`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodePairRemoveReply {
    /// The node.
    pub node_id: String,
}

/// Parameters of `node.pair.request` (version 3).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodePairRequestParams {
    /// Any text that names the node.
    pub node_id: String,
    /// Name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Device family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_family: Option<String>,
    /// Capabilities it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caps: Option<Vec<String>>,
    /// Commands it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commands: Option<Vec<String>>,
    /// Do not bother a person with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent: Option<bool>,
}

/// Reply of `node.pair.request`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NodePairRequestReply {
    /// `pending`.
    pub status: String,
    /// The request.
    pub request: NodePairRow,
    /// False when it waited already.
    pub created: bool,
}

/// Parameters of `node.pair.verify` (version 3).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodePairVerifyParams {
    /// The node.
    pub node_id: String,
    /// From the approval.
    pub token: String,
}

/// Reply of `node.pair.verify`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NodePairVerifyReply {
    /// Whether it is right.
    pub ok: bool,
    /// The node, when it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<NodePairRow>,
}
