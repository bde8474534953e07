//! `chat.*`: reading, sending and stopping in one session.

use clawline::protocol::Protocol;
use clawline::protocol::error::RpcError;
use clawline::protocol::event::{ChatEvent, ChatState};
use clawline::protocol::methods::chat::{
    ChatAbort, ChatAbortReply, ChatHistory, ChatHistoryParams, ChatHistoryReply, ChatInject,
    ChatInjectReply, ChatMetadata, ChatMetadataReply, ChatStartup,
};
use serde_json::{Map, Value, json};

use super::{Call, Failure, Table, agents, chat_send};
use crate::conn::{Conn, Push, Topic};
use crate::runs::{INJECTED_MODEL, INJECTED_PROVIDER, RunId};
use crate::sessions::{HistoryDelta, NewMessage, Role, Session, SessionKey, Span};
use crate::shape::{self, RowParts};
use crate::state::App;
use crate::store::now_ms;

/// Characters of the label of a note.
const MAX_NOTE_LABEL: usize = 100;

pub(crate) fn rows(table: Table) -> Table {
    table
        .on_in_order::<ChatHistory, _>(lane, history)
        .on_in_order::<ChatStartup, _>(lane, startup)
        .on_in_order::<ChatInject, _>(|app, p| app.lane(&p.session_key), inject)
        .on::<ChatMetadata, _>(metadata)
        .on::<ChatAbort, _>(abort)
}

fn lane(app: &App, params: &ChatHistoryParams) -> Option<String> {
    app.lane_of(&params.session_key, params.agent_id.as_deref())
}

async fn history(app: App, call: Call<ChatHistory>) -> Result<ChatHistoryReply, Failure> {
    page(&app, &call.conn, &call.params).await
}

async fn page(
    app: &App,
    conn: &Conn,
    params: &ChatHistoryParams,
) -> Result<ChatHistoryReply, Failure> {
    let _page = conn.page().await;
    let key = app.session_key_of(&params.session_key, params.agent_id.as_deref())?;
    if let Some(cursor) = params.cursor.as_deref().filter(|c| !c.is_empty()) {
        return since(app, &key, &params.session_key, cursor).await;
    }
    let limit = params.limit.and_then(|n| usize::try_from(n).ok());
    let span = params.offset.map_or(Span::Last, Span::Skip);
    let page = app
        .sessions
        .history(&key, span, limit.unwrap_or_default())
        .await
        .map_err(shape::session_error)?;
    let has_more = page.has_more;
    let skipped = params.offset.unwrap_or(0);
    let shown = u64::try_from(page.messages.len()).unwrap_or(u64::MAX);
    let mut more = Map::new();
    more.insert("defaults".into(), json!(shape::defaults(app.runs.models())));
    more.insert("pendingInputs".into(), json!({"items": [], "total": 0}));
    let session = page.session.as_ref();
    more.extend(about(app, &key, session));
    Ok(ChatHistoryReply {
        session_key: params.session_key.clone(),
        session_id: session.map(|session| session.session_id.clone()),
        messages: page.messages.iter().map(shape::message).collect(),
        thinking_level: thinking_level(conn, session),
        verbose_level: session.and_then(|s| s.settings.verbose_level.clone()),
        delta_cursor: page.delta_cursor,
        next_offset: has_more.then(|| skipped.saturating_add(shown)),
        has_more: Some(has_more),
        total_messages: Some(page.total),
        more,
    })
}

/// The level that was chosen; version 3 is told too that none was.
fn thinking_level(conn: &Conn, session: Option<&Session>) -> Option<String> {
    let chosen = session.and_then(|session| session.settings.thinking_level.clone());
    match conn.version {
        Protocol::V3 => chosen.or_else(|| Some("off".to_owned())),
        Protocol::V4 => chosen,
    }
}

/// What came after a cursor, or the word to read the page again.
async fn since(
    app: &App,
    key: &SessionKey,
    asked: &str,
    cursor: &str,
) -> Result<ChatHistoryReply, Failure> {
    let delta = app.sessions.history_since(key, cursor).await;
    let mut more = Map::new();
    let base = ChatHistoryReply {
        session_key: asked.to_owned(),
        ..ChatHistoryReply::default()
    };
    match delta.map_err(shape::session_error)? {
        HistoryDelta::Reset => {
            more.insert("kind".into(), json!("reset"));
            Ok(ChatHistoryReply { more, ..base })
        }
        HistoryDelta::Delta {
            session,
            messages,
            delta_cursor,
        } => {
            more.insert("kind".into(), json!("delta"));
            more.insert("pendingInputs".into(), json!({"items": [], "total": 0}));
            more.extend(about(app, key, Some(&session)));
            Ok(ChatHistoryReply {
                session_id: Some(session.session_id.clone()),
                messages: messages.iter().map(shape::message).collect(),
                delta_cursor: Some(delta_cursor),
                more,
                ..base
            })
        }
    }
}

