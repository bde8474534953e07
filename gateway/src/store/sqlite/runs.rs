//! Runs and their idempotency keys in SQL.

use std::collections::HashMap;

use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::rows::{self, run_columns, session_columns};
use super::{Db, StoreError, pages, sessions, usage};
use crate::runs::{Run, RunId};
use crate::sessions::{Message, Session};
use crate::store::{Accept, AcceptOutcome, AcceptedRun, EndedRun, RunEnd, RunStore};

type Result<T> = std::result::Result<T, StoreError>;

#[async_trait]
impl RunStore for Db {
    async fn accept(&self, accept: Accept) -> Result<AcceptOutcome> {
        // A repeated key is the common case after a reconnect, and needs no writer.
        if let Some(run) = RunStore::get(self, &accept.run_id).await? {
            return Ok(AcceptOutcome::Existing(Box::new(run)));
        }
        let mut tx = self.begin().await?;
        let result = accept_new(&mut tx, accept).await;
        self.end(tx, result).await
    }

    async fn get(&self, run_id: &RunId) -> Result<Option<Run>> {
        let one = sqlx::query(concat!(
            "SELECT ",
            run_columns!(),
            " FROM runs WHERE run_id = $1"
        ));
        self.one(one.bind(run_id.as_str()), rows::run).await
    }

    async fn give(
        &self,
        run_id: &RunId,
        provider: &str,
        model: &str,
        at: i64,
    ) -> Result<Option<(Run, Option<Session>)>> {
        let mut tx = self.begin().await?;
        let result = give(&mut tx, run_id, provider, model, at).await;
        self.end(tx, result).await
    }

    async fn save_partial(&self, run_id: &RunId, text: &str, at: i64) -> Result<()> {
        let update = sqlx::query(
            "UPDATE runs SET answer = $2, updated_at = $3 WHERE run_id = $1 AND state = 'given'",
        );
        self.change(update.bind(run_id.as_str()).bind(text).bind(at))
            .await?;
        Ok(())
    }

    async fn finish(&self, end: RunEnd) -> Result<Option<EndedRun>> {
        let mut tx = self.begin().await?;
        let result = finish(&mut tx, end).await;
        self.end(tx, result).await
    }

    async fn unfinished(&self) -> Result<Vec<Run>> {
        let open = sqlx::query(concat!(
            "SELECT ",
            run_columns!(),
            " FROM runs WHERE state IN ('accepted', 'given') ORDER BY accepted_no"
        ));
        self.all(open, rows::run).await
    }

    async fn context(&self, run: &Run, limit: usize, bytes: usize) -> Result<Vec<Message>> {
        let sizes = sqlx::query_as(
            "SELECT seq, octet_length(content) FROM messages WHERE session_id = $1 AND \
             (seq = $2 OR (aside = 0 AND seq > \
             COALESCE((SELECT context_from FROM transcripts WHERE session_id = $1), 0) AND NOT \
             (role = 'user' AND EXISTS (SELECT 1 FROM runs WHERE runs.run_id = messages.run_id \
             AND runs.state = 'accepted')))) ORDER BY seq DESC LIMIT $3",
        )
        .bind(&run.session_id)
        .bind(run.user_seq)
        .bind(pages::to_i64(limit))
        .fetch_all(&self.readers)
        .await;
        let (places, _) = pages::within(self.seen(sizes)?, bytes, run.user_seq);
        let messages = pages::read(&self.readers, &run.session_id, &places).await;
        Ok(in_turns(self.seen(messages)?, run.user_seq))
    }

    async fn expire(&self, before: i64, limit: usize) -> Result<u64> {
        let delete = sqlx::query(
            "DELETE FROM runs WHERE run_id IN (SELECT run_id FROM runs WHERE updated_at < $1 \
             AND state NOT IN ('accepted', 'given') ORDER BY updated_at LIMIT $2)",
        )
        .bind(before)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        self.change(delete).await
    }
}

