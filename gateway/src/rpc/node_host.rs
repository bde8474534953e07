//! What nodes say: results, progress, events, and what they have to offer.

use clawline::protocol::Protocol;
use clawline::protocol::error::RpcError;
use clawline::protocol::methods::node_host::{
    HOST_STATS, HostStats, MAX_PROGRESS_CHUNK, NodeEvent, NodeEventParams, NodeEventReply,
    NodeInvokeProgress, NodeInvokeResult, NodePluginToolsReply, NodePluginToolsUpdate,
    NodeResultReply, NodeRunnerInventoryUpdate, NodeSkillsReply, NodeSkillsUpdate, SkillsBins,
    SkillsBinsReply,
};
use clawline::protocol::unread::holds_more;
use serde_json::{Value, json};

use super::{Call, Failure, Table};
use crate::conn::{Conn, Push};
use crate::nodes::{InvokeError, MAX_RESULT, Session, clean, excess};
use crate::state::App;
use crate::store::now_ms;

/// Skills and tools that one node may offer.
const MAX_OFFERED: usize = 64;
/// All of them together, in bytes.
const MAX_OFFERED_BYTES: usize = 1024 * 1024;

pub(crate) fn rows(table: Table) -> Table {
    table
        .on::<NodeInvokeResult, _>(result)
        .on::<NodeInvokeProgress, _>(progress)
        .on::<NodeEvent, _>(event)
        .on::<NodeRunnerInventoryUpdate, _>(inventory)
        .on::<NodeSkillsUpdate, _>(skills)
        .on::<NodePluginToolsUpdate, _>(plugin_tools)
        .on::<SkillsBins, _>(skills_bins)
}

async fn result(app: App, call: Call<NodeInvokeResult>) -> Result<NodeResultReply, Failure> {
    own_id(&call.conn, &call.params.node_id)?;
    let most = match excess(&call.params, app.policy.max_values()) {
        None => None,
        Some(InvokeError::TooMany { max_values }) => Some(format!("{max_values} values")),
        Some(_) => Some(format!("{MAX_RESULT} bytes")),
    };
    // Its caller learns of a result that is too large in the same way.
    let was_expected = app.nodes.live.resolve(call.conn.id, call.params);
    if let Some(most) = most.filter(|_| was_expected) {
        let text = format!("result too large: at most {most} are taken");
        return Err(RpcError::invalid(text)
            .details(json!({"code": "RESULT_TOO_LARGE"}))
            .into());
    }
    Ok(taken(was_expected))
}

async fn progress(app: App, call: Call<NodeInvokeProgress>) -> Result<NodeResultReply, Failure> {
    own_id(&call.conn, &call.params.node_id)?;
    if call.params.chunk.len() > MAX_PROGRESS_CHUNK {
        return Err(RpcError::invalid("progress chunk too large").into());
    }
    // Nobody here shows output before its end.
    let id = &call.params.invoke_id;
    Ok(taken(app.nodes.live.is_expected(call.conn.id, id)))
}

fn taken(was_expected: bool) -> NodeResultReply {
    NodeResultReply {
        ok: true,
        ignored: (!was_expected).then_some(true),
    }
}

async fn event(app: App, call: Call<NodeEvent>) -> Result<NodeEventReply, Failure> {
    let name = call.params.event.trim();
    if name.is_empty() {
        return Err(RpcError::invalid("invalid node.event params: event is needed").into());
    }
    let session = session(&app, &call.conn)?;
    let is_v4 = call.conn.version == Protocol::V4;
    if is_v4 && !is_approved(&app, &session).await?.0 {
        return Err(pairing_changed().into());
    }
    let content = || content(&call.params, app.policy.max_values());
    let handled = match name {
        HOST_STATS => host_stats(&app, &session, &content()?),
        "exec.started" | "exec.finished" | "exec.denied" => exec(&app, &session, name, &content()?),
        _ => Err("unknown event"),
    };
    if !is_v4 {
        return Ok(NodeEventReply {
            ok: true,
            ..NodeEventReply::default()
        });
    }
    Ok(NodeEventReply {
        ok: true,
        event: Some(name.to_owned()),
        handled: Some(handled.is_ok()),
        reason: handled.err().map(str::to_owned),
    })
}

/// What an event says. Nothing is made of a text that holds more values than a frame may.
fn content(params: &NodeEventParams, max_values: usize) -> Result<Value, Failure> {
    let text = params.payload_json.as_deref();
    if text.is_some_and(|text| holds_more(text, max_values)) {
        return Err(RpcError::invalid(format!(
            "invalid node.event params: payloadJSON holds more than {max_values} values"
        ))
        .into());
    }
    let said = text.and_then(|text| serde_json::from_str(text).ok());
    Ok(said.or_else(|| params.payload.clone()).unwrap_or_default())
}

/// Load, memory and disk: kept, and told to those who look.
fn host_stats(app: &App, session: &Session, content: &Value) -> Result<(), &'static str> {
    let stats: HostStats =
        serde_json::from_value(content.clone()).map_err(|_| "invalid payload")?;
    let Ok(Value::Object(mut shown)) = serde_json::to_value(&stats) else {
        return Err("invalid payload");
    };
    shown.insert("updatedAtMs".into(), json!(now_ms()));
    session.said(|said| said.host_stats = Some(Value::Object(shown.clone())));
    let payload = json!({"nodeId": session.node_id, "hostStats": shown});
    tell(app, session, "node.hostStats", &payload);
    Ok(())
}

