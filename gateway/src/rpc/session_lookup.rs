//! `sessions.preview`, `sessions.resolve` and `sessions.search`: a glance at sessions, and finding one.

use clawline::protocol::error::RpcError;
use clawline::protocol::methods::sessions::{
    SearchHit, SessionsPreview, SessionsResolve, SessionsSearch, SessionsSearchReply,
};
use serde_json::{Value, json};

use super::{Call, Failure, Table};
use crate::sessions::{DEFAULT_SEARCH_LIMIT, MAX_SEARCH_LIMIT, SearchQuery, Span, score, snippet};
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
/// Characters of a query, and sessions that it can be held to.
const MAX_QUERY_CHARS: usize = 4096;
const MAX_SEARCHED_KEYS: usize = 200;

pub(crate) fn rows(table: Table) -> Table {
    table
        .on::<SessionsPreview, _>(preview)
        .on::<SessionsResolve, _>(resolve)
        .on::<SessionsSearch, _>(search)
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

async fn search(app: App, call: Call<SessionsSearch>) -> Result<SessionsSearchReply, Failure> {
    let _page = call.conn.page().await;
    let params = &call.params;
    let invalid = |why: &str| Failure::from(RpcError::invalid_params("sessions.search", why));
    if !(1..=MAX_QUERY_CHARS).contains(&params.query.chars().count()) {
        return Err(invalid("query: 1 to 4096 characters"));
    }
    let limit = params.limit.and_then(|n| usize::try_from(n).ok());
    let limit = limit.unwrap_or(DEFAULT_SEARCH_LIMIT);
    if !(1..=MAX_SEARCH_LIMIT).contains(&limit) {
        return Err(invalid("limit: 1 to 25"));
    }
    let keys = params.session_keys.as_deref().unwrap_or_default();
    if keys.len() > MAX_SEARCHED_KEYS {
        return Err(invalid("sessionKeys: at most 200"));
    }
    let keys = keys.iter().map(|key| app.session_key(key));
    let query = SearchQuery {
        words: SearchQuery::words_of(&params.query),
        agent_id: params.agent_id.clone(),
        keys: keys.collect::<Result<_, _>>()?,
    };
    let found = app.sessions.search(&query).await;
    let found = found.map_err(shape::session_error)?;
    let mut results: Vec<SearchHit> = found
        .messages
        .iter()
        .map(|(key, message)| {
            let text = message.text();
            SearchHit {
                session_key: key.to_string(),
                session_id: message.session_id.clone(),
                message_id: message.id.clone(),
                role: message.role.as_str().to_owned(),
                timestamp: message.timestamp,
                snippet: snippet(&text, &query.words),
                score: score(&text, &query.words),
            }
        })
        .collect();
    // Stable: of equals, the newest stays first.
    results.sort_by(|a, b| b.score.total_cmp(&a.score));
    let truncated = found.truncated || results.len() > limit;
    results.truncate(limit);
    Ok(SessionsSearchReply {
        results,
        truncated: truncated.then_some(true),
    })
}