async fn accept_new(connection: &mut SqliteConnection, accept: Accept) -> Result<AcceptOutcome> {
    let known = sqlx::query(concat!(
        "SELECT ",
        run_columns!(),
        " FROM runs WHERE run_id = $1"
    ))
    .bind(accept.run_id.as_str())
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(known) = known {
        return Ok(AcceptOutcome::Existing(Box::new(rows::run(&known)?)));
    }
    let key = accept.session_key;
    let (session, created_session) = sessions::ensure(connection, &key, accept.at).await?;
    let appended = sessions::append(connection, &key, &session.session_id, accept.message).await?;
    let Some((message, Some(_))) = appended else {
        return Err(rows::bad("session", "it has no transcript"));
    };
    let row = sqlx::query(concat!(
        "INSERT INTO runs (run_id, session_key, session_id, kind, body_hash, state, options, \
         user_seq, accepted_no, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, 'accepted', \
         $6, $7, (SELECT COALESCE(MAX(accepted_no), 0) + 1 FROM runs), $8, $8) RETURNING ",
        run_columns!()
    ))
    .bind(accept.run_id.as_str())
    .bind(key.as_str())
    .bind(&session.session_id)
    .bind(accept.kind.as_str())
    .bind(rows::hex(&accept.body_hash))
    .bind(rows::to_json("run", &accept.options)?)
    .bind(message.seq)
    .bind(accept.at)
    .fetch_one(&mut *connection)
    .await?;
    // While another run of the session is being answered, that one stays the last.
    sqlx::query(
        "UPDATE sessions SET last_run_id = $2, last_run_state = 'accepted', \
         last_run_started_at = NULL, last_run_ended_at = NULL WHERE key = $1 \
         AND (last_run_state IS NULL OR last_run_state NOT IN ('accepted', 'given'))",
    )
    .bind(key.as_str())
    .bind(accept.run_id.as_str())
    .execute(&mut *connection)
    .await?;
    let session = sessions::find(connection, &key)
        .await?
        .ok_or_else(|| rows::bad("session", "it vanished"))?;
    Ok(AcceptOutcome::Accepted(Box::new(AcceptedRun {
        run: rows::run(&row)?,
        message,
        session,
        created_session,
    })))
}

async fn give(
    connection: &mut SqliteConnection,
    run_id: &RunId,
    provider: &str,
    model: &str,
    at: i64,
) -> Result<Option<(Run, Option<Session>)>> {
    let row = sqlx::query(concat!(
        "UPDATE runs SET state = 'given', provider = $2, model = $3, started_at = $4, \
         updated_at = $4 WHERE run_id = $1 AND state = 'accepted' RETURNING ",
        run_columns!()
    ))
    .bind(run_id.as_str())
    .bind(provider)
    .bind(model)
    .bind(at)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let run = rows::run(&row)?;
    let session = sqlx::query(concat!(
        "UPDATE sessions SET last_run_id = $3, last_run_state = 'given', \
         last_run_started_at = $4, last_run_ended_at = NULL, last_run_provider = $5, \
         last_run_model = $6 WHERE key = $1 AND session_id = $2 RETURNING ",
        session_columns!()
    ))
    .bind(run.session_key.as_str())
    .bind(&run.session_id)
    .bind(run_id.as_str())
    .bind(at)
    .bind(provider)
    .bind(model)
    .fetch_optional(connection)
    .await?;
    let session = session.as_ref().map(rows::session).transpose()?;
    Ok(Some((run, session)))
}

/// Ends those that no model has been given yet. What was given ends in its driver, with the text that
/// has come.
pub(super) async fn stop_waiting(
    connection: &mut SqliteConnection,
    stops: Vec<RunEnd>,
) -> Result<Vec<EndedRun>> {
    let mut ended = Vec::new();
    for end in stops {
        let waits = "SELECT 1 FROM runs WHERE run_id = $1 AND state = 'accepted'";
        let waits = sqlx::query(waits).bind(end.run_id.as_str());
        if waits.fetch_optional(&mut *connection).await?.is_some() {
            ended.extend(finish(connection, end).await?);
        }
    }
    Ok(ended)
}

