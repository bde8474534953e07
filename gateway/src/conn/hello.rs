//! The reply to a good `connect`, in the full shape of the connection's version (PROTOCOL.md §2.6, §2.7).

use clawline::protocol::Protocol;
use clawline::protocol::event;
use clawline::protocol::hello::{CAPABILITY_CLAWLINE, CAPABILITY_DURABLE_ACK, CONNECT};
use clawline::protocol::limits;
use clawline::protocol::methods::system::HealthReply;
use clawline::protocol::scope::{Role, Scope};
use clawline::protocol::v3;
use serde_json::{Value, json};

use super::Conn;
use crate::pairing::Admission;
use crate::sessions::{MAIN_SESSION, SessionKey};
use crate::state::App;

/// Largest attachment and image, announced to version 4.
const MAX_ATTACHMENT: u64 = 19_464_192;
const MAX_IMAGE: u64 = 6_291_456;

/// The payload for `conn`; `admission` is there when a device was proven, `asked` keeps the order
/// in which the scopes were sent.
pub(crate) async fn payload(
    app: &App,
    conn: &Conn,
    admission: Option<&Admission>,
    asked: &[String],
) -> Value {
    let may = |scope| conn.principal.role == Role::Operator && conn.principal.scopes.grants(scope);
    let is_v4 = conn.version == Protocol::V4;
    let told = app.whereabouts(&conn.principal);
    let health = snapshot_health(app.health_report(&told).await, is_v4);
    let presence = if may(Scope::Read) {
        app.presence(&told)
    } else {
        Vec::new()
    };
    let agent = app.sessions.default_agent();
    let mut snapshot = json!({
        "presence": presence,
        "health": health,
        "stateVersion": app.registry.state_version(),
        "uptimeMs": app.uptime_ms(),
        "sessionDefaults": {
            "defaultAgentId": agent.as_str(),
            "mainKey": MAIN_SESSION,
            "mainSessionKey": SessionKey::main(&agent).as_str(),
            "scope": "per-sender",
        },
    });
    if is_v4 {
        snapshot["suspension"] = json!({"phase": "accepting"});
        let defaults = &mut snapshot["sessionDefaults"];
        defaults["modelConfigured"] = json!(app.settings().models.default.is_some());
        defaults["ownership"] = json!("sole");
        defaults["selectionRequired"] = json!(false);
    }
    if told.is_whole() {
        let settings = app.settings();
        let config = &settings.config.path;
        if !config.as_os_str().is_empty() {
            snapshot["configPath"] = json!(config);
        }
        snapshot["stateDir"] = json!(app.settings().state_dir);
        snapshot["authMode"] = json!(app.settings().auth.mode.as_str());
    }
    let version = env!("CARGO_PKG_VERSION");
    let server = if is_v4 {
        json!({
            "version": version,
            "buildId": format!("clawline-gateway-{version}"),
            "bootId": app.boot.id,
            "connId": conn.id.to_string(),
        })
    } else {
        json!({"version": version, "host": told.host(), "connId": conn.id.to_string()})
    };
    let mut hello = json!({
        "type": "hello-ok",
        "protocol": conn.version.number(),
        "server": server,
        "features": {
            "methods": app.table.names(),
            "events": event::NAMES,
            "capabilities": [CAPABILITY_CLAWLINE, CAPABILITY_DURABLE_ACK],
        },
        "snapshot": snapshot,
        "policy": {
            "maxPayload": limits::MAX_MESSAGE,
            "maxBufferedBytes": limits::MAX_BUFFERED,
            "tickIntervalMs": u64::try_from(limits::TICK_INTERVAL.as_millis()).unwrap_or(u64::MAX),
        },
    });
    if is_v4 {
        hello["controlUiWidgetKinds"] = json!([]);
        hello["controlUiLinkReaders"] = json!([]);
        hello["policy"]["attachments"] =
            json!({"maxBytes": MAX_ATTACHMENT, "maxImageBytes": MAX_IMAGE});
        hello["policy"]["allowedSessionVisibilities"] = json!(["shared"]);
        hello["policy"]["hasMultipleSessionSharingIdentities"] = json!(false);
    } else {
        v3::answer(CONNECT, &mut hello);
    }
    if let Some(auth) = auth(app, conn, admission, asked) {
        hello["auth"] = auth;
    }
    hello
}

/// The health that hello shows. Version 4 has a closed list for it, without what we add to `health`,
/// and its `ok` is there only when all is well.
fn snapshot_health(report: HealthReply, is_v4: bool) -> Value {
    let is_well = report.ok;
    let mut health = json!(report);
    if let (true, Some(members)) = (is_v4, health.as_object_mut()) {
        members.retain(|name, _| match name.as_str() {
            "ok" => is_well,
            "modelRuntime" | "config" | "runs" | "connections" | "nodes" | "uptimeMs" | "store" => {
                false
            }
            _ => true,
        });
    }
    health
}

/// Version 4 always tells the scopes of this connection; version 3 tells, for a device only, those
/// that are stored with its token.
fn auth(app: &App, conn: &Conn, admission: Option<&Admission>, asked: &[String]) -> Option<Value> {
    let role = conn.principal.role.as_str();
    let with_token = |mut auth: Value| {
        if let Some(admission) = admission {
            auth["deviceToken"] = json!(admission.token.expose());
            auth["issuedAtMs"] = json!(admission.issued_at);
        }
        auth
    };
    match conn.version {
        Protocol::V4 => {
            let held = &conn.principal.scopes;
            let mut scopes: Vec<&String> = Vec::new();
            for text in asked {
                let is_held = Scope::parse(text).is_some_and(|s| held.iter().any(|h| h == s));
                let is_told = is_held || !app.policy.known_scopes;
                if is_told && !scopes.contains(&text) {
                    scopes.push(text);
                }
            }
            let method = conn.principal.method.as_str();
            Some(with_token(
                json!({"method": method, "role": role, "scopes": scopes}),
            ))
        }
        Protocol::V3 => admission
            .map(|admission| with_token(json!({"role": role, "scopes": admission.stored_scopes}))),
    }
}
