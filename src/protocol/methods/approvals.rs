//! Approvals of commands: `exec.approval.*` asks a person about one command, `exec.approvals.*` is the
//! standing policy of the gateway's own host or of a node.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::NoParams;
use super::nodes::NodeIdParams;
use crate::protocol::method::methods;
use crate::protocol::scope::{Needs, Scope};

methods! {
    /// Asks for a decision; answers twice with `twoPhase`.
    ExecApprovalRequest = "exec.approval.request", |_, _| Needs::Operator(Scope::Approvals), ExecApprovalRequestParams => ExecApprovalReply;
    /// Waits for the decision about a request.
    ExecApprovalWaitDecision = "exec.approval.waitDecision", |_, _| Needs::Operator(Scope::Approvals), ApprovalIdParams => ExecApprovalReply;
    /// Decides.
    ExecApprovalResolve = "exec.approval.resolve", |_, _| Needs::Operator(Scope::Approvals), ExecApprovalResolveParams => ApprovalOkReply;
    /// What waits; a bare array (version 4).
    ExecApprovalList = "exec.approval.list", |_, _| Needs::Operator(Scope::Approvals), NoParams => Vec<ExecApprovalRow>;
    /// One that waits (version 4).
    ExecApprovalGet = "exec.approval.get", |_, _| Needs::Operator(Scope::Approvals), ApprovalIdParams => ExecApprovalDetail;
    /// An approval of any kind, waiting or decided (version 4).
    ApprovalGet = "approval.get", |_, _| Needs::Operator(Scope::Approvals), ApprovalIdParams => Value;
    /// Decides about an approval of any kind (version 4).
    ApprovalResolve = "approval.resolve", |_, _| Needs::Operator(Scope::Approvals), ApprovalResolveParams => Value;
    /// The standing policy of the gateway's host.
    ExecApprovalsGet = "exec.approvals.get", |_, _| Needs::Operator(Scope::Admin), NoParams => ExecApprovalsSnapshot;
    /// Replaces the standing policy of the gateway's host.
    ExecApprovalsSet = "exec.approvals.set", |_, _| Needs::Operator(Scope::Admin), ExecApprovalsSetParams => ExecApprovalsSnapshot;
    /// The standing policy of a node.
    ExecApprovalsNodeGet = "exec.approvals.node.get", |_, _| Needs::Operator(Scope::Admin), NodeIdParams => Value;
    /// Replaces the standing policy of a node.
    ExecApprovalsNodeSet = "exec.approvals.node.set", |_, _| Needs::Operator(Scope::Admin), ExecApprovalsNodeSetParams => Value;
}

/// What a person says about a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// This once.
    AllowOnce,
    /// From now on.
    AllowAlways,
    /// No.
    Deny,
}

impl Decision {
    /// Every decision, in the order in which it is offered.
    pub const ALL: [Self; 3] = [Self::AllowOnce, Self::AllowAlways, Self::Deny];

    /// The text on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllowOnce => "allow-once",
            Self::AllowAlways => "allow-always",
            Self::Deny => "deny",
        }
    }

    /// Reads the text on the wire.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|decision| decision.as_str() == text)
    }
}

/// An approval's id.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ApprovalIdParams {
    /// Of the approval.
    pub id: String,
}

