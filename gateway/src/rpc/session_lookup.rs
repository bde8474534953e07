//! `sessions.preview` and `sessions.resolve`: a glance at sessions, and finding one by another name.

use clawline::protocol::error::RpcError;
use clawline::protocol::methods::sessions::{SessionsPreview, SessionsResolve};
use serde_json::{Value, json};

use super::{Call, Failure, Table};
use crate::sessions::Span;
use crate::shape;
use crate::state::App;
use crate::store::now_ms;

/// Sessions in one `sessions.preview`.
const MAX_PREVIEWS: usize = 100;
/// Messages and characters of a preview when the caller does not say.
const PREVIEW_MESSAGES: usize = 12;
const PREVIEW_CHARS: usize = 240;
/// Fewest characters of a preview that make sense, and most.
const MIN_PREVIEW_CHARS: usize = 20;
const MAX_PREVIEW_CHARS: usize = 2000;

pub(crate) fn rows(table: Table) -> Table {
    table
        .on::<SessionsPreview, _>(preview)
        .on::<SessionsResolve, _>(resolve)
}

async fn preview(app: App, call: Call<SessionsPreview>) -> Result<Value, Failure> {
    let _page = call.conn.page().await;
    let limit = call.params.limit.and_then(|n| usize::try_from(n).ok());
    let limit = limit
        .unwrap_or(PREVIEW_MESSAGES)
        .clamp(1, PREVIEW_MESSAGES * 4);
    let chars = call.params.max_chars.and_then(|n| usize::try_from(n).ok());
    let chars = chars
        .unwrap_or(PREVIEW_CHARS)
        .clamp(MIN_PREVIEW_CHARS, MAX_PREVIEW_CHARS);
    let mut previews = Vec::new();
    for text in call.params.keys.iter().take(MAX_PREVIEWS) {
        let found = match app.sessions.resolve(text) {
            Ok(key) => app.sessions.history(&key, Span::Last, limit).await,
            Err(error) => Err(error),
        };
        let (status, items) = match found {
            Err(_) => ("error", Vec::new()),
            Ok(history) if history.session.is_none() => ("missing", Vec::new()),
            Ok(history) if history.messages.is_empty() => ("empty", Vec::new()),
            Ok(history) => {
                let items = history.messages.iter().map(|message| {
                    json!({"role": message.role.as_str(), "text": shortened(&message.text(), chars)})
                });
                ("ok", items.collect())
            }
        };
        previews.push(json!({"key": text, "status": status, "items": items}));
    }
    Ok(json!({"ts": now_ms(), "previews": previews}))
}

fn shortened(text: &str, chars: usize) -> String {
    if text.chars().count() <= chars {
        return text.to_owned();
    }
    let cut: String = text.chars().take(chars - 3).collect();
    format!("{cut}...")
}

async fn resolve(app: App, call: Call<SessionsResolve>) -> Result<Value, Failure> {
    let params = &call.params;
    let (found, asked) = match (&params.key, &params.session_id, &params.label) {
        (Some(key), _, _) => {
            let canonical = app.session_key(key)?;
            (app.sessions.describe(&canonical).await, key)
        }
        (None, Some(id), _) => (app.sessions.by_session_id(id).await, id),
        (None, None, Some(label)) => {
            let agent = params.agent_id.as_deref();
            (app.sessions.by_label(label, agent).await, label)
        }
        (None, None, None) => {
            let error = "one of key, sessionId and label is needed";
            return Err(RpcError::invalid_params("sessions.resolve", error).into());
        }
    };
    let session = found.map_err(shape::session_error)?.ok_or_else(|| {
        let asked = clawline::layer::printable(asked, 200);
        RpcError::invalid(format!("No session found: {asked}"))
    })?;
    Ok(json!({"ok": true, "key": session.key.as_str(), "agentId": session.key.agent_id()}))
}
