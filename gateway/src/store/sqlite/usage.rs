//! Tokens and costs by day in SQL.

use std::collections::HashMap;

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::{Db, StoreError, rows, sessions};
use crate::runs::{Run, RunState};
use crate::sessions::{Cost, Day, SessionKey, Usage, UsageRow, UsageSums};
use crate::store::UsageStore;

type Result<T> = std::result::Result<T, StoreError>;

macro_rules! sums {
    () => {
        "day, provider, model, runs, errors, unpriced, input, output, cache_read, cache_write, \
         total, input_nanos, output_nanos, cache_read_nanos, cache_write_nanos"
    };
}

macro_rules! add {
    ($table:literal, $who:literal, $key:literal) => {
        concat!(
            "INSERT INTO ",
            $table,
            " (",
            $who,
            ", ",
            sums!(),
            ") VALUES ($1, $2, $3, $4, 1, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
             ON CONFLICT (",
            $key,
            ") DO UPDATE SET runs = runs + 1, errors = errors + excluded.errors, \
             unpriced = unpriced + excluded.unpriced, input = input + excluded.input, \
             output = output + excluded.output, cache_read = cache_read + excluded.cache_read, \
             cache_write = cache_write + excluded.cache_write, total = total + excluded.total, \
             input_nanos = input_nanos + excluded.input_nanos, \
             output_nanos = output_nanos + excluded.output_nanos, \
             cache_read_nanos = cache_read_nanos + excluded.cache_read_nanos, \
             cache_write_nanos = cache_write_nanos + excluded.cache_write_nanos"
        )
    };
}

/// Whether a run that has ended was given to a model and has no known cost.
pub(super) fn is_unpriced(run: &Run, usage: Option<&Usage>) -> bool {
    run.provider.is_some() && usage.is_none_or(|usage| usage.cost.is_none())
}

/// Adds a run that has ended to the sums of its session and its agent.
pub(super) async fn count(
    connection: &mut SqliteConnection,
    run: &Run,
    usage: Option<Usage>,
    at: i64,
) -> Result<()> {
    let (Some(provider), Some(model)) = (&run.provider, &run.model) else {
        return Ok(());
    };
    let unpriced = i64::from(is_unpriced(run, usage.as_ref()));
    let usage = usage.unwrap_or_default();
    let cost = usage.cost.unwrap_or_default();
    let day = Day::of(at).to_string();
    let of_agent = (
        run.session_key.agent_id(),
        add!(
            "usage_of_agents",
            "agent_id",
            "day, agent_id, provider, model"
        ),
    );
    // What a deleted session used is forgotten with it, also when its last answer ends after that.
    let session = sessions::find(connection, &run.session_key).await?;
    let of_session = session.map(|_| {
        (
            run.session_key.as_str(),
            add!(
                "usage_of_sessions",
                "session_key",
                "session_key, day, provider, model"
            ),
        )
    });
    for (who, sql) in std::iter::once(of_agent).chain(of_session) {
        sqlx::query(sql)
            .bind(who)
            .bind(&day)
            .bind(provider)
            .bind(model)
            .bind(i64::from(run.state == RunState::Error))
            .bind(unpriced)
            .bind(usage.input)
            .bind(usage.output)
            .bind(usage.cache_read)
            .bind(usage.cache_write)
            .bind(usage.total)
            .bind(cost.input)
            .bind(cost.output)
            .bind(cost.cache_read)
            .bind(cost.cache_write)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

#[async_trait]
impl UsageStore for Db {
    async fn by_agent(&self, from: Day, to: Day, agent: Option<&str>) -> Result<Vec<UsageRow>> {
        let sums = sqlx::query(concat!(
            "SELECT agent_id, ",
            sums!(),
            " FROM usage_of_agents WHERE day BETWEEN $1 AND $2 \
             AND ($3 IS NULL OR agent_id = $3) ORDER BY day"
        ))
        .bind(from.to_string())
        .bind(to.to_string())
        .bind(agent);
        self.all(sums, |row| read(row, row.try_get("agent_id")?))
            .await
    }

    async fn by_session(
        &self,
        keys: &[&SessionKey],
        from: Day,
        to: Day,
    ) -> Result<HashMap<SessionKey, Vec<UsageRow>>> {
        let texts: Vec<&str> = keys.iter().map(|key| key.as_str()).collect();
        let sums = sqlx::query(concat!(
            "SELECT session_key, ",
            sums!(),
            " FROM usage_of_sessions WHERE session_key IN (SELECT value FROM json_each($1)) \
             AND day BETWEEN $2 AND $3 ORDER BY day"
        ))
        .bind(rows::to_json("session", &texts)?)
        .bind(from.to_string())
        .bind(to.to_string());
        let found = self.all(sums, |row| {
            let key: String = row.try_get("session_key")?;
            let key = SessionKey::parse(&key).map_err(|error| rows::bad("session", error))?;
            let agent_id = key.agent_id().to_owned();
            Ok((key, read(row, agent_id)?))
        });
        let mut by_key: HashMap<SessionKey, Vec<UsageRow>> = HashMap::new();
        for (key, row) in found.await? {
            by_key.entry(key).or_default().push(row);
        }
        Ok(by_key)
    }
}

fn read(row: &SqliteRow, agent_id: String) -> Result<UsageRow> {
    Ok(UsageRow {
        day: row.try_get("day")?,
        agent_id,
        provider: row.try_get("provider")?,
        model: row.try_get("model")?,
        sums: UsageSums {
            runs: row.try_get("runs")?,
            errors: row.try_get("errors")?,
            unpriced: row.try_get("unpriced")?,
            usage: Usage {
                input: row.try_get("input")?,
                output: row.try_get("output")?,
                total: row.try_get("total")?,
                cache_read: row.try_get("cache_read")?,
                cache_write: row.try_get("cache_write")?,
                cost: Some(Cost {
                    input: row.try_get("input_nanos")?,
                    output: row.try_get("output_nanos")?,
                    cache_read: row.try_get("cache_read_nanos")?,
                    cache_write: row.try_get("cache_write_nanos")?,
                }),
            },
        },
    })
}
