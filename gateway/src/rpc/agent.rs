//! `agent` and `agent.wait`: one run from a command line, with its result as the second answer.

use std::time::Duration;

use clawline::protocol::error::RpcError;
use clawline::protocol::methods::agent::{
    Agent, AgentParams, AgentReply, AgentWait, AgentWaitReply,
};
use serde_json::{Map, Value, json};

use super::{Call, Failure, Table, chat_send, slash};
use crate::runs::{
    CommandSubmit, RunId, RunKind, RunOptions, RunOutcome, RunState, Submit, SubmitStatus,
};
use crate::sessions::{AgentId, SessionKey, Usage};
use crate::shape;
use crate::state::App;
use crate::store::CommandEffect;

/// How long `agent.wait` waits when the caller does not say, and at most.
const DEFAULT_WAIT: Duration = Duration::from_secs(30);
const MAX_WAIT: Duration = Duration::from_secs(3600);
/// How long `agent` waits at a time for a run's end; it waits again until there is one.
const WAIT_STEP: Duration = Duration::from_secs(600);
/// Why a run that waits has no outcome when the gateway stops.
const STOPPING: &str =
    "the gateway is stopping; the message is kept and is answered when it is back";
/// Why a run has no outcome though nobody works on it.
const LOST: &str = "the end of this run could not be stored; see the gateway's log, and restart it when its disk is well";

pub(crate) fn rows(table: Table) -> Table {
    table
        .on_long::<Agent, _>(|app, p| Some(session_of(app, p).ok()?.to_string()), agent)
        .on_long::<AgentWait, _>(|_, _| None, wait)
}

impl App {
    /// Refuses an agent that is not configured.
    pub(super) fn known_agent(&self, id: &str, method: &str) -> Result<(), Failure> {
        if self.runs.models().has_agent(id) {
            return Ok(());
        }
        let id = clawline::layer::printable(id, 80);
        let error = RpcError::invalid_params(method, format!("unknown agent id \"{id}\""));
        Err(error.details(json!({"code": "UNKNOWN_AGENT_ID"})).into())
    }
}

/// The session by key; bare names belong to the agent that was named.
fn session_of(app: &App, params: &AgentParams) -> Result<SessionKey, Failure> {
    let invalid =
        |error: &dyn std::fmt::Display| Failure::from(RpcError::invalid_params("agent", error));
    let agent = match params.agent_id.as_deref() {
        Some(id) => {
            app.known_agent(id, "agent")?;
            AgentId::parse(id).map_err(|error| invalid(&error))?
        }
        None => app.sessions.default_agent(),
    };
    match params.session_key.as_deref().filter(|key| !key.is_empty()) {
        Some(key) => SessionKey::resolve(key, &agent).map_err(|error| invalid(&error)),
        None => Ok(SessionKey::main(&agent)),
    }
}

async fn agent(app: App, call: Call<Agent>) -> Result<AgentReply, Failure> {
    let params = &call.params;
    let mut key = session_of(&app, params)?;
    if let (None, Some(id)) = (&params.session_key, &params.session_id) {
        let found = app.sessions.by_session_id(id).await;
        if let Some(session) = found.map_err(shape::session_error)? {
            key = session.key;
        }
    }
    app.known_agent(key.agent_id(), "agent")?;
    let run_id = RunId::parse(&params.idempotency_key)
        .map_err(|error| RpcError::invalid_params("agent", error))?;
    chat_send::refuse_nul(&params.message)?;
    call.conn.takes_part(key.as_str());
    let canonical = json!({
        "extraSystemPrompt": params.extra_system_prompt, "message": params.message,
        "sessionKey": key.as_str(), "thinking": params.thinking, "timeout": params.timeout,
    });
    if let "/new" | "/reset" = params.message.trim() {
        return start_over(&app, run_id, key, params, canonical.to_string()).await;
    }
    let accepted = app
        .runs
        .submit(Submit {
            idempotency_key: run_id.clone(),
            session_key: key.clone(),
            message: params.message.clone(),
            kind: RunKind::Agent,
            params_canonical_json: canonical.to_string(),
            options: RunOptions {
                thinking: params.thinking.clone(),
                timeout: params.timeout.filter(|s| *s > 0).map(Duration::from_secs),
                system_prompt: params.extra_system_prompt.clone(),
                ..RunOptions::default()
            },
        })
        .await
        .map_err(|error| shape::run_error("agent", error))?;
    match accepted.status {
        SubmitStatus::Ok(outcome) | SubmitStatus::Error(outcome) => return result(outcome),
        SubmitStatus::Started | SubmitStatus::InFlight => {}
    }
    call.replier.accept(&AgentReply {
        run_id: accepted.run_id.to_string(),
        status: "accepted".to_owned(),
        accepted_at: Some(accepted.accepted_at),
        session_key: Some(key.to_string()),
        agent_id: Some(key.agent_id().to_owned()),
        ..AgentReply::default()
    });
    // Later calls about the session need not wait for the answer.
    drop(call.turn);
    loop {
        let outcome = app.runs.wait(&run_id, WAIT_STEP).await;
        if let Some(outcome) = outcome.map_err(|error| shape::run_error("agent", error))? {
            return result(outcome);
        }
        if app.runs.is_active(&run_id).await {
            continue;
        }
        // It ended between the two questions, or its end could not be stored.
        let outcome = app.runs.wait(&run_id, Duration::ZERO).await;
        return match outcome.map_err(|error| shape::run_error("agent", error))? {
            Some(outcome) => result(outcome),
            None if app.drain.is_cancelled() => Err(RpcError::unavailable(STOPPING).into()),
            None => Err(RpcError::unavailable(LOST).into()),
        };
    }
}

