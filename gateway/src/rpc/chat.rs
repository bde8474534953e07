//! `chat.*`: reading, sending and stopping in one session.

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
use crate::sessions::{HistoryDelta, Message, NewMessage, Role, Session, SessionKey, Span};
use crate::shape::{self, RowParts};
use crate::state::App;
use crate::store::now_ms;

/// Characters of the label of a note.
const MAX_NOTE_LABEL: usize = 100;
/// A page of history stays below this, in bytes of text; older messages are left for the next page.
const MAX_PAGE_BYTES: usize = 6 * 1024 * 1024;

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
    let mut page = app
        .sessions
        .history(&key, span, limit.unwrap_or_default())
        .await
        .map_err(shape::session_error)?;
    let left_out = trim(&mut page.messages);
    let has_more = page.has_more || left_out;
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
        thinking_level: session.and_then(|s| s.settings.thinking_level.clone()),
        verbose_level: session.and_then(|s| s.settings.verbose_level.clone()),
        delta_cursor: page.delta_cursor,
        next_offset: has_more.then(|| skipped.saturating_add(shown)),
        has_more: Some(has_more),
        total_messages: Some(page.total),
        more,
    })
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
    // Messages cannot be left out of the middle: what is too large is read again, page by page.
    let is_too_large = |messages: &[Message]| {
        messages.iter().map(|m| m.text().len()).sum::<usize>() > MAX_PAGE_BYTES
    };
    let delta = match delta.map_err(shape::session_error)? {
        HistoryDelta::Delta { messages, .. } if is_too_large(&messages) => HistoryDelta::Reset,
        delta => delta,
    };
    match delta {
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
        let row = shape::session_row(session, app.runs.models(), RowParts::ALL);
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

/// Leaves the oldest messages out of a page that is too large; at least the newest stays.
fn trim(messages: &mut Vec<Message>) -> bool {
    let mut bytes = 0;
    let keep = messages
        .iter()
        .rev()
        .take_while(|message| {
            bytes += message.text().len();
            bytes <= MAX_PAGE_BYTES
        })
        .count();
    let surplus = messages.len() - keep.max(1).min(messages.len());
    messages.drain(..surplus);
    surplus > 0
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sessions::{Part, Role};

    fn message(seq: i64, bytes: usize) -> Message {
        Message {
            id: seq.to_string(),
            session_id: "s".into(),
            seq,
            role: Role::User,
            content: vec![Part::text("x".repeat(bytes))],
            timestamp: seq,
            run_id: None,
            provider: None,
            model: None,
            stop_reason: None,
            usage: None,
            aborted: false,
            interrupted: false,
            error: None,
            aside: false,
        }
    }

    #[test]
    fn a_page_that_is_too_large_loses_its_oldest_messages_and_never_its_newest() {
        let third = MAX_PAGE_BYTES / 3 + 1;
        let mut page: Vec<Message> = (1..=5).map(|seq| message(seq, third)).collect();
        assert!(trim(&mut page));
        assert_eq!(page.iter().map(|m| m.seq).collect::<Vec<_>>(), [4, 5]);
        let mut huge = vec![message(1, 1), message(2, MAX_PAGE_BYTES * 2)];
        assert!(trim(&mut huge));
        assert_eq!(huge[0].seq, 2);
        let mut empty = Vec::new();
        assert!(!trim(&mut empty));
    }
}
