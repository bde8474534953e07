//! The machine and the process behind the gateway, and what it has to offer: `system.info`,
//! `gateway.identity.get`, `gateway.suspend.status`, `tools.catalog`, `skills.status`, `usage.status`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::NoParams;
use crate::protocol::method::methods;
use crate::protocol::scope::{Needs, Scope};

methods! {
    /// The machine: processors, memory, disk (version 4).
    SystemInfo = "system.info", |_, _| Needs::Operator(Scope::Read), NoParams => SystemInfoReply;
    /// The gateway's own key, which stays the same over restarts (version 4).
    GatewayIdentityGet = "gateway.identity.get", |_, _| Needs::Operator(Scope::Read), NoParams => GatewayIdentityReply;
    /// `{status: "running"}`: this gateway is never suspended (version 4).
    GatewaySuspendStatus = "gateway.suspend.status", |_, _| Needs::Operator(Scope::Read), Value => Value;
    /// `{agentId, profiles, groups}`: the tools that the agent may use (version 4).
    ToolsCatalog = "tools.catalog", |_, _| Needs::Operator(Scope::Read), AgentIdParams => Value;
    /// `{workspaceDir, managedSkillsDir, skills}`.
    SkillsStatus = "skills.status", |_, _| Needs::Operator(Scope::Read), AgentIdParams => Value;
    /// `{updatedAt, providers}`: what the providers tell of their quotas.
    UsageStatus = "usage.status", |_, _| Needs::Operator(Scope::Read), NoParams => Value;
}

/// An agent, the default one when absent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentIdParams {
    /// Agent id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
}

/// Reply of `gateway.identity.get`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayIdentityReply {
    /// 64 hex digits.
    pub device_id: String,
    /// base64url.
    pub public_key: String,
}

/// Reply of `system.info`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SystemInfoReply {
    /// Name of the machine for people.
    pub machine_name: String,
    /// Host name.
    pub hostname: String,
    /// `linux`, `darwin`.
    pub platform: String,
    /// Release of the kernel.
    pub release: String,
    /// `x64`, `arm64`.
    pub arch: String,
    /// Platform and release for people.
    pub os_label: String,
    /// Port of the gateway.
    pub port: u16,
    /// What the program is; the member is called after what runs theirs.
    pub node_version: String,
    /// Process id.
    pub pid: u32,
    /// Another one after each start.
    pub process_instance_id: String,
    /// How long it runs.
    pub uptime_ms: u64,
    /// Processors.
    pub cpu_count: u64,
    /// Name of the processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_model: Option<String>,
    /// Of the last 1, 5 and 15 minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_average: Option<[f64; 3]>,
    /// Memory of the machine.
    pub memory_total_bytes: u64,
    /// What of it is to be had.
    pub memory_free_bytes: u64,
    /// Size of the disk with the state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_total_bytes: Option<u64>,
    /// What of it is to be had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_available_bytes: Option<u64>,
    /// A place on that disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_path: Option<String>,
}
