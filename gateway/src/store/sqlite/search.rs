//! Finding sessions by a part of their names and messages by their words. Nothing here reads a table
//! from end to end: what is rare comes from the index, what is frequent is near the newest end.

use sqlx::{QueryBuilder, Sqlite, SqliteConnection, SqlitePool};

use super::StoreError;
use super::pages::{self, filter, to_i64};
use super::rows::{self, message_columns, session_columns};
use crate::sessions::{
    Finds, ListQuery, MAX_LIST_LIMIT, NewMessage, Part, Role, SearchQuery, SessionKey, SessionPage,
    text_of,
};

type Result<T> = std::result::Result<T, StoreError>;

/// Up to so many names that fit are sorted; of more, the newest sessions are looked at one by one.
const FEW: i64 = 1000;
/// How many of the newest sessions are looked at one by one.
const WALK: i64 = 20_000;
/// The index knows names by this many characters at a time.
const GRAM: usize = 3;
/// Messages that are taken from the index at a time, and in one search.
const BATCH: i64 = 250;
const MAX_SEEN: i64 = 5000;
/// Messages that are weighed against each other.
const MAX_FINDS: usize = 100;
/// Content that is read at a time, in bytes; a message that is larger is read by itself.
const READ_AT_ONCE: i64 = 1 << 20;
/// The part of a message that can be found, in bytes.
const MAX_INDEXED: usize = 64 << 10;

/// A page of the sessions whose key, label or title holds a text.
pub(super) async fn sessions(
    readers: &SqlitePool,
    query: &ListQuery,
    text: &str,
    limit: usize,
) -> Result<SessionPage> {
    let text = text.trim();
    let text = text.strip_prefix("agent:").unwrap_or(text);
    let few = few_names(readers, text).await?;
    let mut sql = QueryBuilder::<Sqlite>::new(concat!("SELECT ", session_columns!()));
    match &few {
        Some(numbers) => {
            let numbers = rows::to_json("session", numbers)?;
            // The order of this join is fixed: from the few numbers to their rows.
            sql.push(" FROM (SELECT value AS number FROM json_each(")
                .push_bind(numbers)
                .push(")) AS found CROSS JOIN sessions ON n = number WHERE TRUE");
            filter(&mut sql, query);
        }
        None => {
            sql.push(" FROM (SELECT * FROM sessions WHERE TRUE");
            filter(&mut sql, query);
            sql.push(" ORDER BY updated_at DESC, key DESC LIMIT ")
                .push_bind(WALK)
                .push(") WHERE ");
            pages::holds(&mut sql, text);
        }
    }
    sql.push(" ORDER BY updated_at DESC, key DESC LIMIT ")
        .push_bind(to_i64(limit + 1))
        .push(" OFFSET ")
        .push_bind(to_i64(query.offset));
    let found = sql.build().fetch_all(readers).await?;
    let mut page = pages::page_of(query, limit, &found)?;
    match &few {
        Some(numbers) => {
            let numbers = rows::to_json("session", numbers)?;
            let mut sql = QueryBuilder::<Sqlite>::new(
                "SELECT COUNT(*) FROM (SELECT value AS number FROM json_each(",
            );
            sql.push_bind(numbers)
                .push(")) AS found CROSS JOIN sessions ON n = number WHERE TRUE");
            filter(&mut sql, query);
            let total: i64 = sql.build_query_scalar().fetch_one(readers).await?;
            page.total = u64::try_from(total).unwrap_or(0);
        }
        None => {
            let found = page.sessions.len() + usize::from(page.has_more);
            let seen = query.offset.saturating_add(found);
            page.total = u64::try_from(seen).unwrap_or(u64::MAX);
            page.is_counted = !page.has_more;
        }
    }
    debug_assert!(limit <= MAX_LIST_LIMIT);
    Ok(page)
}

/// The numbers of all sessions with this text in their names; `None` when they are too many, or the
/// text is shorter than what the index knows.
async fn few_names(readers: &SqlitePool, text: &str) -> Result<Option<Vec<i64>>> {
    if text.chars().count() < GRAM || text.contains('\0') {
        return Ok(None);
    }
    let numbers: Vec<i64> =
        sqlx::query_scalar("SELECT rowid FROM session_names WHERE session_names MATCH $1 LIMIT $2")
            .bind(quoted(text))
            .bind(FEW + 1)
            .fetch_all(readers)
            .await?;
    Ok((numbers.len() <= usize::try_from(FEW).unwrap_or(0)).then_some(numbers))
}

