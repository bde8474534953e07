//! Sessions and transcripts in SQL.

use async_trait::async_trait;
use sqlx::{Row, SqliteConnection};

use super::rows::{self, message_columns, session_columns};
use super::{Db, StoreError, pages, runs, search};
use crate::sessions::{
    AgentId, Deleted, Finds, ListQuery, Message, NewMessage, Role, SearchQuery, Session,
    SessionKey, SessionPage, SessionPatch, Settings, Span, text_of,
};
use crate::store::{EndedRun, RunEnd, SessionStore};

/// Characters of the first message that make a title.
const TITLE_CHARS: usize = 80;
/// Characters of the last message that are shown in a list.
const PREVIEW_CHARS: usize = 200;

type Result<T> = std::result::Result<T, StoreError>;

#[async_trait]
impl SessionStore for Db {
    async fn get(&self, key: &SessionKey) -> Result<Option<Session>> {
        let one = sqlx::query(concat!(
            "SELECT ",
            session_columns!(),
            " FROM sessions WHERE key = $1"
        ));
        self.one(one.bind(key.as_str()), rows::session).await
    }

    async fn by_session_id(&self, session_id: &str) -> Result<Option<Session>> {
        let one = sqlx::query(concat!(
            "SELECT ",
            session_columns!(),
            " FROM sessions WHERE session_id = $1"
        ));
        self.one(one.bind(session_id), rows::session).await
    }

    async fn by_label(&self, label: &str, agent: Option<&str>) -> Result<Option<Session>> {
        let one = sqlx::query(concat!(
            "SELECT ",
            session_columns!(),
            " FROM sessions WHERE label = $1 AND ($2 IS NULL OR agent_id = $2)"
        ));
        self.one(one.bind(label).bind(agent), rows::session).await
    }

    async fn ensure(&self, key: &SessionKey, at: i64) -> Result<(Session, bool)> {
        if let Some(session) = SessionStore::get(self, key).await? {
            return Ok((session, false));
        }
        let mut tx = self.begin().await?;
        let result = ensure(&mut tx, key, at).await;
        self.end(tx, result).await
    }

    async fn list(&self, query: &ListQuery) -> Result<SessionPage> {
        self.seen(pages::list(&self.readers, query).await)
    }

    async fn search(&self, query: &SearchQuery) -> Result<Finds> {
        self.seen(search::messages(&self.readers, query).await)
    }

    async fn count(&self, agent: Option<&AgentId>) -> Result<u64> {
        let counted = sqlx::query_scalar::<_, i64>(
            "SELECT COALESCE(SUM(n), 0) FROM session_counts \
             WHERE archived = 0 AND ($1 IS NULL OR agent_id = $1)",
        )
        .bind(agent.map(AgentId::as_str))
        .fetch_one(&self.readers)
        .await;
        Ok(u64::try_from(self.seen(counted)?).unwrap_or(0))
    }

    async fn patch(
        &self,
        key: &SessionKey,
        patch: SessionPatch,
        at: i64,
    ) -> Result<(Session, bool)> {
        let mut tx = self.begin().await?;
        let result = apply(&mut tx, key, patch, at).await;
        self.end(tx, result).await
    }

    async fn reset(
        &self,
        key: &SessionKey,
        stops: Vec<RunEnd>,
        at: i64,
    ) -> Result<(Session, Vec<EndedRun>)> {
        let mut tx = self.begin().await?;
        let result = async {
            let ended = runs::stop_waiting(&mut tx, stops).await?;
            Ok((reset(&mut tx, key, at).await?, ended))
        };
        let result = result.await;
        self.end(tx, result).await
    }

    async fn delete(
        &self,
        key: &SessionKey,
        with_transcript: bool,
        stops: Vec<RunEnd>,
        at: i64,
    ) -> Result<(Deleted, Vec<EndedRun>)> {
        let mut tx = self.begin().await?;
        let result = async {
            let ended = runs::stop_waiting(&mut tx, stops).await?;
            Ok((delete(&mut tx, key, with_transcript, at).await?, ended))
        };
        let result = result.await;
        self.end(tx, result).await
    }

    async fn append(&self, key: &SessionKey, message: NewMessage) -> Result<(Session, Message)> {
        let mut tx = self.begin().await?;
        let result = append_to_current(&mut tx, key, message).await;
        self.end(tx, result).await
    }

    async fn messages(
        &self,
        session_id: &str,
        span: Span,
        limit: usize,
    ) -> Result<(Vec<Message>, bool)> {
        self.seen(pages::messages(&self.readers, session_id, span, limit).await)
    }
}

