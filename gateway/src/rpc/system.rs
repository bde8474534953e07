//! `health`, `status`, `system-presence` and other small looks at the gateway.

use clawline::protocol::methods::system::{
    ChannelsStatus, Health, HealthReply, LastHeartbeat, PresenceEntry, Status, SystemPresence,
};
use clawline::protocol::scope::Scope;
use serde_json::{Value, json};

use super::{Call, Failure, Table};
use crate::sessions::{ListQuery, Session};
use crate::shape::{self, RowParts};
use crate::state::App;
use crate::store::now_ms;

/// Latest sessions that `status` shows.
const RECENT: usize = 10;
/// In the place of a path that is not told, in the official words.
const REDACTED: &str = "[redacted]";

pub(crate) fn rows(table: Table) -> Table {
    table
        .on::<Health, _>(health)
        .on::<Status, _>(status)
        .on::<SystemPresence, _>(system_presence)
        .on::<LastHeartbeat, _>(last_heartbeat)
        .on::<ChannelsStatus, _>(channels_status)
}

async fn health(app: App, call: Call<Health>) -> Result<HealthReply, Failure> {
    Ok(app.health_report(&call.whereabouts(&app)).await)
}

/// Whoever may not administer is told how many sessions there are, and neither which nor where.
async fn status(app: App, call: Call<Status>) -> Result<Value, Failure> {
    let health = app.health_report(&call.whereabouts(&app)).await;
    let is_told = call.conn.principal.scopes.grants(Scope::Admin);
    let (recent, paths, defaults) = if is_told {
        let defaults = json!(shape::defaults(app.runs.models()));
        (recent(&app).await?, vec![&health.sessions.path], defaults)
    } else {
        let unknown = json!({"model": null, "contextTokens": null});
        (Vec::new(), Vec::new(), unknown)
    };
    let path = paths.first().map_or(REDACTED, |path| path.as_str());
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
            "paths": paths,
            "count": health.sessions.count,
            "defaults": defaults,
            "recent": recent,
            "byAgent": by_agent(&app, path, &recent).await?,
        },
    }))
}

/// The latest sessions, with what of their windows is used.
async fn recent(app: &App) -> Result<Vec<Value>, Failure> {
    let query = ListQuery {
        limit: RECENT,
        ..ListQuery::default()
    };
    let page = app.sessions.list(&query).await;
    let page = page.map_err(shape::session_error)?;
    let now = now_ms();
    let rows = page.sessions.iter().map(|session| {
        let row = shape::listed_session(session, &app.runs, RowParts::default());
        let mut row = json!(row);
        row["age"] = json!((now - session.updated_at).max(0));
        row["flags"] = flags(session);
        let window = context_window(session, app);
        let used = session.context_tokens;
        row["percentUsed"] = json!(window.map(|window| used.saturating_mul(100) / window));
        row["remainingTokens"] = json!(window.map(|window| (window - used).max(0)));
        row
    });
    Ok(rows.collect())
}

/// The latest of `recent` of each agent, with the number of all its sessions.
async fn by_agent(app: &App, path: &str, recent: &[Value]) -> Result<Vec<Value>, Failure> {
    let mut shown = Vec::new();
    let agents = app.runs.models().agents();
    for agent in agents.iter() {
        let id = agent.id.as_str();
        let query = ListQuery {
            limit: 1,
            agent_id: Some(id.to_owned()),
            ..ListQuery::default()
        };
        let page = app.sessions.list(&query).await;
        let page = page.map_err(shape::session_error)?;
        let of_agent: Vec<&Value> = recent.iter().filter(|row| row["agentId"] == id).collect();
        shown.push(json!({
            "agentId": id, "path": path, "count": page.total, "recent": of_agent,
        }));
    }
    Ok(shown)
}

/// What is not as usual in a session, in the words that clients show, and its transcript.
fn flags(session: &Session) -> Value {
    let settings = &session.settings;
    let mut flags = Vec::new();
    for (name, level) in [
        ("think", &settings.thinking_level),
        ("verbose", &settings.verbose_level),
        ("reasoning", &settings.reasoning_level),
    ] {
        if let Some(level) = level {
            flags.push(format!("{name}:{level}"));
        }
    }
    flags.push(format!("id:{}", session.session_id));
    json!(flags)
}

/// How much a session's model can see, where that is known.
fn context_window(session: &Session, app: &App) -> Option<i64> {
    let models = app.runs.models();
    let chosen = session.settings.model.as_deref();
    let (provider, model) = models.resolve(chosen, session.key.agent_id());
    let window = models.context_window(&provider, &model);
    window.filter(|n| *n > 0)
}

async fn system_presence(
    app: App,
    call: Call<SystemPresence>,
) -> Result<Vec<PresenceEntry>, Failure> {
    Ok(app.presence(&call.whereabouts(&app)))
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
