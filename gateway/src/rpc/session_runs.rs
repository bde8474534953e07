//! `sessions.create`, `sessions.send` and `sessions.abort`: version 4's way to talk by session key.

use clawline::protocol::error::RpcError;
use clawline::protocol::methods::sessions::{SessionsAbort, SessionsCreate, SessionsSend};
use serde_json::{Map, Value, json};

use super::chat_send::{self, Outgoing};
use super::sessions::{entry, read_patch, resolved};
use super::{Call, Failure, Table};
use crate::runs::RunId;
use crate::sessions::{AgentId, SessionKey};
use crate::shape;
use crate::state::App;

pub(crate) fn rows(table: Table) -> Table {
    table
        .on_in_order::<SessionsCreate, _>(|app, p| app.lane(p.key.as_deref()?), create)
        .on_in_order::<SessionsSend, _>(|app, p| app.lane(&p.key), send)
        .on::<SessionsAbort, _>(abort)
}

async fn create(app: App, call: Call<SessionsCreate>) -> Result<Value, Failure> {
    let params = &call.params;
    let agent = match &params.agent_id {
        Some(id) => {
            app.known_agent(id, "sessions.create")?;
            AgentId::parse(id).map_err(|error| RpcError::invalid(error.to_string()))?
        }
        None => app.sessions.default_agent(),
    };
    let name = params
        .key
        .clone()
        .unwrap_or_else(|| format!("dashboard:{}", uuid::Uuid::new_v4()));
    let key =
        SessionKey::resolve(&name, &agent).map_err(|error| RpcError::invalid(error.to_string()))?;
    app.known_agent(key.agent_id(), "sessions.create")?;
    let settings: Map<String, Value> = [("label", &params.label), ("model", &params.model)]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), json!(value.as_ref()?))))
        .collect();
    let session = if settings.is_empty() {
        app.sessions.ensure(&key).await
    } else {
        let patch = read_patch(&app, &settings)?;
        let _held = app.runs.hold(&key).await;
        app.sessions.patch(&key, patch).await
    };
    let session = session.map_err(shape::session_error)?;
    let mut reply = json!({
        "ok": true,
        "key": key.as_str(),
        "sessionId": session.session_id,
        "entry": entry(&app, &session),
        "runStarted": false,
        "resolved": resolved(&app, &session),
    });
    let message = params.message.as_deref().filter(|m| !m.trim().is_empty());
    if let Some(message) = message {
        let started = chat_send::submit(
            &app,
            &call.conn,
            "sessions.create",
            Outgoing {
                key,
                message: message.to_owned(),
                run_id: run_id(params.idempotency_key.as_deref())?,
                thinking: None,
                timeout_ms: None,
            },
        )
        .await?;
        reply["runStarted"] = json!(true);
        reply["runId"] = json!(started.run_id);
    }
    Ok(reply)
}

async fn send(app: App, call: Call<SessionsSend>) -> Result<Value, Failure> {
    chat_send::refuse_attachments(call.params.attachments.as_deref())?;
    let outgoing = Outgoing {
        key: app.session_key(&call.params.key)?,
        message: call.params.message.clone(),
        run_id: run_id(call.params.idempotency_key.as_deref())?,
        thinking: call.params.thinking.clone(),
        timeout_ms: call.params.timeout_ms,
    };
    let reply = chat_send::submit(&app, &call.conn, "sessions.send", outgoing).await?;
    serde_json::to_value(reply).map_err(|error| RpcError::unavailable(error.to_string()).into())
}

fn run_id(text: Option<&str>) -> Result<RunId, Failure> {
    match text {
        Some(text) => {
            RunId::parse(text).map_err(|error| RpcError::invalid(error.to_string()).into())
        }
        None => Ok(RunId::random()),
    }
}

async fn abort(app: App, call: Call<SessionsAbort>) -> Result<Value, Failure> {
    let failed = |error| shape::run_error("sessions.abort", error);
    let run_id = call
        .params
        .run_id
        .as_deref()
        .and_then(|text| RunId::parse(text).ok());
    let key = match (&call.params.key, &run_id) {
        (Some(key), _) => Some(app.session_key(key)?),
        (None, Some(run_id)) => {
            let run = app.runs.get(run_id).await.map_err(failed)?;
            run.map(|run| run.session_key)
        }
        (None, None) => {
            let error = "one of key and runId is needed";
            return Err(RpcError::invalid_params("sessions.abort", error).into());
        }
    };
    let stopped = match &key {
        Some(key) => app.runs.abort(key, run_id.as_ref()).await.map_err(failed)?,
        None => Vec::new(),
    };
    Ok(match stopped.first() {
        Some(run_id) => json!({"ok": true, "abortedRunId": run_id.as_str(), "status": "aborted"}),
        None => json!({"ok": true, "abortedRunId": null, "status": "no-active-run"}),
    })
}
