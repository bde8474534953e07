//! Pages of sessions and of transcripts in SQL; each comes from an index.

use futures_util::TryStreamExt as _;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite, SqlitePool};

use super::StoreError;
use super::rows::{self, message_columns, session_columns};
use super::search;
use crate::sessions::{
    Archived, DEFAULT_LIST_LIMIT, ListCursor, ListQuery, MAX_HISTORY_BYTES, MAX_LIST_LIMIT,
    Message, SessionPage, Span,
};

type Result<T> = std::result::Result<T, StoreError>;

/// Sessions are counted one by one up to here.
const MAX_COUNTED: i64 = 10_000;

pub(super) async fn list(readers: &SqlitePool, query: &ListQuery) -> Result<SessionPage> {
    let limit = match query.limit {
        0 => DEFAULT_LIST_LIMIT,
        limit => limit.min(MAX_LIST_LIMIT),
    };
    if let Some(text) = &query.search {
        return search::sessions(readers, query, text, limit).await;
    }
    let found = page(query, limit + 1).build().fetch_all(readers).await?;
    let mut page = page_of(query, limit, &found)?;
    (page.total, page.is_counted) = total(readers, query).await?;
    Ok(page)
}

/// A page of rows of which one more than `limit` was asked for; not counted yet.
pub(super) fn page_of(query: &ListQuery, limit: usize, found: &[SqliteRow]) -> Result<SessionPage> {
    let has_more = found.len() > limit;
    let sessions = found
        .iter()
        .take(limit)
        .map(rows::session)
        .collect::<Result<Vec<_>>>()?;
    Ok(SessionPage {
        next_offset: has_more.then(|| query.offset.saturating_add(limit)),
        next: sessions.last().filter(|_| has_more).map(|last| ListCursor {
            updated_at: last.updated_at,
            key: last.key.to_string(),
        }),
        sessions,
        total: 0,
        is_counted: true,
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
pub(super) fn filter(sql: &mut QueryBuilder<Sqlite>, query: &ListQuery) {
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
}

/// The condition that a name holds a text.
pub(super) fn holds(sql: &mut QueryBuilder<Sqlite>, text: &str) {
    let pattern = like(text);
    for (at, column) in ["key", "label", "title"].into_iter().enumerate() {
        if at > 0 {
            sql.push(" OR ");
        }
        sql.push("lower(")
            .push(column)
            .push(") LIKE ")
            .push_bind(pattern.clone())
            .push(" ESCAPE '\\'");
    }
}

/// How many there are, and whether they were counted to the end.
async fn total(readers: &SqlitePool, query: &ListQuery) -> Result<(u64, bool)> {
    let is_plain = query.active_since.is_none() && query.label.is_none();
    let mut sql = QueryBuilder::<Sqlite>::new(if is_plain {
        "SELECT COALESCE(SUM(n), 0) FROM session_counts WHERE TRUE"
    } else {
        "SELECT COUNT(*) FROM (SELECT 1 FROM sessions WHERE TRUE"
    });
    filter(&mut sql, query);
    if !is_plain {
        sql.push(" LIMIT ").push_bind(MAX_COUNTED).push(")");
    }
    let total: i64 = sql.build_query_scalar().fetch_one(readers).await?;
    let is_counted = is_plain || total < MAX_COUNTED;
    Ok((u64::try_from(total).unwrap_or(0), is_counted))
}

pub(super) async fn messages(
    readers: &SqlitePool,
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
    let sizes = sqlx::query_as(
        "SELECT seq, octet_length(content) FROM messages WHERE session_id = $1 AND seq < $2 \
         ORDER BY seq DESC LIMIT $3",
    )
    .bind(session_id)
    .bind(before)
    .bind(to_i64(limit))
    .fetch_all(readers)
    .await?;
    let (places, _) = within(sizes, MAX_HISTORY_BYTES, i64::MAX);
    let page = read(readers, session_id, &places).await?;
    let has_more = page.first().is_some_and(|first| first.seq > 1);
    Ok((page, has_more))
}

async fn after(
    readers: &SqlitePool,
    session_id: &str,
    seq: i64,
    limit: usize,
) -> Result<(Vec<Message>, bool)> {
    let sizes = sqlx::query_as(
        "SELECT seq, octet_length(content) FROM messages WHERE session_id = $1 AND seq > $2 \
         ORDER BY seq LIMIT $3",
    )
    .bind(session_id)
    .bind(seq)
    .bind(to_i64(limit + 1))
    .fetch_all(readers)
    .await?;
    let (mut places, is_cut) = within(sizes, MAX_HISTORY_BYTES, i64::MAX);
    let has_more = is_cut || places.len() > limit;
    places.truncate(limit);
    Ok((read(readers, session_id, &places).await?, has_more))
}

/// Of places and sizes of messages, the places up to the one that would make the content more than
/// `bytes`. Never left out: the first one, and those from the place `before` on. The flag says that
/// some are left out.
///
/// Pages are chosen so before any content is read: the driver reads ahead by tens of rows, which may
/// be megabytes each.
pub(super) fn within(sizes: Vec<(i64, i64)>, bytes: usize, before: i64) -> (Vec<i64>, bool) {
    let mut places = Vec::with_capacity(sizes.len());
    let mut sum = 0;
    for (seq, size) in sizes {
        sum += usize::try_from(size).unwrap_or(0);
        if sum > bytes && !places.is_empty() && seq < before {
            return (places, true);
        }
        places.push(seq);
    }
    (places, false)
}

/// The messages at these places, the oldest first; one that was deleted meanwhile is passed over.
pub(super) async fn read(
    readers: &SqlitePool,
    session_id: &str,
    places: &[i64],
) -> Result<Vec<Message>> {
    let mut found = sqlx::query(concat!(
        "SELECT ",
        message_columns!(),
        " FROM messages WHERE session_id = $1 AND seq IN (SELECT value FROM json_each($2))"
    ))
    .bind(session_id)
    .bind(rows::to_json("message", &places)?)
    .fetch(readers);
    let mut messages = Vec::with_capacity(places.len());
    while let Some(row) = found.try_next().await? {
        messages.push(rows::message(&row)?);
    }
    // Here rather than there, where a sort might copy them all.
    messages.sort_by_key(|message| message.seq);
    Ok(messages)
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

pub(super) fn to_i64(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Row};

    use super::*;
    use crate::store::sqlite::Db;

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

    #[tokio::test]
    async fn a_page_far_beyond_the_last_session_is_empty() {
        let home = tempfile::tempdir().unwrap();
        let (db, _) = Db::open(&home.path().join("gateway.db")).await.unwrap();
        for search in [None, Some("x"), Some("a long text")] {
            let query = ListQuery {
                offset: usize::MAX,
                search: search.map(str::to_owned),
                ..Default::default()
            };
            let page = list(&db.readers, &query).await.unwrap();
            assert!(page.sessions.is_empty() && !page.has_more, "{search:?}");
            assert_eq!(page.next_offset, None, "{search:?}");
        }
    }

    #[test]
    fn a_search_takes_its_own_signs_literally() {
        assert_eq!(like("100%_A\\"), "%100\\%\\_a\\\\%");
    }
}