/// The row of a key, made with an empty transcript when absent.
pub(super) async fn ensure(
    connection: &mut SqliteConnection,
    key: &SessionKey,
    at: i64,
) -> Result<(Session, bool)> {
    if let Some(session) = find(connection, key).await? {
        return Ok((session, false));
    }
    let session_id = new_transcript(connection, key, at).await?;
    let row = sqlx::query(concat!(
        "INSERT INTO sessions (key, session_id, agent_id, revision, created_at, updated_at, settings, \
         n) VALUES ($1, $2, $3, 1, $4, $4, '{}', (SELECT COALESCE(MAX(n), 0) + 1 FROM sessions)) \
         RETURNING ",
        session_columns!()
    ))
    .bind(key.as_str())
    .bind(session_id)
    .bind(key.agent_id())
    .bind(at)
    .fetch_one(connection)
    .await?;
    Ok((rows::session(&row)?, true))
}

/// Appends to one transcript. `None` when the transcript is gone; the session comes back only while
/// this is its current transcript.
pub(super) async fn append(
    connection: &mut SqliteConnection,
    key: &SessionKey,
    session_id: &str,
    message: NewMessage,
) -> Result<Option<(Message, Option<Session>)>> {
    let place = sqlx::query(
        "UPDATE transcripts SET last_seq = last_seq + 1 WHERE session_id = $1 RETURNING last_seq",
    )
    .bind(session_id)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(place) = place else {
        return Ok(None);
    };
    let seq: i64 = place.try_get("last_seq")?;
    let preview = first_chars(&text_of(&message.content), PREVIEW_CHARS);
    let title = (message.role == Role::User && !message.aside)
        .then(|| first_chars(&text_of(&message.content), TITLE_CHARS))
        .filter(|title| !title.is_empty());
    let id = uuid::Uuid::new_v4().to_string();
    let row = sqlx::query(concat!(
        "INSERT INTO messages (id, session_id, seq, role, content, timestamp, run_id, provider, \
         model, stop_reason, usage, aborted, interrupted, error, aside, n) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, \
         (SELECT COALESCE(MAX(n), 0) + 1 FROM messages)) RETURNING ",
        message_columns!()
    ))
    .bind(&id)
    .bind(session_id)
    .bind(seq)
    .bind(message.role.as_str())
    .bind(rows::to_json("message", &message.content)?)
    .bind(message.timestamp)
    .bind(&message.run_id)
    .bind(&message.provider)
    .bind(&message.model)
    .bind(&message.stop_reason)
    .bind(
        message
            .usage
            .map(|usage| rows::to_json("message", &usage))
            .transpose()?,
    )
    .bind(i64::from(message.aborted))
    .bind(i64::from(message.interrupted))
    .bind(&message.error)
    .bind(i64::from(message.aside))
    .fetch_one(&mut *connection)
    .await?;
    search::index(connection, &id, &message).await?;
    let session = sqlx::query(concat!(
        "UPDATE sessions SET message_count = $3, updated_at = $4, title = COALESCE(title, $5), \
         preview = CASE WHEN $6 = '' THEN preview ELSE $6 END \
         WHERE key = $1 AND session_id = $2 RETURNING ",
        session_columns!()
    ))
    .bind(key.as_str())
    .bind(session_id)
    .bind(seq)
    .bind(message.timestamp)
    .bind(title)
    .bind(preview)
    .fetch_optional(connection)
    .await?;
    let session = session.as_ref().map(rows::session).transpose()?;
    Ok(Some((rows::message(&row)?, session)))
}

async fn append_to_current(
    connection: &mut SqliteConnection,
    key: &SessionKey,
    message: NewMessage,
) -> Result<(Session, Message)> {
    let (session, _) = ensure(connection, key, message.timestamp).await?;
    let appended = append(connection, key, &session.session_id, message).await?;
    match appended {
        Some((message, Some(session))) => Ok((session, message)),
        _ => Err(rows::bad("session", "it has no transcript")),
    }
}

pub(super) async fn find(
    connection: &mut SqliteConnection,
    key: &SessionKey,
) -> Result<Option<Session>> {
    let row = sqlx::query(concat!(
        "SELECT ",
        session_columns!(),
        " FROM sessions WHERE key = $1"
    ))
    .bind(key.as_str())
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(rows::session).transpose()
}

async fn new_transcript(
    connection: &mut SqliteConnection,
    key: &SessionKey,
    at: i64,
) -> Result<String> {
    let session_id = uuid::Uuid::new_v4().to_string();
    sqlx::query(
        "INSERT INTO transcripts (session_id, session_key, created_at) VALUES ($1, $2, $3)",
    )
    .bind(&session_id)
    .bind(key.as_str())
    .bind(at)
    .execute(connection)
    .await?;
    Ok(session_id)
}

