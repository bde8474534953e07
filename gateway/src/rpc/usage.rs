//! `usage.cost` and `sessions.usage`: tokens and costs, where they are known.
//!
//! A run whose provider told no tokens, or whose model has no configured price, costs nothing here
//! and is counted in `missingCostEntries`.

use std::collections::BTreeMap;

use clawline::protocol::error::RpcError;
use clawline::protocol::methods::usage::{SessionsUsage, UsageCost};
use serde_json::{Value, json};

use super::{Call, Failure, Table};
use crate::sessions::{
    Archived, Day, ListQuery, Session, SessionError, SessionKey, UsageRow, UsageSums,
};
use crate::shape;
use crate::state::App;
use crate::store::now_ms;

/// Days when the caller does not say, and at most.
const DEFAULT_DAYS: i64 = 30;
const MAX_DAYS: i64 = 3660;
/// Sessions when the caller does not say, and at most.
const DEFAULT_SESSIONS: usize = 50;
const MAX_SESSIONS: usize = 200;

pub(crate) fn rows(table: Table) -> Table {
    table
        .on::<UsageCost, _>(cost)
        .on::<SessionsUsage, _>(sessions)
}

async fn cost(app: App, call: Call<UsageCost>) -> Result<Value, Failure> {
    let params = &call.params;
    let asked = params.days.and_then(|days| i64::try_from(days).ok());
    let range = Range::read(
        "usage.cost",
        params.start_date.as_deref(),
        params.end_date.as_deref(),
        asked.unwrap_or(DEFAULT_DAYS),
    )?;
    let rows = app
        .sessions
        .usage(range.from, range.to, params.agent_id.as_deref());
    let rows = rows.await.map_err(shape::session_error)?;
    let daily: Vec<Value> = grouped(&rows, |row| row.day.clone())
        .into_iter()
        .map(|(day, sums)| named("date", &day, &sums))
        .collect();
    Ok(json!({
        "updatedAt": now_ms(), "days": range.days(), "daily": daily,
        "totals": totals(&sum(&rows)),
    }))
}

async fn sessions(app: App, call: Call<SessionsUsage>) -> Result<Value, Failure> {
    let _page = call.conn.page().await;
    let params = &call.params;
    let days = match params.range.as_deref() {
        None | Some("30d") => DEFAULT_DAYS,
        Some("7d") => 7,
        Some("90d") => 90,
        Some("1y") => 365,
        Some("all") => MAX_DAYS,
        Some(_) => {
            let why = "range: use 7d|30d|90d|1y|all";
            return Err(RpcError::invalid_params("sessions.usage", why).into());
        }
    };
    let (start, end) = (params.start_date.as_deref(), params.end_date.as_deref());
    let range = Range::read("sessions.usage", start, end, days)?;
    let limit = params.limit.and_then(|n| usize::try_from(n).ok());
    let limit = limit.unwrap_or(DEFAULT_SESSIONS).clamp(1, MAX_SESSIONS);
    let failed = |error: SessionError| Failure::from(shape::session_error(error));
    let chosen = match &params.key {
        Some(key) => {
            let key = app.session_key(key)?;
            let found = app.sessions.describe(&key).await.map_err(failed)?;
            found.into_iter().collect()
        }
        None => {
            let query = ListQuery {
                limit,
                agent_id: params.agent_id.clone(),
                archived: Archived::All,
                ..ListQuery::default()
            };
            app.sessions.list(&query).await.map_err(failed)?.sessions
        }
    };
    let keys: Vec<&SessionKey> = chosen.iter().map(|session| &session.key).collect();
    let used = app.sessions.usage_of(&keys, range.from, range.to);
    let used = used.await.map_err(failed)?;
    let shown: Vec<Value> = chosen
        .iter()
        .map(|session| {
            let rows = used.get(&session.key).map_or(&[][..], Vec::as_slice);
            row(&app, session, rows)
        })
        .collect();
    let all = match &params.key {
        Some(_) => used.into_values().flatten().collect(),
        None => {
            let agent = params.agent_id.as_deref();
            app.sessions
                .usage(range.from, range.to, agent)
                .await
                .map_err(failed)?
        }
    };
    Ok(json!({
        "updatedAt": now_ms(),
        "startDate": range.from.to_string(), "endDate": range.to.to_string(),
        "sessions": shown, "totals": totals(&sum(&all)), "aggregates": aggregates(&all),
    }))
}

/// First and last day; both belong to it.
struct Range {
    from: Day,
    to: Day,
}

impl Range {
    fn read(
        method: &str,
        start: Option<&str>,
        end: Option<&str>,
        days: i64,
    ) -> Result<Self, Failure> {
        let day = |name: &str, text: &str| {
            Day::parse(text).ok_or_else(|| {
                let why = format!("{name}: write a day as YYYY-MM-DD");
                Failure::from(RpcError::invalid_params(method, why))
            })
        };
        let to = match end {
            Some(text) => day("endDate", text)?,
            None => Day::of(now_ms()),
        };
        let from = match start {
            Some(text) => day("startDate", text)?,
            None => to.before(days.clamp(1, MAX_DAYS) - 1),
        };
        if from > to {
            let why = "startDate: it is after endDate";
            return Err(RpcError::invalid_params(method, why).into());
        }
        Ok(Self { from, to })
    }

