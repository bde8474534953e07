//! `sessions.*`: lists, rows, settings, and who is told about changes.

use std::path::Path;

use clawline::protocol::Protocol;
use clawline::protocol::error::RpcError;
use clawline::protocol::methods::sessions::{
    ModelDefaults, SessionsCompact, SessionsCompactReply, SessionsDelete, SessionsDeleteReply,
    SessionsDescribe, SessionsDescribeReply, SessionsList, SessionsListParams, SessionsListReply,
    SessionsMessagesSubscribe, SessionsMessagesUnsubscribe, SessionsPatch, SessionsPatchReply,
    SessionsReset, SessionsResetReply, SessionsSubscribe, SubscribedReply, Which,
};
use serde_json::{Map, Value};

use super::{Call, Failure, Table, slash};
use crate::sessions::{
    AgentId, Archived, Change, ListQuery, MAX_LIST_LIMIT, Session, SessionKey, SessionPatch,
};
use crate::shape::{self, RowParts};
use crate::state::App;
use crate::store::now_ms;
use crate::whereabouts::Whereabouts;

/// What `sessions.compact` keeps when the caller does not say: version 3 counted lines of a file.
const COMPACT_KEEP_V3: u64 = 400;
/// Longest text that sessions are looked for by: as long as a label.
const MAX_SEARCH_CHARS: usize = 512;

pub(crate) fn rows(table: Table) -> Table {
    table
        .on::<SessionsList, _>(list)
        .on::<SessionsSubscribe, _>(subscribe)
        .on_in_order::<SessionsDescribe, _>(|app, p| app.lane(&p.key), describe)
        .on_in_order::<SessionsPatch, _>(|app, p| app.lane(&p.key), patch)
        .on_in_order::<SessionsCompact, _>(|app, p| app.lane(&p.key), compact)
        .on_in_order::<SessionsReset, _>(|app, p| app.lane(&p.key), reset)
        .on_in_order::<SessionsDelete, _>(|app, p| app.lane(&p.key), delete)
        .on::<SessionsMessagesSubscribe, _>(messages_subscribe)
        .on::<SessionsMessagesUnsubscribe, _>(messages_unsubscribe)
}

impl App {
    /// The lane of a session as a client wrote it.
    pub(crate) fn lane(&self, key: &str) -> Option<String> {
        let key = self.sessions.resolve(key).ok()?;
        Some(key.to_string())
    }

    /// As [`App::lane`], where a bare name may belong to the agent that was named beside it.
    pub(crate) fn lane_of(&self, key: &str, agent: Option<&str>) -> Option<String> {
        Some(self.session_key_of(key, agent).ok()?.to_string())
    }

    /// As [`App::session_key`], where a bare name may belong to the agent that was named beside it.
    pub(crate) fn session_key_of(
        &self,
        key: &str,
        agent: Option<&str>,
    ) -> Result<SessionKey, Failure> {
        let Some(agent) = agent else {
            return self.session_key(key);
        };
        let agent = AgentId::parse(agent).map_err(|error| RpcError::invalid(error.to_string()))?;
        SessionKey::resolve(key, &agent)
            .map_err(|error| RpcError::invalid(error.to_string()).into())
    }

    /// The canonical key of a session as a client wrote it.
    pub(crate) fn session_key(&self, key: &str) -> Result<SessionKey, Failure> {
        Ok(self.sessions.resolve(key).map_err(shape::session_error)?)
    }
}

async fn list(app: App, call: Call<SessionsList>) -> Result<SessionsListReply, Failure> {
    let _page = call.conn.page().await;
    let told = call.whereabouts(&app);
    page(&app, &call.params, &told).await
}

/// Texts to look for are no longer than what could be found by them: what the index makes of a long one takes
/// a thousand times its memory.
fn bounded(params: &SessionsListParams) -> Result<(), Failure> {
    let texts = [
        ("search", &params.search),
        ("label", &params.label),
        ("agentId", &params.agent_id),
    ];
    let is_long = |text: &str| text.chars().count() > MAX_SEARCH_CHARS;
    for (name, text) in texts {
        if text.as_deref().is_some_and(is_long) {
            let why = format!("{name}: at most {MAX_SEARCH_CHARS} characters");
            return Err(RpcError::invalid_params("sessions.list", why).into());
        }
    }
    Ok(())
}