pub(super) async fn apply(
    connection: &mut SqliteConnection,
    key: &SessionKey,
    patch: SessionPatch,
    at: i64,
) -> Result<(Session, bool)> {
    let (session, created) = ensure(connection, key, at).await?;
    let mut settings: Settings = session.settings;
    patch.thinking_level.apply(&mut settings.thinking_level);
    patch.verbose_level.apply(&mut settings.verbose_level);
    patch.reasoning_level.apply(&mut settings.reasoning_level);
    patch.response_usage.apply(&mut settings.response_usage);
    patch.elevated_level.apply(&mut settings.elevated_level);
    patch.exec_host.apply(&mut settings.exec_host);
    patch.exec_security.apply(&mut settings.exec_security);
    patch.exec_ask.apply(&mut settings.exec_ask);
    patch.exec_node.apply(&mut settings.exec_node);
    patch.model.apply(&mut settings.model);
    patch.send_policy.apply(&mut settings.send_policy);
    patch.group_activation.apply(&mut settings.group_activation);
    let mut label = session.label;
    patch.label.apply(&mut label);
    let updated = sqlx::query(concat!(
        "UPDATE sessions SET label = $2, archived = $3, pinned = $4, settings = $5, \
         updated_at = $6 WHERE key = $1 RETURNING ",
        session_columns!()
    ))
    .bind(key.as_str())
    .bind(&label)
    .bind(i64::from(patch.archived.unwrap_or(session.archived)))
    .bind(i64::from(patch.pinned.unwrap_or(session.pinned)))
    .bind(rows::to_json("session", &settings)?)
    .bind(at)
    .fetch_one(connection)
    .await;
    match updated {
        Ok(row) => Ok((rows::session(&row)?, created)),
        // Of what changes here, only the label must be unique.
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            Err(StoreError::LabelTaken {
                label: label.unwrap_or_default(),
            })
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn reset(
    connection: &mut SqliteConnection,
    key: &SessionKey,
    at: i64,
) -> Result<Session> {
    let (session, created) = ensure(connection, key, at).await?;
    if created {
        return Ok(session);
    }
    archive(connection, &session.session_id, at).await?;
    let session_id = new_transcript(connection, key, at).await?;
    let row = sqlx::query(concat!(
        "UPDATE sessions SET session_id = $2, revision = revision + 1, updated_at = $3, \
         input_tokens = 0, output_tokens = 0, total_tokens = 0, context_tokens = 0, \
         cost_nanos = 0, unpriced_runs = 0, \
         last_run_id = NULL, last_run_state = NULL, last_run_started_at = NULL, \
         last_run_ended_at = NULL, last_run_provider = NULL, last_run_model = NULL, \
         title = NULL, preview = NULL, message_count = 0 \
         WHERE key = $1 RETURNING ",
        session_columns!()
    ))
    .bind(key.as_str())
    .bind(session_id)
    .bind(at)
    .fetch_one(connection)
    .await?;
    rows::session(&row)
}

async fn archive(connection: &mut SqliteConnection, session_id: &str, at: i64) -> Result<()> {
    sqlx::query("UPDATE transcripts SET archived_at = $2 WHERE session_id = $1")
        .bind(session_id)
        .bind(at)
        .execute(connection)
        .await?;
    Ok(())
}

async fn delete(
    connection: &mut SqliteConnection,
    key: &SessionKey,
    with_transcript: bool,
    at: i64,
) -> Result<Deleted> {
    let gone = sqlx::query("DELETE FROM sessions WHERE key = $1 RETURNING session_id")
        .bind(key.as_str())
        .fetch_optional(&mut *connection)
        .await?;
    let Some(gone) = gone else {
        return Ok(Deleted::default());
    };
    if with_transcript {
        sqlx::query("DELETE FROM transcripts WHERE session_key = $1")
            .bind(key.as_str())
            .execute(connection)
            .await?;
        return Ok(Deleted {
            deleted: true,
            archived: Vec::new(),
        });
    }
    archive(connection, gone.try_get("session_id")?, at).await?;
    let kept = sqlx::query_scalar(
        "SELECT session_id FROM transcripts WHERE session_key = $1 ORDER BY created_at",
    )
    .bind(key.as_str())
    .fetch_all(connection)
    .await?;
    Ok(Deleted {
        deleted: true,
        archived: kept,
    })
}

/// The beginning of a text on one line.
fn first_chars(text: &str, max_chars: usize) -> String {
    // A message may be megabytes long; its beginning is enough even when it is mostly blank.
    let head: String = text.chars().take(max_chars * 8).collect();
    let line = head.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(max_chars) {
        None => line,
        Some((end, _)) => format!("{}…", line[..end].trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_one_line_and_cut_between_characters() {
        assert_eq!(first_chars(" a\n b\t", 10), "a b");
        assert_eq!(first_chars("ääää", 3), "äää…");
    }
}