/// Tells what is so on a node now. However often it says that, a slow reader waits for the newest alone:
/// no node fills the readers' queues and has them cut off.
fn tell(app: &App, session: &Session, name: &'static str, payload: &Value) {
    let push = if app.policy.newest_of_node {
        Push::latest_of(name, &session.node_id, payload)
    } else {
        Push::plain(name, payload)
    };
    app.registry.broadcast(&push);
}

/// How a run ended. Only of a run that this very connection was asked for; its exit code and how much it
/// printed go to the log, and nothing goes elsewhere: what a node writes is never put into a conversation as if the gateway said it.
fn exec(app: &App, session: &Session, name: &str, content: &Value) -> Result<(), &'static str> {
    let run_id = content["runId"].as_str().unwrap_or_default();
    if app.policy.issued_runs && !session.was_issued(run_id) {
        tracing::warn!(node = %session.node_id, event = name, "event of a run that this node was not asked for: dropped");
        return Err("unknown run");
    }
    // What a program printed is for who asked for it, and not for every reader of the log.
    let exit_code = content["exitCode"].as_i64();
    let output = content["output"].as_str().map(str::len);
    tracing::info!(node = %session.node_id, event = name, run = run_id, exit_code, output, "node event");
    Ok(())
}

async fn inventory(
    app: App,
    call: Call<NodeRunnerInventoryUpdate>,
) -> Result<NodeResultReply, Failure> {
    let session = session(&app, &call.conn)?;
    let (is_approved, waiting) = is_approved(&app, &session).await?;
    if !is_approved {
        let id = waiting.unwrap_or_else(|| "<requestId>".to_owned());
        return Err(RpcError::unavailable(format!(
            "node capability surface is awaiting operator approval; run `openclaw nodes approve {id}` (see `openclaw nodes pending`), then this node retries automatically"
        ))
        .into());
    }
    let payload = json!({"nodeId": session.node_id});
    tell(&app, &session, "node.runnerInventory.changed", &payload);
    Ok(NodeResultReply {
        ok: true,
        ignored: None,
    })
}

async fn skills(app: App, call: Call<NodeSkillsUpdate>) -> Result<NodeSkillsReply, Failure> {
    let session = session(&app, &call.conn)?;
    let skills = offered(&app, "node.skills.update", call.params.skills)?;
    session.said(|said| said.skills.clone_from(&skills));
    Ok(NodeSkillsReply {
        node_id: session.node_id.clone(),
        skills,
    })
}

async fn plugin_tools(
    app: App,
    call: Call<NodePluginToolsUpdate>,
) -> Result<NodePluginToolsReply, Failure> {
    let session = session(&app, &call.conn)?;
    let tools = offered(&app, "node.pluginTools.update", call.params.tools)?;
    session.said(|said| said.plugin_tools.clone_from(&tools));
    Ok(NodePluginToolsReply {
        node_id: session.node_id.clone(),
        tools,
    })
}

/// What a node offers, bounded, and fit to be shown.
fn offered(app: &App, method: &str, offered: Vec<Value>) -> Result<Vec<Value>, Failure> {
    let size: usize = offered.iter().map(|value| value.to_string().len()).sum();
    if offered.len() > MAX_OFFERED || size > MAX_OFFERED_BYTES {
        return Err(RpcError::invalid_params(
            method,
            format!("at most {MAX_OFFERED} entries and {MAX_OFFERED_BYTES} bytes are taken"),
        )
        .into());
    }
    if !offered.iter().all(Value::is_object) {
        return Err(RpcError::invalid_params(method, "entries must be objects").into());
    }
    Ok(match app.policy.clean_names {
        true => offered.into_iter().map(clean).collect(),
        false => offered,
    })
}

async fn skills_bins(_: App, _: Call<SkillsBins>) -> Result<SkillsBinsReply, Failure> {
    Ok(SkillsBinsReply::default())
}

fn own_id(conn: &Conn, node_id: &str) -> Result<(), Failure> {
    if conn.principal.device_id.as_deref() == Some(node_id) {
        Ok(())
    } else {
        Err(RpcError::invalid("nodeId mismatch").into())
    }
}

fn session(app: &App, conn: &Conn) -> Result<std::sync::Arc<Session>, Failure> {
    let session = app.nodes.live.session_of(conn);
    session.ok_or_else(|| pairing_changed().into())
}

async fn is_approved(app: &App, session: &Session) -> Result<(bool, Option<String>), RpcError> {
    let known = app.nodes.approval(&session.node_id).await;
    known.map_err(|error| super::nodes::node_error(error.into()))
}

/// In the words of the official gateways, which a node host waits out.
fn pairing_changed() -> RpcError {
    let mut error = RpcError::unavailable("node pairing changed while invocation was active")
        .details(json!({"code": "PAIRING_CHANGED"}));
    error.retryable = Some(true);
    error
}
