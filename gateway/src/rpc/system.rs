//! `health`, `status`, `system-presence` and other small looks at the gateway.

use clawline::protocol::methods::system::{
    ChannelsStatus, Health, HealthReply, LastHeartbeat, PresenceEntry, Status, SystemPresence,
};
use serde_json::{Value, json};

use super::{Call, Failure, Table};
use crate::state::App;
use crate::store::now_ms;

pub(crate) fn rows(table: Table) -> Table {
    table
        .on::<Health, _>(health)
        .on::<Status, _>(status)
        .on::<SystemPresence, _>(system_presence)
        .on::<LastHeartbeat, _>(last_heartbeat)
        .on::<ChannelsStatus, _>(channels_status)
}

async fn health(app: App, _: Call<Health>) -> Result<HealthReply, Failure> {
    Ok(app.health_report().await)
}

async fn status(app: App, _: Call<Status>) -> Result<Value, Failure> {
    let health = app.health_report().await;
    Ok(json!({
        "runtimeVersion": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "uptimeMs": app.uptime_ms(),
        "connections": app.registry.count(),
        "heartbeat": {
            "defaultAgentId": health.default_agent_id,
            "agents": health.agents.iter().map(|agent| json!({
                "agentId": agent["agentId"], "enabled": false, "every": "disabled", "everyMs": null,
            })).collect::<Vec<_>>(),
        },
        "channelSummary": [],
        "queuedSystemEvents": [],
        "sessions": {
            "paths": [health.sessions.path],
            "count": health.sessions.count,
            "defaults": {"model": null, "contextTokens": null},
            "recent": [],
            "byAgent": [],
        },
    }))
}

async fn system_presence(app: App, _: Call<SystemPresence>) -> Result<Vec<PresenceEntry>, Failure> {
    Ok(app.registry.presence(app.own_presence()))
}

async fn last_heartbeat(_: App, _: Call<LastHeartbeat>) -> Result<Value, Failure> {
    Ok(Value::Null)
}

async fn channels_status(_: App, _: Call<ChannelsStatus>) -> Result<Value, Failure> {
    Ok(json!({
        "ts": now_ms(),
        "channelOrder": [],
        "channelLabels": {},
        "channelDetailLabels": {},
        "channelSystemImages": {},
        "channelMeta": [],
        "channels": {},
        "channelAccounts": {},
        "channelDefaultAccountId": {},
        "statusIssues": [],
    }))
}