/// Messages that have all words, the newest first.
pub(super) async fn messages(readers: &SqlitePool, query: &SearchQuery) -> Result<Finds> {
    let words: Vec<String> = query.words.iter().map(|word| quoted(word)).collect();
    let mut finds = Finds::default();
    if words.is_empty() {
        return Ok(finds);
    }
    let words = words.join(" AND ");
    let (mut below, mut seen) = (i64::MAX, 0);
    while finds.messages.len() < MAX_FINDS {
        if seen >= MAX_SEEN {
            finds.truncated = true;
            break;
        }
        let numbers: Vec<i64> = sqlx::query_scalar(
            "SELECT rowid FROM message_words WHERE message_words MATCH $1 AND rowid < $2 \
             ORDER BY rowid DESC LIMIT $3",
        )
        .bind(&words)
        .bind(below)
        .bind(BATCH)
        .fetch_all(readers)
        .await?;
        let Some(last) = numbers.last() else {
            break;
        };
        below = *last;
        seen += BATCH;
        take(readers, query, &numbers, &mut finds).await?;
    }
    if finds.messages.len() > MAX_FINDS {
        finds.messages.truncate(MAX_FINDS);
        finds.truncated = true;
    }
    Ok(finds)
}

/// Takes the messages with these numbers that are in a session's current transcript. They are chosen
/// without their content, which can be large; it is read for those that are weighed, a few at a time.
async fn take(
    readers: &SqlitePool,
    query: &SearchQuery,
    numbers: &[i64],
    finds: &mut Finds,
) -> Result<()> {
    let mut sql = QueryBuilder::<Sqlite>::new(
        "SELECT sessions.key, messages.n, octet_length(messages.content) FROM json_each(",
    );
    sql.push_bind(rows::to_json("message", &numbers)?).push(
        ") AS found CROSS JOIN messages ON messages.n = found.value \
             CROSS JOIN sessions ON sessions.session_id = messages.session_id WHERE TRUE",
    );
    if let Some(agent) = &query.agent_id {
        sql.push(" AND sessions.agent_id = ")
            .push_bind(agent.as_str());
    }
    if !query.keys.is_empty() {
        let keys: Vec<&str> = query.keys.iter().map(SessionKey::as_str).collect();
        sql.push(" AND sessions.key IN (SELECT value FROM json_each(")
            .push_bind(rows::to_json("session", &keys)?)
            .push("))");
    }
    // One more than is kept tells that there are more.
    sql.push(" ORDER BY messages.n DESC LIMIT ")
        .push_bind(to_i64((MAX_FINDS + 1).saturating_sub(finds.messages.len())));
    let chosen: Vec<(String, i64, i64)> = sql.build_query_as().fetch_all(readers).await?;
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for (key, number, size) in chosen {
        if bytes + size > READ_AT_ONCE && !batch.is_empty() {
            read(readers, std::mem::take(&mut batch), finds).await?;
            bytes = 0;
        }
        bytes += size;
        batch.push((key, number));
    }
    read(readers, batch, finds).await
}

/// Reads messages, and keeps what can be found of each.
async fn read(readers: &SqlitePool, batch: Vec<(String, i64)>, finds: &mut Finds) -> Result<()> {
    if batch.is_empty() {
        return Ok(());
    }
    let numbers: Vec<i64> = batch.iter().map(|(_, number)| *number).collect();
    let found = sqlx::query(concat!(
        "SELECT n, ",
        message_columns!(),
        " FROM messages WHERE n IN (SELECT value FROM json_each($1)) ORDER BY n DESC"
    ))
    .bind(rows::to_json("message", &numbers)?)
    .fetch_all(readers)
    .await?;
    let mut keys = batch.into_iter();
    for row in &found {
        let number: i64 = sqlx::Row::try_get(row, "n")?;
        // Both are in the same order; what was deleted meanwhile is passed over.
        let Some((key, _)) = keys.find(|(_, chosen)| *chosen == number) else {
            break;
        };
        let key = SessionKey::parse(&key).map_err(|error| rows::bad("session", error))?;
        let mut message = rows::message(row)?;
        message.content = vec![Part::Text {
            text: indexed(text_of(&message.content)),
        }];
        finds.messages.push((key, message));
    }
    Ok(())
}

/// The part of a text that can be found.
fn indexed(mut text: String) -> String {
    if text.len() > MAX_INDEXED {
        let end = (0..=MAX_INDEXED)
            .rev()
            .find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
        text.shrink_to_fit();
    }
    text
}

/// Lets a message be found by its words, where it is one that people wrote or read.
pub(super) async fn index(
    connection: &mut SqliteConnection,
    message_id: &str,
    message: &NewMessage,
) -> Result<()> {
    if message.aside || !matches!(message.role, Role::User | Role::Assistant) {
        return Ok(());
    }
    let text = indexed(text_of(&message.content));
    sqlx::query("INSERT INTO message_words (rowid, text) SELECT n, $2 FROM messages WHERE id = $1")
        .bind(message_id)
        .bind(text)
        .execute(connection)
        .await?;
    Ok(())
}

/// One word or phrase in the index's own language, with nothing in it taken for a sign.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}