/// Parameters of `exec.approval.request`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExecApprovalRequestParams {
    /// Chosen by the caller; made when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The command as one text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The command as it will be run (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command_argv: Option<Vec<String>>,
    /// What exactly will be run (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_run_plan: Option<Value>,
    /// Variables that it gets besides its own (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<Map<String, Value>>,
    /// Where it will run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// The node (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_id: Option<String>,
    /// `gateway` or `node`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// `deny`, `allowlist`, `full`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security: Option<String>,
    /// `off`, `on-miss`, `always`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ask: Option<String>,
    /// The agent on whose behalf it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// The program's path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved_path: Option<String>,
    /// The session on whose behalf it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_key: Option<String>,
    /// How long to wait for a decision, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Answer at once that it is accepted, and again with the decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub two_phase: Option<bool>,
    /// Everything else, shown to whoever decides.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// The answer about a request: `status` of the first of two, `decision` of the last.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExecApprovalReply {
    /// `accepted`, in the first answer only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The approval.
    pub id: String,
    /// The decision; null when nobody decided in time. Absent in the first answer.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present_or_null"
    )]
    pub decision: Option<Option<Decision>>,
    /// Who is asked, in the first answer (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_route: Option<String>,
    /// ms since the epoch.
    pub created_at_ms: i64,
    /// ms since the epoch.
    pub expires_at_ms: i64,
    /// `user`, `timeout`, `no-route` (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminal_reason: Option<String>,
}

/// A member that is there is `Some`, also when it is null.
fn present_or_null<'de, D: serde::Deserializer<'de>>(
    from: D,
) -> Result<Option<Option<Decision>>, D::Error> {
    Option::<Decision>::deserialize(from).map(Some)
}

/// Parameters of `exec.approval.resolve`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ExecApprovalResolveParams {
    /// Of the approval.
    pub id: String,
    /// One of [`Decision`].
    pub decision: String,
}

/// `{ok: true}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ApprovalOkReply {
    /// True.
    pub ok: bool,
}

/// One of `exec.approval.list`; also the payload of `exec.approval.requested`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExecApprovalRow {
    /// The approval.
    pub id: String,
    /// `exec` (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval_kind: Option<String>,
    /// What it is about; members that are unknown are null.
    pub request: Value,
    /// ms since the epoch.
    pub created_at_ms: i64,
    /// ms since the epoch.
    pub expires_at_ms: i64,
}

/// Payload of `exec.approval.resolved`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExecApprovalResolved {
    /// The approval.
    pub id: String,
    /// The decision.
    pub decision: Option<Decision>,
    /// Who decided: a name or client id.
    pub resolved_by: Option<String>,
    /// ms since the epoch.
    pub ts: i64,
    /// What it was about (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Value>,
}

/// Reply of `exec.approval.get`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExecApprovalDetail {
    /// The approval.
    pub id: String,
    /// The whole command, invisible characters made visible.
    pub command_text: String,
    /// A shorter form, where there is one.
    pub command_preview: Option<String>,
    /// What may be answered.
    pub allowed_decisions: Vec<Decision>,
    /// `gateway` or `node`.
    pub host: Option<String>,
    /// The node.
    pub node_id: Option<String>,
    /// The agent.
    pub agent_id: Option<String>,
    /// ms since the epoch.
    pub expires_at_ms: i64,
    /// Everything else, kept as it came.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// Parameters of `approval.resolve`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ApprovalResolveParams {
    /// Of the approval.
    pub id: String,
    /// `exec`, `plugin` or `system-agent`.
    pub kind: String,
    /// One of [`Decision`].
    pub decision: String,
}

/// The standing policy of a host: what may run without asking.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExecApprovalsSnapshot {
    /// Where it is kept.
    pub path: String,
    /// Whether that exists yet.
    pub exists: bool,
    /// Of the content; to be shown when it is replaced.
    pub hash: String,
    /// `{version: 1, socket, defaults, agents}`.
    pub file: Value,
    /// `defaults` with what applies where they say nothing (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved_defaults: Option<Value>,
}

/// Parameters of `exec.approvals.set`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecApprovalsSetParams {
    /// The new content.
    pub file: Value,
    /// The hash of the content that it replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_hash: Option<String>,
}

/// Parameters of `exec.approvals.node.set`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecApprovalsNodeSetParams {
    /// The device id of the node.
    pub node_id: String,
    /// `file`, `baseHash` and whatever else the node understands.
    #[serde(flatten)]
    pub policy: Map<String, Value>,
}
