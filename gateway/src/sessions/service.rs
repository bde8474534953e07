//! The sessions service: checks what callers ask, asks the store, tells the sink.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use clawline::layer::is_unsafe_to_show;

use super::cursor::DeltaCursor;
use super::day::Day;
use super::event::{ChangeReason, SessionEvent};
use super::key::{AgentId, KeyError, SessionKey};
use super::model::{
    Change, History, HistoryDelta, ListQuery, Message, NewMessage, Session, SessionPage,
    SessionPatch, Span,
};
use super::search::{Finds, SearchQuery};
use super::usage::UsageRow;
use super::{DEFAULT_HISTORY_LIMIT, MAX_HISTORY_LIMIT};
use crate::events::{DomainEvent, EventSink};
use crate::store::{SessionStore, Store, StoreError, UsageStore, now_ms};

/// The longest label and the longest model name, in characters.
const MAX_LABEL_CHARS: usize = 512;

/// What the service refuses or fails with.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("invalid {field} (use {})", allowed.join("|"))]
    BadLevel {
        field: &'static str,
        allowed: &'static [&'static str],
    },
    #[error("invalid {field}: {why}")]
    BadText {
        field: &'static str,
        why: &'static str,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
}

type Result<T> = std::result::Result<T, SessionError>;

/// Conversations over the store. A cheap clone.
#[derive(Clone)]
pub struct Sessions {
    store: Arc<dyn SessionStore>,
    usage: Arc<dyn UsageStore>,
    events: Arc<dyn EventSink>,
    default_agent: Arc<ArcSwap<AgentId>>,
}

impl Sessions {
    /// Makes the service; bare session names belong to `default_agent`.
    pub fn new(store: &Store, events: Arc<dyn EventSink>, default_agent: AgentId) -> Self {
        Self {
            store: store.sessions(),
            usage: store.usage(),
            events,
            default_agent: Arc::new(ArcSwap::from_pointee(default_agent)),
        }
    }

    /// The agent of bare session names.
    pub fn default_agent(&self) -> AgentId {
        (**self.default_agent.load()).clone()
    }

    /// From now on bare session names belong to this agent.
    pub fn set_default_agent(&self, agent: AgentId) {
        self.default_agent.store(Arc::new(agent));
    }

    /// The canonical key for what a client wrote.
    pub fn resolve(&self, text: &str) -> Result<SessionKey> {
        Ok(SessionKey::resolve(text, &self.default_agent.load())?)
    }

    /// The row, where the session exists.
    pub async fn describe(&self, key: &SessionKey) -> Result<Option<Session>> {
        Ok(self.store.get(key).await?)
    }

    /// The session whose current transcript has this id.
    pub async fn by_session_id(&self, session_id: &str) -> Result<Option<Session>> {
        Ok(self.store.by_session_id(session_id).await?)
    }

    /// The session with this label, of one agent where given.
    pub async fn by_label(&self, label: &str, agent: Option<&str>) -> Result<Option<Session>> {
        Ok(self.store.by_label(label, agent).await?)
    }

    /// The row, made on first use.
    pub async fn ensure(&self, key: &SessionKey) -> Result<Session> {
        let at = now_ms();
        let (session, created) = self.store.ensure(key, at).await?;
        if created {
            self.changed(&session, ChangeReason::Create, at);
        }
        Ok(session)
    }

    /// A page, the newest session first.
    pub async fn list(&self, query: &ListQuery) -> Result<SessionPage> {
        Ok(self.store.list(query).await?)
    }

    /// Messages by their words, the newest first.
    pub async fn search(&self, query: &SearchQuery) -> Result<Finds> {
        Ok(self.store.search(query).await?)
    }

    /// Tokens and costs by day, agent and model; both days belong to the range.
    pub async fn usage(&self, from: Day, to: Day, agent: Option<&str>) -> Result<Vec<UsageRow>> {
        Ok(self.usage.by_agent(from, to, agent).await?)
    }

    /// Tokens and costs of each of these sessions by day and model, resets included; those that used
    /// nothing are left out.
    pub async fn usage_of(
        &self,
        keys: &[&SessionKey],
        from: Day,
        to: Day,
    ) -> Result<HashMap<SessionKey, Vec<UsageRow>>> {
        Ok(self.usage.by_session(keys, from, to).await?)
    }

    /// How many sessions there are that are not archived, of one agent where given.
    pub async fn count(&self, agent: Option<&AgentId>) -> Result<u64> {
        Ok(self.store.count(agent).await?)
    }

    /// Refuses values that nobody understands, as [`Self::patch`] does.
    pub fn check(&self, patch: &SessionPatch) -> Result<()> {
        check_patch(patch)
    }

    /// Applies changes, making the session when absent; refuses values that nobody understands.
    pub async fn patch(&self, key: &SessionKey, patch: SessionPatch) -> Result<Session> {
        check_patch(&patch)?;
        let at = now_ms();
        let (session, _) = self.store.patch(key, patch, at).await?;
        self.changed(&session, ChangeReason::Patch, at);
        Ok(session)
    }

    /// Adds a message that is no run's, making the session when absent.
    pub async fn append(&self, key: &SessionKey, message: NewMessage) -> Result<Message> {
        let at = message.timestamp;
        let (session, message) = self.store.append(key, message).await?;
        self.events
            .emit(DomainEvent::Session(SessionEvent::Message {
                key: key.clone(),
                message: Arc::new(message.clone()),
            }));
        self.changed(&session, ChangeReason::Inject, at);
        Ok(message)
    }

