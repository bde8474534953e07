//! `chat.*`: reading, sending and stopping in one session.

use std::time::Duration;

use clawline::protocol::error::RpcError;
use clawline::protocol::event::{ChatEvent, ChatState};
use clawline::protocol::methods::chat::{
    ChatAbort, ChatAbortReply, ChatHistory, ChatHistoryReply, ChatMessage, ChatSend, ChatSendReply,
};
use clawline::protocol::scope::Scope;
use serde_json::{Map, Value, json};

use super::{Call, Failure, Table};
use crate::conn::{Conn, Push, Topic};
use crate::runs::{RunId, RunKind, RunOptions, Submit, SubmitStatus};
use crate::sessions::{HistoryDelta, Message, Session, SessionKey, Span};
use crate::shape::{self, RowParts};
use crate::state::App;
use crate::store::now_ms;

/// A page of history stays below this, in bytes of text; older messages are left for the next page.
const MAX_PAGE_BYTES: usize = 6 * 1024 * 1024;

pub(crate) fn rows(table: Table) -> Table {
    table
        .on_in_order::<ChatHistory, _>(|app, p| app.lane(&p.session_key), history)
        .on_in_order::<ChatSend, _>(|app, p| app.lane(&p.session_key), send)
        .on::<ChatAbort, _>(abort)
}

async fn history(app: App, call: Call<ChatHistory>) -> Result<ChatHistoryReply, Failure> {
    let _page = call.conn.page().await;
    let params = &call.params;
    let key = app.session_key(&params.session_key)?;
    if let Some(cursor) = params.cursor.as_deref().filter(|c| !c.is_empty()) {
        return since(&app, &key, &params.session_key, cursor).await;
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
    more.extend(about(&app, &key, session));
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

async fn send(app: App, call: Call<ChatSend>) -> Result<ChatSendReply, Failure> {
    let params = &call.params;
    let key = app.session_key(&params.session_key)?;
    let run_id = RunId::parse(&params.idempotency_key)
        .map_err(|error| RpcError::invalid_params("chat.send", error))?;
    refuse_attachments(params.attachments.as_deref())?;
    let outgoing = Outgoing {
        key,
        message: params.message.clone(),
        run_id,
        thinking: params.thinking.clone(),
        timeout_ms: params.timeout_ms,
    };
    submit(&app, &call.conn, "chat.send", outgoing).await
}

/// Files cannot be given to the model yet; leaving them out silently would be a lie.
pub(super) fn refuse_attachments(attachments: Option<&[Value]>) -> Result<(), Failure> {
    match attachments {
        None | Some([]) => Ok(()),
        Some(_) => Err(RpcError::invalid(
            "attachments are not taken by this gateway yet; send the text alone",
        )
        .into()),
    }
}

/// A message on its way to a session.
pub(super) struct Outgoing {
    pub(super) key: SessionKey,
    pub(super) message: String,
    pub(super) run_id: RunId,
    pub(super) thinking: Option<String>,
    pub(super) timeout_ms: Option<u64>,
}

/// Commits a message, or carries out the command that it is.
pub(super) async fn submit(
    app: &App,
    conn: &Conn,
    method: &'static str,
    outgoing: Outgoing,
) -> Result<ChatSendReply, Failure> {
    match outgoing.message.trim() {
        "/stop" => return stop(app, outgoing).await,
        "/new" | "/reset" => return start_over(app, conn, outgoing).await,
        _ => {}
    }
    let Outgoing {
        key,
        message,
        run_id,
        thinking,
        timeout_ms,
    } = outgoing;
    conn.takes_part(key.as_str());
    let canonical = json!({
        "message": message, "sessionKey": key.as_str(), "thinking": thinking,
        "timeoutMs": timeout_ms,
    });
    let accepted = app
        .runs
        .submit(Submit {
            idempotency_key: run_id,
            session_key: key,
            message,
            kind: RunKind::Chat,
            params_canonical_json: canonical.to_string(),
            options: RunOptions {
                thinking,
                timeout: timeout_ms.filter(|ms| *ms > 0).map(Duration::from_millis),
                ..RunOptions::default()
            },
        })
        .await
        .map_err(|error| shape::run_error(method, error))?;
    let (status, summary) = match accepted.status {
        SubmitStatus::Started => ("started", None),
        SubmitStatus::InFlight => ("in_flight", None),
        SubmitStatus::Ok(_) => ("ok", None),
        SubmitStatus::Error(outcome) => (
            "error",
            outcome.error.or_else(|| Some("interrupted".to_owned())),
        ),
    };
    Ok(ChatSendReply {
        run_id: accepted.run_id.to_string(),
        status: status.to_owned(),
        summary,
        more: Map::new(),
    })
}

async fn stop(app: &App, outgoing: Outgoing) -> Result<ChatSendReply, Failure> {
    let stopped = app.runs.abort(&outgoing.key, None).await;
    let stopped = stopped.map_err(|error| shape::run_error("chat.send", error))?;
    let run_ids: Vec<&str> = stopped.iter().map(RunId::as_str).collect();
    let mut more = Map::new();
    more.insert("ok".into(), json!(true));
    more.insert("aborted".into(), json!(!run_ids.is_empty()));
    more.insert("runIds".into(), json!(run_ids));
    Ok(ChatSendReply {
        run_id: outgoing.run_id.to_string(),
        status: "ok".to_owned(),
        summary: None,
        more,
    })
}

/// `/new` and `/reset` do what `sessions.reset` does, and need what it needs.
async fn start_over(app: &App, conn: &Conn, outgoing: Outgoing) -> Result<ChatSendReply, Failure> {
    if !conn.principal.scopes.grants(Scope::Admin) {
        return Err(RpcError::missing_scope(Scope::Admin.as_str()).into());
    }
    super::sessions::start_over(app, &outgoing.key).await?;
    // Clients wait for a run's end; this one ends at once and says so.
    let at = now_ms();
    let event = ChatEvent {
        run_id: outgoing.run_id.to_string(),
        session_key: outgoing.key.to_string(),
        seq: 1,
        state: ChatState::Final,
        agent_id: Some(outgoing.key.agent_id().to_owned()),
        phase: None,
        delta_text: None,
        replace: None,
        message: Some(ChatMessage::text_message(
            "assistant",
            "New session started.",
            at,
        )),
        usage: None,
        stop_reason: None,
        error_message: None,
    };
    conn.takes_part(outgoing.key.as_str());
    let push = Push::plain("chat", &event);
    let key = outgoing.key.as_str();
    app.registry.broadcast_session(&push, Topic::Run, key);
    Ok(ChatSendReply {
        run_id: outgoing.run_id.to_string(),
        status: "started".to_owned(),
        summary: None,
        more: Map::new(),
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
