//! `health`, `status`, `system-presence` and other small looks at the gateway.

use clawline::protocol::methods::system::{
    ChannelsStatus, Health, HealthReply, LastHeartbeat, PresenceEntry, Status, SystemPresence,
};
use serde_json::{Value, json};

use super::{Call, Failure, Table};
use crate::sessions::{ListQuery, Session};
use crate::shape::{self, RowParts};
use crate::state::App;
use crate::store::now_ms;

/// Latest sessions that `status` shows.
const RECENT: usize = 10;

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
    let query = ListQuery {
        limit: RECENT,
        ..ListQuery::default()
    };
    let page = app
        .sessions
        .list(&query)
        .await
        .map_err(shape::session_error)?;
    let now = now_ms();
    let recent: Vec<Value> = page
        .sessions
        .iter()
        .map(|session| {
            let row = shape::session_row(session, app.runs.models(), RowParts::default());
            let mut row = json!(row);
            row["age"] = json!((now - session.updated_at).max(0));
            row["flags"] = json!([]);
            row["percentUsed"] = json!(percent_used(session, &app));
            row
        })
        .collect();
    Ok(json!({
        "runtimeVersion": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "uptimeMs": app.uptime_ms(),
        "startedAtMs": app.boot.started_at,
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
            "defaults": shape::defaults(app.runs.models()),
            "recent": recent,
            "byAgent": [],
        },
    }))
}

/// How full the context is, where its size is known.
fn percent_used(session: &Session, app: &App) -> Option<i64> {
    let models = app.runs.models();
    let chosen = session.settings.model.as_deref();
    let (provider, model) = models.resolve(chosen, session.key.agent_id());
    let window = models
        .context_window(&provider, &model)
        .filter(|n| *n > 0)?;
    Some(session.context_tokens.saturating_mul(100) / window)
}

async fn system_presence(app: App, _: Call<SystemPresence>) -> Result<Vec<PresenceEntry>, Failure> {
    Ok(app.registry.presence(app.own_presence()))
}

async fn last_heartbeat(app: App, _: Call<LastHeartbeat>) -> Result<Value, Failure> {
    Ok(app.last_heartbeat.borrow().clone())
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
