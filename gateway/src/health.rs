//! What `health` says, for one caller or for everybody: cheap enough to be asked all the time.

use std::sync::atomic::{AtomicBool, Ordering};
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
    is_stale: AtomicBool,
    sessions: Mutex<Option<Arc<HealthSessions>>>,
}

impl HealthCache {
    /// Something about sessions has changed.
    pub(crate) fn invalidate(&self) {
        self.is_stale.store(true, Ordering::Release);
    }

    async fn sessions(&self, service: &Sessions) -> Result<Arc<HealthSessions>, SessionError> {
        let is_stale = self.is_stale.swap(false, Ordering::AcqRel);
        let cached = {
            let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            sessions.clone().filter(|_| !is_stale)
        };
        if let Some(sessions) = cached {
            return Ok(sessions);
        }
        let read = async {
            let page = service
                .list(&ListQuery {
                    limit: RECENT,
                    ..ListQuery::default()
                })
                .await?;
            Ok::<_, SessionError>(Arc::new(HealthSessions {
                path: String::new(),
                count: page.total,
                recent: page
                    .sessions
                    .iter()
                    .map(|session| RecentSession {
                        key: session.key.to_string(),
                        updated_at: Some(session.updated_at),
                        age: None,
                    })
                    .collect(),
            }))
        };
        match read.await {
            Ok(fresh) => {
                let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
                *sessions = Some(fresh.clone());
                Ok(fresh)
            }
            Err(error) => {
                self.invalidate();
                Err(error)
            }
        }
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