/// `/new` and `/reset`, once a key.
async fn start_over(
    app: &App,
    run_id: RunId,
    key: SessionKey,
    params: &AgentParams,
    canonical: String,
) -> Result<AgentReply, Failure> {
    let failed = |error| shape::run_error("agent", error);
    let command = CommandSubmit {
        idempotency_key: run_id.clone(),
        session_key: key,
        kind: RunKind::Agent,
        params_canonical_json: canonical,
        message: Some(params.message.clone()),
        effect: CommandEffect::Reset,
        answer: slash::new_session_text().to_owned(),
    };
    app.runs.command(command).await.map_err(failed)?;
    let outcome = app.runs.wait(&run_id, Duration::ZERO).await;
    match outcome.map_err(failed)? {
        Some(outcome) => result(outcome),
        None => Err(RpcError::unavailable(LOST).into()),
    }
}

/// The last answer of `agent`.
fn result(outcome: RunOutcome) -> Result<AgentReply, Failure> {
    let run_id = outcome.run_id.to_string();
    if matches!(outcome.state, RunState::Error | RunState::Interrupted) {
        let words = outcome.error.unwrap_or_else(|| {
            "the gateway stopped in the middle of the answer; send the message again".to_owned()
        });
        return Err(Failure {
            error: Box::new(RpcError::unavailable(words.clone())),
            payload: json!({"runId": run_id, "status": "error", "summary": words}),
        });
    }
    let payloads = if outcome.text.is_empty() {
        json!([])
    } else {
        json!([{"text": outcome.text, "mediaUrl": null}])
    };
    let is_aborted = outcome.state == RunState::Aborted;
    let duration = outcome.ended_at.zip(outcome.started_at);
    let meta = json!({
        "durationMs": duration.map(|(end, start)| end - start),
        "agentMeta": {
            "sessionId": outcome.session_id,
            "provider": outcome.provider,
            "model": outcome.model,
            "usage": outcome.usage.as_ref().map(usage),
        },
        "aborted": is_aborted,
        "stopReason": outcome.stop_reason,
    });
    Ok(AgentReply {
        run_id,
        status: "ok".to_owned(),
        summary: Some(if is_aborted { "aborted" } else { "completed" }.to_owned()),
        result: Some(json!({"payloads": payloads, "meta": meta})),
        ..AgentReply::default()
    })
}

/// Tokens as `agentMeta` shows them: as elsewhere, but with the sum under another name.
fn usage(usage: &Usage) -> Value {
    let mut shown = shape::usage_shape(usage);
    shown["total"] = shown["totalTokens"].take();
    if let Some(shown) = shown.as_object_mut() {
        shown.remove("totalTokens");
    }
    shown
}

async fn wait(app: App, call: Call<AgentWait>) -> Result<AgentWaitReply, Failure> {
    let asked = call.params.timeout_ms.map(Duration::from_millis);
    let timeout = asked.unwrap_or(DEFAULT_WAIT).min(MAX_WAIT);
    let outcome = match RunId::parse(&call.params.run_id) {
        Ok(run_id) => {
            let waited = app.runs.wait(&run_id, timeout).await;
            waited.map_err(|error| shape::run_error("agent.wait", error))?
        }
        Err(_) => None,
    };
    let run_id = call.params.run_id.clone();
    let Some(outcome) = outcome else {
        return Ok(AgentWaitReply {
            run_id,
            status: "timeout".to_owned(),
            ..AgentWaitReply::default()
        });
    };
    let mut more = Map::new();
    if let Some(reason) = &outcome.stop_reason {
        more.insert("stopReason".into(), json!(reason));
    }
    if !outcome.text.is_empty() {
        let reply: Value = json!({"disposition": "visible", "text": outcome.text});
        more.insert("terminalReply".into(), reply);
    }
    let (status, error) = match outcome.state {
        RunState::Done => ("ok", None),
        RunState::Aborted => ("error", Some("aborted".to_owned())),
        RunState::Error | RunState::Interrupted | RunState::Accepted | RunState::Given => {
            let words = outcome.error.unwrap_or_else(|| "interrupted".to_owned());
            ("error", Some(words))
        }
    };
    Ok(AgentWaitReply {
        run_id,
        status: status.to_owned(),
        started_at: outcome.started_at,
        ended_at: outcome.ended_at,
        error,
        more,
    })
}
