//! Sessions and transcripts in SQL.

use async_trait::async_trait;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};

use super::rows::{self, message_columns, session_columns};
use super::{Db, StoreError};
use crate::sessions::{
    AgentId, Archived, DEFAULT_LIST_LIMIT, Deleted, ListCursor, ListQuery, MAX_LIST_LIMIT, Message,
    NewMessage, Role, Session, SessionKey, SessionPage, SessionPatch, Settings, Span, text_of,
};
use crate::store::SessionStore;

/// Characters of the first message that make a title.
const TITLE_CHARS: usize = 80;
/// Characters of the last message that are shown in a list.
const PREVIEW_CHARS: usize = 200;

type Result<T> = std::result::Result<T, StoreError>;

#[async_trait]
impl SessionStore for Db {
    async fn get(&self, key: &SessionKey) -> Result<Option<Session>> {
        let found = sqlx::query(concat!(
            "SELECT ",
            session_columns!(),
            " FROM sessions WHERE key = $1"
        ))
        .bind(key.as_str())
        .fetch_optional(&self.readers)
        .await;
        self.seen(found)?.as_ref().map(rows::session).transpose()
    }

    async fn by_session_id(&self, session_id: &str) -> Result<Option<Session>> {
        let found = sqlx::query(concat!(
            "SELECT ",
            session_columns!(),
            " FROM sessions WHERE session_id = $1"
        ))
        .bind(session_id)
        .fetch_optional(&self.readers)
        .await;
        self.seen(found)?.as_ref().map(rows::session).transpose()
    }