    fn days(&self) -> i64 {
        self.to.since(self.from) + 1
    }
}

fn row(app: &App, session: &Session, rows: &[UsageRow]) -> Value {
    let agent = session.key.agent_id();
    let models = app.runs.models();
    let (provider, model) = models.resolve(session.settings.model.as_deref(), agent);
    let mut row = json!({
        "key": session.key.as_str(), "sessionId": session.session_id, "scope": "instance",
        "updatedAt": session.updated_at, "agentId": agent,
        "chatType": "direct", "modelProvider": provider, "model": model,
        "usage": (!rows.is_empty()).then(|| of_session(session, rows)),
    });
    if let Some(label) = &session.label {
        row["label"] = json!(label);
    }
    row
}

fn of_session(session: &Session, rows: &[UsageRow]) -> Value {
    let sums = sum(rows);
    let days = grouped(rows, |row| row.day.clone());
    let mut usage = totals(&sums);
    usage["sessionId"] = json!(session.session_id);
    usage["lastActivity"] = json!(session.updated_at);
    usage["activityDates"] = json!(days.keys().collect::<Vec<_>>());
    usage["dailyBreakdown"] = days
        .iter()
        .map(|(day, sums)| json!({"date": day, "tokens": sums.usage.total, "cost": dollars(sums)}))
        .collect();
    usage["modelUsage"] = by_model(rows);
    usage["messageCounts"] = messages(&sums);
    usage
}

fn aggregates(rows: &[UsageRow]) -> Value {
    let by = |name: &str, of: fn(&UsageRow) -> String| -> Value {
        let groups = grouped(rows, of).into_iter();
        groups
            .map(|(key, sums)| json!({name: key, "count": sums.runs, "totals": totals(&sums)}))
            .collect()
    };
    let daily: Value = grouped(rows, |row| row.day.clone())
        .into_iter()
        .map(|(day, sums)| {
            json!({
                "date": day, "tokens": sums.usage.total, "cost": dollars(&sums),
                "messages": sums.runs * 2, "toolCalls": 0, "errors": sums.errors,
            })
        })
        .collect();
    json!({
        "messages": messages(&sum(rows)),
        "tools": {"totalCalls": 0, "uniqueTools": 0, "tools": []},
        "byModel": by_model(rows),
        "byProvider": by("provider", |row| row.provider.clone()),
        "byAgent": by("agentId", |row| row.agent_id.clone()),
        "byChannel": [], "byCreator": [], "costDaily": [], "dailyLatency": [], "modelDaily": [],
        "daily": daily,
    })
}

fn by_model(rows: &[UsageRow]) -> Value {
    grouped(rows, |row| (row.provider.clone(), row.model.clone()))
        .into_iter()
        .map(|((provider, model), sums)| {
            json!({
                "provider": provider, "model": model, "count": sums.runs,
                "totals": totals(&sums),
            })
        })
        .collect()
}

/// Questions and answers of runs; no tools are called here.
fn messages(sums: &UsageSums) -> Value {
    json!({
        "total": sums.runs * 2, "user": sums.runs, "assistant": sums.runs, "toolCalls": 0,
        "toolResults": 0, "errors": sums.errors,
    })
}

fn grouped<K: Ord>(rows: &[UsageRow], of: fn(&UsageRow) -> K) -> BTreeMap<K, UsageSums> {
    let mut groups = BTreeMap::<K, UsageSums>::new();
    for row in rows {
        groups.entry(of(row)).or_default().add(&row.sums);
    }
    groups
}

fn sum(rows: &[UsageRow]) -> UsageSums {
    let mut sums = UsageSums::default();
    for row in rows {
        sums.add(&row.sums);
    }
    sums
}

fn named(name: &str, value: &str, sums: &UsageSums) -> Value {
    let mut totals = totals(sums);
    totals[name] = json!(value);
    totals
}

fn dollars(sums: &UsageSums) -> f64 {
    shape::dollars(sums.usage.cost.unwrap_or_default().total())
}

fn totals(sums: &UsageSums) -> Value {
    let usage = &sums.usage;
    let cost = usage.cost.unwrap_or_default();
    json!({
        "input": usage.input, "output": usage.output, "cacheRead": usage.cache_read,
        "cacheWrite": usage.cache_write, "totalTokens": usage.total,
        "totalCost": shape::dollars(cost.total()), "inputCost": shape::dollars(cost.input),
        "outputCost": shape::dollars(cost.output),
        "cacheReadCost": shape::dollars(cost.cache_read),
        "cacheWriteCost": shape::dollars(cost.cache_write),
        "missingCostEntries": sums.unpriced,
    })
}