async fn page(
    app: &App,
    params: &SessionsListParams,
    told: &Whereabouts,
) -> Result<SessionsListReply, Failure> {
    let size = |number: Option<u64>| number.map(|n| usize::try_from(n).unwrap_or(usize::MAX));
    let minutes = |minutes: u64| i64::try_from(minutes.saturating_mul(60_000)).unwrap_or(i64::MAX);
    bounded(params)?;
    let query = ListQuery {
        limit: size(params.limit).unwrap_or_default().min(MAX_LIST_LIMIT),
        offset: size(params.offset).unwrap_or_default(),
        after: None,
        search: params.search.clone().filter(|text| !text.trim().is_empty()),
        agent_id: params.agent_id.clone(),
        active_since: params
            .active_minutes
            .map(|active| now_ms().saturating_sub(minutes(active))),
        label: params.label.clone(),
        archived: match params.archived {
            Some(Which::Archived(true)) => Archived::Only,
            Some(Which::Named(_)) => Archived::All,
            Some(Which::Archived(false)) | None => Archived::No,
        },
    };
    let found = app
        .sessions
        .list(&query)
        .await
        .map_err(shape::session_error)?;
    let parts = RowParts {
        title: params.include_derived_titles == Some(true),
        preview: params.include_last_message == Some(true),
    };
    let models = app.runs.models();
    Ok(SessionsListReply {
        ts: now_ms(),
        path: told.path(Path::new(&app.store_path)),
        count: u64::try_from(found.sessions.len()).unwrap_or(u64::MAX),
        total_count: found.is_counted.then_some(found.total),
        limit_applied: params.limit,
        next_offset: found
            .next_offset
            .and_then(|offset| u64::try_from(offset).ok()),
        has_more: Some(found.has_more),
        owners: Vec::new(),
        defaults: shape::defaults(models),
        sessions: found
            .sessions
            .iter()
            .map(|session| shape::listed_session(session, &app.runs, parts))
            .collect(),
    })
}

async fn subscribe(app: App, call: Call<SessionsSubscribe>) -> Result<SubscribedReply, Failure> {
    call.conn.subscribe_all();
    let told = call.whereabouts(&app);
    let wants_list = call.params.as_object().is_some_and(|p| !p.is_empty());
    let list = if wants_list {
        let _page = call.conn.page().await;
        let params = serde_json::from_value(call.params)
            .map_err(|error| RpcError::invalid_params("sessions.subscribe", error))?;
        Some(page(&app, &params, &told).await?)
    } else {
        None
    };
    Ok(SubscribedReply {
        subscribed: true,
        key: None,
        list,
    })
}

async fn messages_subscribe(
    app: App,
    call: Call<SessionsMessagesSubscribe>,
) -> Result<SubscribedReply, Failure> {
    follow(&app, &call.params.key, true, &call.conn)
}

async fn messages_unsubscribe(
    app: App,
    call: Call<SessionsMessagesUnsubscribe>,
) -> Result<SubscribedReply, Failure> {
    follow(&app, &call.params.key, false, &call.conn)
}

fn follow(
    app: &App,
    key: &str,
    on: bool,
    conn: &crate::conn::Conn,
) -> Result<SubscribedReply, Failure> {
    let key = app.session_key(key)?;
    conn.subscribe(key.as_str(), on);
    Ok(SubscribedReply {
        subscribed: on,
        key: Some(key.to_string()),
        list: None,
    })
}

async fn describe(
    app: App,
    call: Call<SessionsDescribe>,
) -> Result<SessionsDescribeReply, Failure> {
    let key = app.session_key(&call.params.key)?;
    let found = app
        .sessions
        .describe(&key)
        .await
        .map_err(shape::session_error)?;
    let parts = RowParts {
        title: call.params.include_derived_titles == Some(true),
        preview: call.params.include_last_message == Some(true),
    };
    Ok(SessionsDescribeReply {
        session: found.map(|session| shape::listed_session(&session, &app.runs, parts)),
    })
}

async fn patch(app: App, call: Call<SessionsPatch>) -> Result<SessionsPatchReply, Failure> {
    let told = call.whereabouts(&app);
    let key = app.session_key(&call.params.key)?;
    app.known_agent(key.agent_id(), "sessions.patch")?;
    let patch = read_patch(&app, &call.params.settings)?;
    let _held = app.runs.hold(&key).await;
    let session = app
        .sessions
        .patch(&key, patch)
        .await
        .map_err(shape::session_error)?;
    Ok(SessionsPatchReply {
        ok: true,
        path: told.path(Path::new(&app.store_path)),
        key: key.to_string(),
        entry: entry(&app, &session),
        resolved: Some(resolved(&app, &session)),
    })
}

