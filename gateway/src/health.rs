//! What `health` says, for one caller or for everybody: cheap enough to be asked all the time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use clawline::protocol::methods::system::{HealthReply, HealthSessions, RecentSession};
use serde_json::{Map, Value, json};

use crate::reload::Board;
use crate::runs::AgentInfo;
use crate::sessions::{ListQuery, SessionError, Sessions};
use crate::store::{StoreHealth, now_ms};

/// Latest sessions that `health` names.
const RECENT: usize = 5;

/// What was last read of the sessions; read again after something changed.
#[derive(Debug, Default)]
pub(crate) struct HealthCache {
    /// Rises with each change.
    changes: AtomicU64,
    /// What was read, and how many changes there had been before it was asked for.
    read: Mutex<Option<(u64, Arc<HealthSessions>)>>,
}

impl HealthCache {
    /// Something about sessions has changed.
    pub(crate) fn invalidate(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// What is known, unless something has changed since, and how many changes there have been.
    fn fresh(&self) -> (u64, Option<Arc<HealthSessions>>) {
        let now = self.changes.load(Ordering::Acquire);
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let known = read.as_ref().filter(|(at, _)| *at == now);
        (now, known.map(|(_, sessions)| sessions.clone()))
    }

    /// Keeps what was asked for after `at` changes; of two readings the later one stays, whichever
    /// ends last.
    fn keep(&self, at: u64, sessions: &Arc<HealthSessions>) {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.as_ref().is_none_or(|(known, _)| *known <= at) {
            *read = Some((at, sessions.clone()));
        }
    }

    /// Dropped half-way, the next caller reads.
    async fn sessions(&self, service: &Sessions) -> Result<Arc<HealthSessions>, SessionError> {
        let (at, known) = self.fresh();
        if let Some(known) = known {
            return Ok(known);
        }
        let query = ListQuery {
            limit: RECENT,
            ..ListQuery::default()
        };
        let page = service.list(&query).await?;
        let recent = page.sessions.iter().map(|session| RecentSession {
            key: session.key.to_string(),
            updated_at: Some(session.updated_at),
            age: None,
        });
        let sessions = Arc::new(HealthSessions {
            path: String::new(),
            count: page.total,
            recent: recent.collect(),
        });
        self.keep(at, &sessions);
        Ok(sessions)
    }
}

/// What a health reply is made from.
pub(crate) struct Sources<'a> {
    pub(crate) cache: &'a HealthCache,
    pub(crate) sessions: &'a Sessions,
    pub(crate) store: StoreHealth,
    pub(crate) store_path: &'a str,
    pub(crate) agents: &'a [AgentInfo],
    pub(crate) reload: &'a Board,
    pub(crate) active_runs: usize,
    pub(crate) connections: usize,
    pub(crate) nodes: usize,
    pub(crate) uptime_ms: u64,
}

/// The reply of `health`.
pub(crate) async fn report(sources: Sources<'_>) -> HealthReply {
    let started = std::time::Instant::now();
    let ts = now_ms();
    let read = sources.cache.sessions(sources.sessions).await;
    let store_error = match (&sources.store, &read) {
        (StoreHealth::ReadOnly { why }, _) => Some(why.clone()),
        (_, Err(error)) => Some(error.to_string()),
        _ => None,
    };
    let mut sessions = read.map(|read| (*read).clone()).unwrap_or_default();
    sessions.path = sources.store_path.to_owned();
    for recent in &mut sessions.recent {
        recent.age = recent.updated_at.map(|at| (ts - at).max(0));
    }
    let default = sources.sessions.default_agent();
    let default = default.as_str();
    let agents = sources
        .agents
        .iter()
        .map(|known| agent(known.id.as_str(), known.id.as_str() == default, &sessions));
    let mut more = Map::new();
    for (name, value) in [
        (
            "plugins",
            json!({"loaded": [], "errors": [], "unavailable": []}),
        ),
        (
            "configReload",
            json!({"hotReloadStatus": sources.reload.status()}),
        ),
        ("config", sources.reload.report()),
        (
            "modelRuntime",
            json!({"degraded": false, "pendingAgents": []}),
        ),
        ("runs", json!({"active": sources.active_runs})),
        ("connections", json!(sources.connections)),
        ("nodes", json!({"connected": sources.nodes})),
        ("uptimeMs", json!(sources.uptime_ms)),
        (
            "store",
            json!({"ok": store_error.is_none(), "checking": sources.store == StoreHealth::Checking, "error": store_error}),
        ),
    ] {
        more.insert(name.to_owned(), value);
    }
    HealthReply {
        ok: store_error.is_none(),
        ts,
        duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        default_agent_id: default.to_owned(),
        agents: agents.collect(),
        sessions,
        more,
        ..HealthReply::default()
    }
}

fn agent(id: &str, is_default: bool, sessions: &HealthSessions) -> Value {
    let prefix = format!("agent:{id}:");
    let recent: Vec<&RecentSession> = sessions
        .recent
        .iter()
        .filter(|recent| recent.key.starts_with(&prefix))
        .collect();
    json!({
        "agentId": id,
        "isDefault": is_default,
        "heartbeat": {
            "enabled": false, "every": "disabled", "everyMs": null,
            "prompt": "", "target": "last", "ackMaxChars": 300,
        },
        "sessions": {"path": sessions.path, "count": recent.len(), "recent": recent},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(count: u64) -> Arc<HealthSessions> {
        Arc::new(HealthSessions {
            count,
            ..HealthSessions::default()
        })
    }

    fn known(cache: &HealthCache) -> Option<u64> {
        cache.fresh().1.map(|sessions| sessions.count)
    }

    #[test]
    fn a_reading_that_was_given_up_or_overtaken_leaves_nothing_stale_behind() {
        let cache = HealthCache::default();
        let (first, nothing) = cache.fresh();
        assert!(nothing.is_none());
        // Whoever was about to read went away: the next one still has to.
        assert!(known(&cache).is_none());
        // A change while it is read: what was read is not what is.
        cache.invalidate();
        cache.keep(first, &counted(1));
        assert_eq!(known(&cache), None);
        let (second, _) = cache.fresh();
        cache.keep(second, &counted(2));
        // The earlier reading ends last.
        cache.keep(first, &counted(1));
        assert_eq!(known(&cache), Some(2));
        cache.invalidate();
        assert_eq!(known(&cache), None);
    }
}