/// The session's row, and what is being answered in it: who comes back in the middle of an answer
/// shows the text so far and goes on with the events.
fn about(app: &App, key: &SessionKey, session: Option<&Session>) -> Map<String, Value> {
    let mut members = Map::new();
    if let Some(session) = session {
        let row = shape::listed_session(session, &app.runs, RowParts::ALL);
        members.insert("sessionInfo".into(), json!(row));
    }
    if let Some(run) = app.runs.active(key).into_iter().find(|run| !run.queued) {
        members.insert(
            "inFlightRun".into(),
            json!({
                "runId": run.run_id.as_str(), "text": run.text, "seq": run.seq,
                "startedAt": run.started_at,
            }),
        );
    }
    members
}

/// History and choices in one answer, for a client that opens a session.
async fn startup(app: App, call: Call<ChatStartup>) -> Result<ChatHistoryReply, Failure> {
    let mut reply = page(&app, &call.conn, &call.params).await?;
    let metadata = agents::metadata(&app);
    reply.more.insert("metadata".into(), json!(metadata));
    Ok(reply)
}

async fn metadata(app: App, call: Call<ChatMetadata>) -> Result<ChatMetadataReply, Failure> {
    if let Some(id) = &call.params.agent_id {
        app.known_agent(id, "chat.metadata")?;
    }
    if let Some(key) = &call.params.session_key {
        app.session_key(key)?;
    }
    Ok(agents::metadata(&app))
}

/// Adds a note in the assistant's name, and tells everybody as of a run's end.
async fn inject(app: App, call: Call<ChatInject>) -> Result<ChatInjectReply, Failure> {
    let params = &call.params;
    let key = app.session_key(&params.session_key)?;
    app.known_agent(key.agent_id(), "chat.inject")?;
    chat_send::refuse_nul(&params.message)?;
    let invalid = |why: &str| Failure::from(RpcError::invalid_params("chat.inject", why));
    if params.message.trim().is_empty() {
        return Err(invalid("message: must not be empty"));
    }
    let label = params.label.as_deref().map(str::trim).unwrap_or_default();
    if label.chars().count() > MAX_NOTE_LABEL || label.contains(char::is_control) {
        return Err(invalid("label: at most 100 characters, on one line"));
    }
    let text = match label {
        "" => params.message.clone(),
        label => format!("[{label}]\n\n{}", params.message),
    };
    let note = NewMessage {
        provider: Some(INJECTED_PROVIDER.to_owned()),
        model: Some(INJECTED_MODEL.to_owned()),
        stop_reason: Some("stop".to_owned()),
        ..NewMessage::text(Role::Assistant, text, now_ms())
    };
    let _held = app.runs.hold(&key).await;
    let appended = app.sessions.append(&key, note).await;
    let message = appended.map_err(shape::session_error)?;
    let event = ChatEvent {
        run_id: format!("inject-{}", message.id),
        session_key: key.to_string(),
        seq: 0,
        state: ChatState::Final,
        agent_id: Some(key.agent_id().to_owned()),
        phase: None,
        delta_text: None,
        replace: None,
        message: Some(shape::message(&message)),
        usage: None,
        stop_reason: None,
        error_message: None,
    };
    let push = Push::plain("chat", &event);
    app.registry
        .broadcast_session(&push, Topic::Run, key.as_str());
    Ok(ChatInjectReply {
        ok: true,
        message_id: message.id,
    })
}

async fn abort(app: App, call: Call<ChatAbort>) -> Result<ChatAbortReply, Failure> {
    let key = app.session_key(&call.params.session_key)?;
    let stopped = match &call.params.run_id {
        None => app.runs.abort(&key, None).await,
        Some(text) => match RunId::parse(text) {
            Ok(run_id) => app.runs.abort(&key, Some(&run_id)).await,
            Err(_) => Ok(Vec::new()),
        },
    };
    let stopped = stopped.map_err(|error| shape::run_error("chat.abort", error))?;
    Ok(ChatAbortReply {
        ok: true,
        aborted: !stopped.is_empty(),
        run_ids: stopped.iter().map(ToString::to_string).collect(),
    })
}