    async fn by_label(&self, label: &str, agent: Option<&str>) -> Result<Option<Session>> {
        let found = sqlx::query(concat!(
            "SELECT ",
            session_columns!(),
            " FROM sessions WHERE label = $1 AND ($2 IS NULL OR agent_id = $2)"
        ))
        .bind(label)
        .bind(agent)
        .fetch_optional(&self.readers)
        .await;
        self.seen(found)?.as_ref().map(rows::session).transpose()
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
        self.seen(list(&self.readers, query).await)
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

    async fn reset(&self, key: &SessionKey, at: i64) -> Result<Session> {
        let mut tx = self.begin().await?;
        let result = reset(&mut tx, key, at).await;
        self.end(tx, result).await
    }

    async fn delete(&self, key: &SessionKey, with_transcript: bool, at: i64) -> Result<Deleted> {
        let mut tx = self.begin().await?;
        let result = delete(&mut tx, key, with_transcript, at).await;
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
        self.seen(messages(&self.readers, session_id, span, limit).await)
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
        "INSERT INTO sessions (key, session_id, agent_id, revision, created_at, updated_at, settings) \
         VALUES ($1, $2, $3, 1, $4, $4, '{}') RETURNING ",
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
    let title = (message.role == Role::User)
        .then(|| first_chars(&text_of(&message.content), TITLE_CHARS))
        .filter(|title| !title.is_empty());
    let row = sqlx::query(concat!(
        "INSERT INTO messages (id, session_id, seq, role, content, timestamp, run_id, provider, \
         model, stop_reason, usage, aborted, interrupted, error) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) RETURNING ",
        message_columns!()
    ))
    .bind(uuid::Uuid::new_v4().to_string())
    .bind(session_id)
    .bind(seq)
    .bind(message.role.as_str())
    .bind(rows::to_json("message", &message.content)?)
    .bind(message.timestamp)
    .bind(message.run_id)
    .bind(message.provider)
    .bind(message.model)
    .bind(message.stop_reason)
    .bind(
        message
            .usage
            .map(|usage| rows::to_json("message", &usage))
            .transpose()?,
    )
    .bind(i64::from(message.aborted))
    .bind(i64::from(message.interrupted))
    .bind(message.error)
    .fetch_one(&mut *connection)
    .await?;
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

async fn apply(
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

async fn reset(connection: &mut SqliteConnection, key: &SessionKey, at: i64) -> Result<Session> {
    let (session, created) = ensure(connection, key, at).await?;
    if created {
        return Ok(session);
    }
    archive(connection, &session.session_id, at).await?;
    let session_id = new_transcript(connection, key, at).await?;
    let row = sqlx::query(concat!(
        "UPDATE sessions SET session_id = $2, revision = revision + 1, updated_at = $3, \
         input_tokens = 0, output_tokens = 0, total_tokens = 0, context_tokens = 0, \
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

async fn list(readers: &sqlx::SqlitePool, query: &ListQuery) -> Result<SessionPage> {
    let limit = match query.limit {
        0 => DEFAULT_LIST_LIMIT,
        limit => limit.min(MAX_LIST_LIMIT),
    };
    let mut sql = page(query, limit + 1);
    let rows = sql.build().fetch_all(readers).await?;
    let has_more = rows.len() > limit;
    let sessions = rows
        .iter()
        .take(limit)
        .map(rows::session)
        .collect::<Result<Vec<_>>>()?;
    let total = total(readers, query).await?;
    Ok(SessionPage {
        next_offset: has_more.then_some(query.offset + limit),
        next: sessions.last().filter(|_| has_more).map(|last| ListCursor {
            updated_at: last.updated_at,
            key: last.key.to_string(),
        }),
        sessions,
        total,
        has_more,
    })
}

fn page(query: &ListQuery, limit: usize) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::<Sqlite>::new(concat!(
        "SELECT ",
        session_columns!(),
        " FROM sessions WHERE TRUE"
    ));
    filter(&mut sql, query);
    if let Some(ListCursor { updated_at, key }) = &query.after {
        sql.push(" AND (updated_at, key) < (")
            .push_bind(*updated_at)
            .push(", ")
            .push_bind(key.as_str())
            .push(")");
    }
    sql.push(" ORDER BY updated_at DESC, key DESC LIMIT ")
        .push_bind(to_i64(limit))
        .push(" OFFSET ")
        .push_bind(to_i64(query.offset));
    sql
}

/// The conditions that choose rows, in the order of the indexes.
fn filter(sql: &mut QueryBuilder<Sqlite>, query: &ListQuery) {
    if let Some(agent) = &query.agent_id {
        sql.push(" AND agent_id = ").push_bind(agent.as_str());
    }
    match query.archived {
        Archived::No => drop(sql.push(" AND archived = 0")),
        Archived::Only => drop(sql.push(" AND archived = 1")),
        // Both values by name, so that the agent's index still serves.
        Archived::All if query.agent_id.is_some() => drop(sql.push(" AND archived IN (0, 1)")),
        Archived::All => {}
    }
    if let Some(since) = query.active_since {
        sql.push(" AND updated_at >= ").push_bind(since);
    }
    if let Some(label) = &query.label {
        sql.push(" AND label = ").push_bind(label.as_str());
    }
    if let Some(search) = &query.search {
        let pattern = like(search);
        sql.push(" AND (");
        for (at, column) in ["key", "label", "title", "preview"].into_iter().enumerate() {
            if at > 0 {
                sql.push(" OR ");
            }
            sql.push("lower(")
                .push(column)
                .push(") LIKE ")
                .push_bind(pattern.clone())
                .push(" ESCAPE '\\'");
        }
        sql.push(")");
    }
}

async fn total(readers: &sqlx::SqlitePool, query: &ListQuery) -> Result<u64> {
    let is_plain = query.active_since.is_none() && query.label.is_none() && query.search.is_none();
    let mut sql = QueryBuilder::<Sqlite>::new(if is_plain {
        "SELECT COALESCE(SUM(n), 0) FROM session_counts WHERE TRUE"
    } else {
        "SELECT COUNT(*) FROM sessions WHERE TRUE"
    });
    filter(&mut sql, query);
    let total: i64 = sql.build_query_scalar().fetch_one(readers).await?;
    Ok(u64::try_from(total).unwrap_or(0))
}

async fn messages(
    readers: &sqlx::SqlitePool,
    session_id: &str,
    span: Span,
    limit: usize,
) -> Result<(Vec<Message>, bool)> {
    let before = match span {
        Span::After(seq) => return after(readers, session_id, seq, limit).await,
        Span::Last => i64::MAX,
        Span::Before(seq) => seq,
        // Places have no gaps, so skipping is arithmetic.
        Span::Skip(0) => i64::MAX,
        Span::Skip(skipped) => {
            let last: Option<i64> =
                sqlx::query_scalar("SELECT last_seq FROM transcripts WHERE session_id = $1")
                    .bind(session_id)
                    .fetch_optional(readers)
                    .await?;
            let skipped = i64::try_from(skipped).unwrap_or(i64::MAX);
            last.unwrap_or(0).saturating_sub(skipped).saturating_add(1)
        }
    };
    let found = sqlx::query(concat!(
        "SELECT ",
        message_columns!(),
        " FROM messages WHERE session_id = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3"
    ))
    .bind(session_id)
    .bind(before)
    .bind(to_i64(limit))
    .fetch_all(readers)
    .await?;
    let mut page = found
        .iter()
        .map(rows::message)
        .collect::<Result<Vec<_>>>()?;
    page.reverse();
    let has_more = page.first().is_some_and(|first| first.seq > 1);
    Ok((page, has_more))
}

async fn after(
    readers: &sqlx::SqlitePool,
    session_id: &str,
    seq: i64,
    limit: usize,
) -> Result<(Vec<Message>, bool)> {
    let found = sqlx::query(concat!(
        "SELECT ",
        message_columns!(),
        " FROM messages WHERE session_id = $1 AND seq > $2 ORDER BY seq LIMIT $3"
    ))
    .bind(session_id)
    .bind(seq)
    .bind(to_i64(limit + 1))
    .fetch_all(readers)
    .await?;
    let has_more = found.len() > limit;
    let page = found
        .iter()
        .take(limit)
        .map(rows::message)
        .collect::<Result<Vec<_>>>()?;
    Ok((page, has_more))
}

/// A pattern that finds the text anywhere, with the pattern's own signs taken literally.
fn like(search: &str) -> String {
    let mut out = String::from("%");
    for c in search.chars().flat_map(char::to_lowercase) {
        if matches!(c, '%' | '_' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('%');
    out
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

fn to_i64(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Row};

    use super::*;

    #[tokio::test]
    async fn every_page_of_sessions_comes_from_an_index_without_sorting() {
        let home = tempfile::tempdir().unwrap();
        let (db, _) = Db::open(&home.path().join("gateway.db")).await.unwrap();
        let after = Some(ListCursor {
            updated_at: 1,
            key: "agent:main:x".to_owned(),
        });
        for archived in [Archived::No, Archived::Only, Archived::All] {
            for agent_id in [None, Some("main".to_owned())] {
                for after in [None, after.clone()] {
                    let query = ListQuery {
                        archived,
                        agent_id: agent_id.clone(),
                        after,
                        ..Default::default()
                    };
                    let sql = format!("EXPLAIN QUERY PLAN {}", page(&query, 10).into_string());
                    let plan = sqlx::query(AssertSqlSafe(sql))
                        .fetch_all(&db.readers)
                        .await
                        .unwrap();
                    let plan: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
                    let plan = plan.join("; ");
                    assert!(
                        plan.contains("USING INDEX sessions_by_"),
                        "{query:?}: {plan}"
                    );
                    assert!(
                        !plan.contains("TEMP B-TREE")
                            || (archived, agent_id.is_some()) == (Archived::All, true),
                        "{query:?}: {plan}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_search_takes_its_own_signs_literally() {
        assert_eq!(like("100%_A\\"), "%100\\%\\_a\\\\%");
    }

    #[test]
    fn a_beginning_is_one_line_and_cut_between_characters() {
        assert_eq!(first_chars(" a\n b\t", 10), "a b");
        assert_eq!(first_chars("ääää", 3), "äää…");
    }
}