    /// A page of the transcript, the oldest message first. A limit of zero means
    /// [`DEFAULT_HISTORY_LIMIT`]; more than [`MAX_HISTORY_LIMIT`] is cut to it.
    pub async fn history(&self, key: &SessionKey, span: Span, limit: usize) -> Result<History> {
        let limit = match limit {
            0 => DEFAULT_HISTORY_LIMIT,
            limit => limit.min(MAX_HISTORY_LIMIT),
        };
        let Some(session) = self.store.get(key).await? else {
            return Ok(History {
                key: key.clone(),
                session: None,
                messages: Vec::new(),
                total: 0,
                has_more: false,
                delta_cursor: None,
            });
        };
        let (messages, has_more) = self
            .store
            .messages(&session.session_id, span, limit)
            .await?;
        // Only what was read is behind the cursor: a message that came in between the two reads is
        // on the page or after the cursor, never lost.
        let last_seq = match (span, messages.last()) {
            (Span::Last | Span::Skip(0) | Span::After(_), Some(last)) => Some(last.seq),
            (Span::Last | Span::Skip(0), None) => Some(0),
            (Span::After(seq), None) => Some(seq.clamp(0, session.message_count)),
            (Span::Before(_) | Span::Skip(_), _) => None,
        };
        let cursor = last_seq.map(|last_seq| DeltaCursor {
            session_id: session.session_id.clone(),
            last_seq,
        });
        Ok(History {
            key: key.clone(),
            total: u64::try_from(session.message_count).unwrap_or(0),
            session: Some(session),
            messages,
            has_more,
            delta_cursor: cursor.map(|cursor| cursor.to_string()),
        })
    }

    /// Everything after a cursor that [`Self::history`] gave, or the word to read the page again:
    /// after a reset, with a cursor that is none, or when more was added than one
    /// page holds: messages cannot be left out of the middle.
    pub async fn history_since(&self, key: &SessionKey, cursor: &str) -> Result<HistoryDelta> {
        let Some(cursor) = DeltaCursor::parse(cursor) else {
            return Ok(HistoryDelta::Reset);
        };
        let Some(session) = self.store.get(key).await? else {
            return Ok(HistoryDelta::Reset);
        };
        if session.session_id != cursor.session_id || cursor.last_seq > session.message_count {
            return Ok(HistoryDelta::Reset);
        }
        let (messages, has_more) = self
            .store
            .messages(
                &session.session_id,
                Span::After(cursor.last_seq),
                MAX_HISTORY_LIMIT,
            )
            .await?;
        if has_more {
            return Ok(HistoryDelta::Reset);
        }
        let cursor = DeltaCursor {
            last_seq: messages.last().map_or(cursor.last_seq, |last| last.seq),
            ..cursor
        };
        Ok(HistoryDelta::Delta {
            session: Box::new(session),
            messages,
            delta_cursor: cursor.to_string(),
        })
    }

    fn changed(&self, session: &Session, reason: ChangeReason, at: i64) {
        self.events
            .emit(DomainEvent::Session(SessionEvent::Changed {
                key: session.key.clone(),
                reason,
                run_id: None,
                session: Some(Arc::new(session.clone())),
                at,
            }));
    }
}

fn check_patch(patch: &SessionPatch) -> Result<()> {
    for (field, change, allowed) in [
        (
            "thinkingLevel",
            &patch.thinking_level,
            &["off", "minimal", "low", "medium", "high"] as &'static [&'static str],
        ),
        ("verboseLevel", &patch.verbose_level, &["off", "on", "full"]),
        (
            "reasoningLevel",
            &patch.reasoning_level,
            &["off", "on", "stream"],
        ),
        (
            "responseUsage",
            &patch.response_usage,
            &["off", "tokens", "full", "on"],
        ),
        (
            "elevatedLevel",
            &patch.elevated_level,
            &["off", "on", "ask", "full"],
        ),
        (
            "execHost",
            &patch.exec_host,
            &["auto", "sandbox", "gateway", "node"],
        ),
        (
            "execSecurity",
            &patch.exec_security,
            &["deny", "allowlist", "full"],
        ),
        ("execAsk", &patch.exec_ask, &["off", "on-miss", "always"]),
        ("sendPolicy", &patch.send_policy, &["allow", "deny"]),
        (
            "groupActivation",
            &patch.group_activation,
            &["mention", "always"],
        ),
    ] {
        if let Change::Set(value) = change
            && !allowed.contains(&value.as_str())
        {
            return Err(SessionError::BadLevel { field, allowed });
        }
    }
    for (field, change) in [
        ("label", &patch.label),
        ("model", &patch.model),
        ("execNode", &patch.exec_node),
    ] {
        if let Change::Set(value) = change {
            check_text(field, value)?;
        }
    }
    Ok(())
}

fn check_text(field: &'static str, value: &str) -> Result<()> {
    let why = if value.trim().is_empty() {
        "it is empty"
    } else if value.chars().count() > MAX_LABEL_CHARS {
        "it is too long"
    } else if value.chars().any(is_unsafe_to_show) {
        "it holds characters that cannot be shown"
    } else {
        return Ok(());
    };
    Err(SessionError::BadText { field, why })
}