/// Commits an end; `None` when the run has ended before.
pub(super) async fn finish(
    connection: &mut SqliteConnection,
    end: RunEnd,
) -> Result<Option<EndedRun>> {
    let usage = end
        .usage
        .map(|usage| rows::to_json("run", &usage))
        .transpose()?;
    let row = sqlx::query(concat!(
        "UPDATE runs SET state = $2, answer = $3, error = $4, stop_reason = $5, usage = $6, \
         updated_at = $7, ended_at = $7 WHERE run_id = $1 AND state IN ('accepted', 'given') \
         RETURNING ",
        run_columns!()
    ))
    .bind(end.run_id.as_str())
    .bind(end.state.as_str())
    .bind(&end.text)
    .bind(&end.error)
    .bind(&end.stop_reason)
    .bind(usage)
    .bind(end.at)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let run = rows::run(&row)?;
    let message = match end.message {
        None => None,
        // The transcript may have been deleted while the model was answering.
        Some(message) => sessions::append(connection, &run.session_key, &run.session_id, message)
            .await?
            .map(|(message, _)| message),
    };
    usage::count(connection, &run, end.usage, end.at).await?;
    let is_unpriced = usage::is_unpriced(&run, end.usage.as_ref());
    let usage = end.usage.unwrap_or_default();
    let session = sqlx::query(concat!(
        "UPDATE sessions SET updated_at = $3, input_tokens = input_tokens + $4, \
         output_tokens = output_tokens + $5, total_tokens = total_tokens + $6, \
         context_tokens = CASE WHEN $6 > 0 THEN $6 ELSE context_tokens END, \
         last_run_state = CASE WHEN last_run_id = $7 THEN $8 ELSE last_run_state END, \
         last_run_ended_at = CASE WHEN last_run_id = $7 THEN $3 ELSE last_run_ended_at END, \
         cost_nanos = cost_nanos + $9, unpriced_runs = unpriced_runs + $10 \
         WHERE key = $1 AND session_id = $2 RETURNING ",
        session_columns!()
    ))
    .bind(run.session_key.as_str())
    .bind(&run.session_id)
    .bind(end.at)
    .bind(usage.input)
    .bind(usage.output)
    .bind(usage.total)
    .bind(end.run_id.as_str())
    .bind(end.state.as_str())
    .bind(usage.cost.unwrap_or_default().total())
    .bind(i64::from(is_unpriced))
    .fetch_optional(connection)
    .await?;
    let session = session.as_ref().map(rows::session).transpose()?;
    Ok(Some(EndedRun {
        run,
        message,
        session,
    }))
}

/// Puts each answer behind its own question, and the question at `user_seq` last.
///
/// Questions that were written while an answer was being streamed stand before that answer in the
/// transcript; a model must not see them in that order.
fn in_turns(messages: Vec<Message>, user_seq: i64) -> Vec<Message> {
    let mut first_of_run: HashMap<String, i64> = HashMap::new();
    let mut placed: Vec<((bool, i64, i64), Message)> = Vec::with_capacity(messages.len());
    for message in messages {
        let turn = match &message.run_id {
            Some(run_id) => *first_of_run.entry(run_id.clone()).or_insert(message.seq),
            None => message.seq,
        };
        placed.push(((message.seq == user_seq, turn, message.seq), message));
    }
    placed.sort_by_key(|(place, _)| *place);
    placed.into_iter().map(|(_, message)| message).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sessions::{Part, Role};

    fn message(seq: i64, run_id: &str, role: Role) -> Message {
        Message {
            id: seq.to_string(),
            session_id: "s".to_owned(),
            seq,
            role,
            content: vec![Part::text(format!("{run_id}{seq}"))],
            timestamp: seq,
            run_id: Some(run_id.to_owned()),
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
    fn answers_follow_their_own_questions_and_the_asked_one_comes_last() {
        let stored = vec![
            message(1, "a", Role::User),
            message(2, "b", Role::User),
            message(3, "c", Role::User),
            message(4, "a", Role::Assistant),
            message(5, "b", Role::Assistant),
        ];
        let order: Vec<i64> = in_turns(stored, 3).iter().map(|m| m.seq).collect();
        assert_eq!(order, [1, 4, 2, 5, 3]);
    }
}
