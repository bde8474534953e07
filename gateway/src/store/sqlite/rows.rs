//! Rows to values and back.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::StoreError;
use crate::runs::{Run, RunId, RunKind, RunState};
use crate::sessions::{LastRun, Message, Role, Session, SessionKey, Usage};

macro_rules! session_columns {
    () => {
        "key, session_id, agent_id, revision, label, archived, pinned, created_at, updated_at, \
         settings, input_tokens, output_tokens, total_tokens, context_tokens, last_run_id, \
         last_run_state, last_run_started_at, last_run_ended_at, last_run_provider, \
         last_run_model, title, preview, message_count, cost_nanos, unpriced_runs"
    };
}

macro_rules! message_columns {
    () => {
        "id, session_id, seq, role, content, timestamp, run_id, provider, model, stop_reason, \
         usage, aborted, interrupted, error, aside"
    };
}

macro_rules! run_columns {
    () => {
        "run_id, session_key, session_id, kind, body_hash, state, options, user_seq, answer, \
         error, stop_reason, usage, provider, model, created_at, updated_at, started_at, ended_at"
    };
}

pub(super) use {message_columns, run_columns, session_columns};

pub(super) fn session(row: &SqliteRow) -> Result<Session, StoreError> {
    let key: String = row.try_get("key")?;
    let last_run_id: Option<String> = row.try_get("last_run_id")?;
    let last_run = match last_run_id {
        None => None,
        Some(run_id) => Some(LastRun {
            run_id,
            state: row
                .try_get::<Option<String>, _>("last_run_state")?
                .unwrap_or_default(),
            started_at: row.try_get("last_run_started_at")?,
            ended_at: row.try_get("last_run_ended_at")?,
            provider: row.try_get("last_run_provider")?,
            model: row.try_get("last_run_model")?,
        }),
    };
    Ok(Session {
        key: SessionKey::parse(&key).map_err(|error| bad("session", error))?,
        session_id: row.try_get("session_id")?,
        revision: row.try_get("revision")?,
        label: row.try_get("label")?,
        archived: row.try_get::<i64, _>("archived")? != 0,
        pinned: row.try_get::<i64, _>("pinned")? != 0,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
        settings: from_json("session", row.try_get("settings")?)?,
        tokens: Usage {
            input: row.try_get("input_tokens")?,
            output: row.try_get("output_tokens")?,
            total: row.try_get("total_tokens")?,
            ..Usage::default()
        },
        cost_nanos: match row.try_get::<i64, _>("unpriced_runs")? {
            0 => Some(row.try_get("cost_nanos")?),
            _ => None,
        },
        context_tokens: row.try_get("context_tokens")?,
        last_run,
        title: row.try_get("title")?,
        preview: row.try_get("preview")?,
        message_count: row.try_get("message_count")?,
    })
}

pub(super) fn message(row: &SqliteRow) -> Result<Message, StoreError> {
    let role: String = row.try_get("role")?;
    Ok(Message {
        id: row.try_get("id")?,
        session_id: row.try_get("session_id")?,
        seq: row.try_get("seq")?,
        role: Role::parse(&role).ok_or_else(|| bad("message", format!("role {role:?}")))?,
        content: from_json("message", row.try_get("content")?)?,
        timestamp: row.try_get("timestamp")?,
        run_id: row.try_get("run_id")?,
        provider: row.try_get("provider")?,
        model: row.try_get("model")?,
        stop_reason: row.try_get("stop_reason")?,
        usage: optional_json("message", row.try_get("usage")?)?,
        aborted: row.try_get::<i64, _>("aborted")? != 0,
        interrupted: row.try_get::<i64, _>("interrupted")? != 0,
        error: row.try_get("error")?,
        aside: row.try_get::<i64, _>("aside")? != 0,
    })
}

pub(super) fn run(row: &SqliteRow) -> Result<Run, StoreError> {
    let run_id: String = row.try_get("run_id")?;
    let key: String = row.try_get("session_key")?;
    let kind: String = row.try_get("kind")?;
    let state: String = row.try_get("state")?;
    Ok(Run {
        run_id: RunId::parse(&run_id).map_err(|error| bad("run", error))?,
        session_key: SessionKey::parse(&key).map_err(|error| bad("run", error))?,
        session_id: row.try_get("session_id")?,
        kind: RunKind::parse(&kind).ok_or_else(|| bad("run", format!("kind {kind:?}")))?,
        body_hash: hash(row.try_get("body_hash")?)?,
        state: RunState::parse(&state).ok_or_else(|| bad("run", format!("state {state:?}")))?,
        options: from_json("run", row.try_get("options")?)?,
        user_seq: row.try_get("user_seq")?,
        text: row.try_get("answer")?,
        error: row.try_get("error")?,
        stop_reason: row.try_get("stop_reason")?,
        usage: optional_json("run", row.try_get("usage")?)?,
        provider: row.try_get("provider")?,
        model: row.try_get("model")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
        started_at: row.try_get("started_at")?,
        ended_at: row.try_get("ended_at")?,
    })
}

pub(super) fn bad(what: &'static str, detail: impl ToString) -> StoreError {
    StoreError::BadRow {
        what,
        detail: detail.to_string(),
    }
}

pub(super) fn from_json<T: DeserializeOwned>(
    what: &'static str,
    text: String,
) -> Result<T, StoreError> {
    serde_json::from_str(&text).map_err(|error| bad(what, error))
}

fn optional_json<T: DeserializeOwned>(
    what: &'static str,
    text: Option<String>,
) -> Result<Option<T>, StoreError> {
    text.map(|text| from_json(what, text)).transpose()
}

pub(super) fn to_json<T: Serialize>(what: &'static str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| bad(what, error))
}

pub(super) fn hex(hash: &[u8; 32]) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(64);
    for byte in hash {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

fn hash(text: String) -> Result<[u8; 32], StoreError> {
    let mut out = [0; 32];
    let good = text.len() == 64 && text.is_ascii();
    for (at, byte) in out.iter_mut().enumerate() {
        *byte = good
            .then(|| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).ok())
            .flatten()
            .ok_or_else(|| bad("run", "its hash"))?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_survives_and_other_text_is_refused() {
        let bytes: [u8; 32] = std::array::from_fn(|at| at as u8 * 7);
        assert_eq!(hash(hex(&bytes)).unwrap(), bytes);
        assert!(hash("zz".repeat(32)).is_err());
        assert!(hash("é".repeat(32)).is_err());
        assert!(hash(String::new()).is_err());
    }
}
