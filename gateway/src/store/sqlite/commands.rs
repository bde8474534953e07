//! Commands and compacting in SQL.

use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::rows::{self, run_columns};
use super::{Db, StoreError, runs, sessions};
use crate::runs::RunId;
use crate::sessions::SessionKey;
use crate::store::{
    Command, CommandEffect, CommandOutcome, CommandStore, Compacted, DoneCommand, RunStore,
};

type Result<T> = std::result::Result<T, StoreError>;

#[async_trait]
impl CommandStore for Db {
    async fn carry_out(&self, command: Command) -> Result<CommandOutcome> {
        if let Some(run) = RunStore::get(self, &command.run_id).await? {
            return Ok(CommandOutcome::Existing(Box::new(run)));
        }
        let mut tx = self.begin().await?;
        let result = carry_out(&mut tx, command).await;
        self.end(tx, result).await
    }

    async fn amend(&self, run_id: &RunId, answer: &str) -> Result<()> {
        let mut tx = self.begin().await?;
        let amended = sqlx::query("UPDATE runs SET answer = $2 WHERE run_id = $1")
            .bind(run_id.as_str())
            .bind(answer)
            .execute(&mut *tx)
            .await;
        let result = amended.map(|_| ()).map_err(StoreError::from);
        self.end(tx, result).await
    }

    async fn compact(&self, key: &SessionKey, keep: u64) -> Result<Option<Compacted>> {
        let mut tx = self.begin().await?;
        let result = match sessions::find(&mut tx, key).await {
            Ok(None) => Ok(None),
            Ok(Some(session)) => compact(&mut tx, &session.session_id, keep).await.map(Some),
            Err(error) => Err(error),
        };
        self.end(tx, result).await
    }
}

async fn carry_out(connection: &mut SqliteConnection, command: Command) -> Result<CommandOutcome> {
    let known = sqlx::query(concat!(
        "SELECT ",
        run_columns!(),
        " FROM runs WHERE run_id = $1"
    ))
    .bind(command.run_id.as_str())
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(known) = known {
        return Ok(CommandOutcome::Existing(Box::new(rows::run(&known)?)));
    }
    let ended = runs::stop_waiting(connection, command.stops).await?;
    let (key, at) = (&command.session_key, command.at);
    let session = match command.effect {
        CommandEffect::Nothing | CommandEffect::Stop => {
            sessions::ensure(connection, key, at).await?.0
        }
        CommandEffect::Reset => sessions::reset(connection, key, at).await?,
        CommandEffect::Patch(patch) => sessions::apply(connection, key, *patch, at).await?.0,
        CommandEffect::Compact(keep) => {
            let (session, _) = sessions::ensure(connection, key, at).await?;
            compact(connection, &session.session_id, keep).await?;
            session
        }
    };
    let mut session = session;
    let messages = match command.messages {
        None => None,
        Some((question, answer)) => {
            let mut placed = Vec::with_capacity(2);
            for message in [question, answer] {
                let id = &session.session_id;
                match sessions::append(connection, key, id, message).await? {
                    Some((message, Some(now))) => {
                        session = now;
                        placed.push(message);
                    }
                    _ => return Err(rows::bad("session", "it has no transcript")),
                }
            }
            let answer = placed.pop();
            placed.pop().zip(answer)
        }
    };
    let row = sqlx::query(concat!(
        "INSERT INTO runs (run_id, session_key, session_id, kind, body_hash, state, options, \
         user_seq, answer, stop_reason, accepted_no, created_at, updated_at, started_at, \
         ended_at) VALUES ($1, $2, $3, $4, $5, 'done', '{}', $6, $7, 'stop', \
         (SELECT COALESCE(MAX(accepted_no), 0) + 1 FROM runs), $8, $8, $8, $8) RETURNING ",
        run_columns!()
    ))
    .bind(command.run_id.as_str())
    .bind(key.as_str())
    .bind(&session.session_id)
    .bind(command.kind.as_str())
    .bind(rows::hex(&command.body_hash))
    .bind(messages.as_ref().map_or(0, |(question, _)| question.seq))
    .bind(&command.answer)
    .bind(at)
    .fetch_one(connection)
    .await?;
    Ok(CommandOutcome::Done(Box::new(DoneCommand {
        run: rows::run(&row)?,
        session,
        messages,
        ended,
    })))
}

/// Moves the place behind which models are shown the transcript.
async fn compact(
    connection: &mut SqliteConnection,
    session_id: &str,
    keep: u64,
) -> Result<Compacted> {
    let (last, from): (i64, i64) =
        sqlx::query_as("SELECT last_seq, context_from FROM transcripts WHERE session_id = $1")
            .bind(session_id)
            .fetch_one(&mut *connection)
            .await?;
    let keep = i64::try_from(keep).unwrap_or(i64::MAX);
    let wanted = last.saturating_sub(keep).max(from);
    if wanted > from {
        sqlx::query("UPDATE transcripts SET context_from = $2 WHERE session_id = $1")
            .bind(session_id)
            .bind(wanted)
            .execute(connection)
            .await?;
    }
    Ok(Compacted {
        less: wanted > from,
        kept: u64::try_from(last - wanted).unwrap_or(0),
    })
}