/// Members that are understood; unknown ones are ignored, as newer clients send some.
pub(super) fn read_patch(
    app: &App,
    settings: &Map<String, Value>,
) -> Result<SessionPatch, Failure> {
    let text = |name: &str| -> Result<Change<String>, Failure> {
        match settings.get(name) {
            None => Ok(Change::Keep),
            Some(Value::Null) => Ok(Change::Clear),
            Some(Value::String(text)) => Ok(Change::Set(text.clone())),
            Some(_) => Err(RpcError::invalid_params(
                "sessions.patch",
                format!("at /{name}: must be string or null"),
            )
            .into()),
        }
    };
    let flag = |name: &str| settings.get(name).and_then(Value::as_bool);
    let patch = SessionPatch {
        label: text("label")?,
        archived: flag("archived"),
        pinned: flag("pinned"),
        thinking_level: text("thinkingLevel")?,
        verbose_level: text("verboseLevel")?,
        reasoning_level: text("reasoningLevel")?,
        response_usage: text("responseUsage")?,
        elevated_level: text("elevatedLevel")?,
        exec_host: text("execHost")?,
        exec_security: text("execSecurity")?,
        exec_ask: text("execAsk")?,
        exec_node: text("execNode")?,
        model: text("model")?,
        send_policy: text("sendPolicy")?,
        group_activation: text("groupActivation")?,
    };
    if let Change::Set(model) = &patch.model {
        app.runs
            .models()
            .find(model)
            .map_err(|error| RpcError::invalid(error.to_string()))?;
    }
    Ok(patch)
}

async fn compact(app: App, call: Call<SessionsCompact>) -> Result<SessionsCompactReply, Failure> {
    let key = app.session_key(&call.params.key)?;
    let keep = match (call.params.max_lines, call.conn.version) {
        (Some(0), _) => {
            let error = RpcError::invalid_params("sessions.compact", "maxLines: at least 1");
            return Err(error.into());
        }
        (Some(lines), _) => lines,
        (None, Protocol::V3) => COMPACT_KEEP_V3,
        (None, Protocol::V4) => slash::COMPACT_KEEP,
    };
    let done = app.runs.compact(&key, keep).await;
    let done = done.map_err(|error| shape::run_error("sessions.compact", error))?;
    let reason = match done {
        None => Some("there is no such session".to_owned()),
        Some(done) if !done.less => Some("the model sees no more than that already".to_owned()),
        Some(_) => None,
    };
    Ok(SessionsCompactReply {
        ok: true,
        key: key.to_string(),
        compacted: done.is_some_and(|done| done.less),
        kept: done.map_or(0, |done| done.kept),
        reason,
    })
}

async fn reset(app: App, call: Call<SessionsReset>) -> Result<SessionsResetReply, Failure> {
    let key = app.session_key(&call.params.key)?;
    app.known_agent(key.agent_id(), "sessions.reset")?;
    let session = app.runs.start_over(&key).await;
    let session = session.map_err(|error| shape::run_error("sessions.reset", error))?;
    Ok(SessionsResetReply {
        ok: true,
        key: key.to_string(),
        entry: entry(&app, &session),
        resolved: Some(resolved(&app, &session)),
    })
}

async fn delete(app: App, call: Call<SessionsDelete>) -> Result<SessionsDeleteReply, Failure> {
    let key = app.session_key(&call.params.key)?;
    if call.params.archived_only == Some(true) {
        let found = app.sessions.describe(&key).await;
        let found = found.map_err(shape::session_error)?;
        if found.is_some_and(|session| !session.archived) {
            let error = format!("Session is not archived: {key}");
            return Err(RpcError::invalid(error).into());
        }
    }
    // Official gateways put transcripts aside unless told to keep them in place.
    let with_transcript = call.params.delete_transcript.unwrap_or(true);
    let done = app.runs.delete(&key, with_transcript).await;
    let done = done.map_err(|error| shape::run_error("sessions.delete", error))?;
    Ok(SessionsDeleteReply {
        ok: true,
        key: key.to_string(),
        deleted: done.deleted,
        archived: done.archived,
    })
}

pub(super) fn resolved(app: &App, session: &Session) -> ModelDefaults {
    let models = app.runs.models();
    let chosen = session.settings.model.as_deref();
    let (provider, model) = models.resolve(chosen, session.key.agent_id());
    ModelDefaults {
        context_tokens: models
            .context_window(&provider, &model)
            .and_then(|n| u64::try_from(n).ok()),
        model_provider: Some(provider),
        model: Some(model),
    }
}

/// The row as `entry`, which has no key of its own.
pub(super) fn entry(app: &App, session: &Session) -> Map<String, Value> {
    let row = shape::listed_session(session, &app.runs, RowParts::default());
    match serde_json::to_value(row) {
        Ok(Value::Object(mut entry)) => {
            entry.remove("key");
            entry
        }
        _ => Map::new(),
    }
}
