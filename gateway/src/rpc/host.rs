//! `system.info`, `gateway.identity.get` and other looks at what the gateway is and has.

use clawline::identity::Identity;
use clawline::protocol::error::RpcError;
use clawline::protocol::methods::host::{
    GatewayIdentityGet, GatewayIdentityReply, GatewaySuspendStatus, SkillsStatus, SystemInfo,
    SystemInfoReply, ToolsCatalog, UsageStatus,
};
use serde_json::{Value, json};

use super::call::off_the_runtime;
use super::{Call, Failure, Table};
use crate::machine::Machine;
use crate::state::App;
use crate::store::now_ms;

/// The gateway's own key, in its state directory.
const IDENTITY_FILE: &str = "identity.json";

pub(crate) fn rows(table: Table) -> Table {
    table
        .on::<SystemInfo, _>(system_info)
        .on::<GatewayIdentityGet, _>(identity)
        .on::<GatewaySuspendStatus, _>(suspend_status)
        .on::<ToolsCatalog, _>(tools_catalog)
        .on::<SkillsStatus, _>(skills_status)
        .on::<UsageStatus, _>(usage_status)
}

/// The words that Node has for platforms and processors, which clients know.
fn platform() -> &'static str {
    match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    }
}

fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    }
}

async fn system_info(app: App, call: Call<SystemInfo>) -> Result<SystemInfoReply, Failure> {
    let told = call.whereabouts(&app);
    let state_dir = app.settings().state_dir.clone();
    let below = state_dir.clone();
    let machine = off_the_runtime(move || Machine::look(&below)).await?;
    let os = match platform() {
        "linux" => "Linux",
        "darwin" => "macOS",
        other => other,
    };
    Ok(SystemInfoReply {
        machine_name: told.host().to_owned(),
        hostname: told.host().to_owned(),
        platform: platform().to_owned(),
        os_label: format!("{os} {}", machine.release).trim().to_owned(),
        release: machine.release,
        arch: arch().to_owned(),
        port: app.boot.port,
        node_version: format!("clawline-gateway {}", env!("CARGO_PKG_VERSION")),
        pid: std::process::id(),
        process_instance_id: app.boot.id.clone(),
        uptime_ms: app.uptime_ms(),
        cpu_count: machine.cpu_count,
        cpu_model: machine.cpu_model,
        load_average: machine.load_average,
        memory_total_bytes: machine.memory_total,
        memory_free_bytes: machine.memory_free,
        disk_total_bytes: machine.disk.map(|disk| disk.total),
        disk_available_bytes: machine.disk.map(|disk| disk.available),
        disk_path: machine.disk.map(|_| told.path(&state_dir)),
    })
}

async fn identity(app: App, _: Call<GatewayIdentityGet>) -> Result<GatewayIdentityReply, Failure> {
    let path = app.settings().state_dir.join(IDENTITY_FILE);
    let had = off_the_runtime(move || Identity::load_or_create(&path)).await?;
    let identity = had.map_err(|error| {
        tracing::error!(%error, "the gateway's key cannot be had");
        RpcError::unavailable("the gateway's own key cannot be had; see its log")
    })?;
    Ok(GatewayIdentityReply {
        device_id: identity.device_id().to_owned(),
        public_key: identity.public_key(),
    })
}

async fn suspend_status(_: App, _: Call<GatewaySuspendStatus>) -> Result<Value, Failure> {
    Ok(json!({"status": "running"}))
}

/// The agent that was named, or the default one.
fn agent_id(app: &App, named: Option<&str>) -> Result<String, Failure> {
    match named {
        None => Ok(app.sessions.default_agent().as_str().to_owned()),
        Some(id)
            if app
                .runs
                .models()
                .agents()
                .iter()
                .any(|agent| agent.id.as_str() == id) =>
        {
            Ok(id.to_owned())
        }
        Some(id) => {
            let id = clawline::layer::printable(id, 80);
            Err(RpcError::invalid(format!("unknown agent id \"{id}\"")).into())
        }
    }
}

/// The agent talks, and has no tools.
async fn tools_catalog(app: App, call: Call<ToolsCatalog>) -> Result<Value, Failure> {
    let agent = agent_id(&app, call.params.agent_id.as_deref())?;
    Ok(json!({"agentId": agent, "profiles": [], "groups": []}))
}

async fn skills_status(app: App, call: Call<SkillsStatus>) -> Result<Value, Failure> {
    let agent = agent_id(&app, call.params.agent_id.as_deref())?;
    let dir = call.whereabouts(&app).path(&app.settings().state_dir);
    Ok(json!({"agentId": agent, "workspaceDir": dir, "managedSkillsDir": dir, "skills": []}))
}

async fn usage_status(_: App, _: Call<UsageStatus>) -> Result<Value, Failure> {
    Ok(json!({"updatedAt": now_ms(), "providers": []}))
}
