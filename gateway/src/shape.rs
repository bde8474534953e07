//! From the services' types to the shapes on the wire: sessions, messages, errors.

use clawline::protocol::error::{ErrorCode, RpcError};
use clawline::protocol::methods::chat::{ChatMessage, MessageOrigin};
use clawline::protocol::methods::sessions::{ModelDefaults, SessionRow};
use serde_json::{Map, Value, json};

use crate::pairing::PairingError;
use crate::runs::{Models, RunError, RunState, Runs};
use crate::sessions::{Message, Role, Session, SessionError, Usage};
use crate::store::StoreError;

/// When a client may try again after something that passes by itself.
const RETRY_MS: u64 = 1000;

/// Which optional members of a session row are filled.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RowParts {
    pub(crate) title: bool,
    pub(crate) preview: bool,
}

impl RowParts {
    pub(crate) const ALL: Self = Self {
        title: true,
        preview: true,
    };
}

/// A session as lists show it. A run whose end could not be stored does not count as running.
pub(crate) fn listed_session(session: &Session, runs: &Runs, parts: RowParts) -> SessionRow {
    let mut row = session_row(session, runs.models(), parts);
    let lost = row.last_run_id.as_deref().and_then(|id| runs.lost(id));
    if let Some(lost) = lost {
        row.status = Some(status(lost.state).to_owned());
        row.more.insert("hasActiveRun".to_owned(), json!(false));
        if let Some(at) = lost.ended_at {
            row.more.insert("endedAt".to_owned(), json!(at));
        }
    }
    row
}

/// A session as events show it.
pub(crate) fn session_row(session: &Session, models: &Models, parts: RowParts) -> SessionRow {
    let agent = session.key.agent_id();
    let settings = &session.settings;
    let (provider, model) = models.resolve(settings.model.as_deref(), agent);
    let run = session.last_run.as_ref();
    let state = run.and_then(|run| RunState::parse(&run.state));
    let context_tokens = models.context_window(&provider, &model);
    let mut more = Map::new();
    let mut add = |name: &str, value: Value| {
        if !value.is_null() {
            more.insert(name.to_owned(), value);
        }
    };
    let is_active = matches!(state, Some(RunState::Accepted | RunState::Given));
    add("hasActiveRun", json!(is_active));
    add("startedAt", json!(run.and_then(|run| run.started_at)));
    add("endedAt", json!(run.and_then(|run| run.ended_at)));
    add("reasoningLevel", json!(settings.reasoning_level));
    add("responseUsage", json!(settings.response_usage));
    add("lifecycleRevision", json!(session.revision.to_string()));
    add("messageCount", json!(session.message_count));
    let cost = session.cost_nanos.filter(|_| session.tokens.total > 0);
    add("estimatedCostUsd", json!(cost.map(dollars)));
    SessionRow {
        key: session.key.to_string(),
        kind: Some("direct".to_owned()),
        label: session.label.clone(),
        display_name: None,
        derived_title: session.title.clone().filter(|_| parts.title),
        last_message_preview: session.preview.clone().filter(|_| parts.preview),
        chat_type: Some("direct".to_owned()),
        updated_at: Some(session.updated_at),
        session_id: Some(session.session_id.clone()),
        agent_id: Some(agent.to_owned()),
        is_main: Some(session.key.is_main()),
        archived: Some(session.archived),
        pinned: Some(session.pinned),
        unread: Some(false),
        status: state.map(|state| status(state).to_owned()),
        last_run_id: run.map(|run| run.run_id.clone()),
        created_at: Some(session.created_at),
        system_sent: Some(session.message_count > 0),
        aborted_last_run: Some(state == Some(RunState::Aborted)),
        thinking_level: settings.thinking_level.clone(),
        verbose_level: settings.verbose_level.clone(),
        input_tokens: unsigned(session.tokens.input),
        output_tokens: unsigned(session.tokens.output),
        total_tokens: unsigned(session.context_tokens),
        total_tokens_fresh: Some(true),
        model_provider: Some(provider),
        model: Some(model),
        context_tokens: context_tokens.and_then(unsigned),
        more,
    }
}

fn status(state: RunState) -> &'static str {
    match state {
        RunState::Accepted | RunState::Given => "running",
        RunState::Done => "done",
        RunState::Error => "error",
        RunState::Aborted => "aborted",
        RunState::Interrupted => "interrupted",
    }
}

fn unsigned(number: i64) -> Option<u64> {
    u64::try_from(number).ok()
}

/// The model of sessions that name none.
pub(crate) fn defaults(models: &Models) -> ModelDefaults {
    let (provider, model) = models.resolve(None, models.default_agent().as_str());
    ModelDefaults {
        context_tokens: models.context_window(&provider, &model).and_then(unsigned),
        model_provider: Some(provider),
        model: Some(model),
    }
}

/// Billionths of a dollar as dollars.
pub(crate) fn dollars(nanos: i64) -> f64 {
    // Far below what a float holds without loss: nine million dollars.
    #[expect(
        clippy::cast_precision_loss,
        reason = "cents of a million dollars are enough"
    )]
    let dollars = nanos as f64 / 1e9;
    dollars
}

/// Tokens as messages and `chat` events show them; the cost only where it is known.
pub(crate) fn usage_shape(usage: &Usage) -> Value {
    let mut shown = json!({
        "input": usage.input, "output": usage.output, "totalTokens": usage.total,
        "cacheRead": usage.cache_read, "cacheWrite": usage.cache_write,
    });
    if let Some(cost) = usage.cost {
        shown["cost"] = json!({
            "input": dollars(cost.input), "output": dollars(cost.output),
            "cacheRead": dollars(cost.cache_read), "cacheWrite": dollars(cost.cache_write),
            "total": dollars(cost.total()),
        });
    }
    shown
}

/// A message as history and events show it.
pub(crate) fn message(message: &Message) -> ChatMessage {
    let sent_key = (message.role == Role::User)
        .then(|| message.run_id.as_ref().map(|key| format!("{key}:user")))
        .flatten();
    let mut more = Map::new();
    if let Some(usage) = message.usage {
        more.insert("usage".to_owned(), usage_shape(&usage));
    }
    for (name, is_set) in [
        ("aborted", message.aborted),
        ("interrupted", message.interrupted),
        ("excludeFromContext", message.aside),
    ] {
        if is_set {
            more.insert(name.to_owned(), json!(true));
        }
    }
    if let Some(error) = &message.error {
        more.insert("errorMessage".to_owned(), json!(error));
    }
    ChatMessage {
        role: message.role.as_str().to_owned(),
        content: json!(message.content),
        timestamp: Some(message.timestamp),
        provider: message.provider.clone(),
        model: message.model.clone(),
        stop_reason: message.stop_reason.clone(),
        idempotency_key: sent_key.clone(),
        origin: Some(MessageOrigin {
            seq: unsigned(message.seq),
            id: Some(message.id.clone()),
            run_id: message.run_id.clone(),
            idempotency_key: sent_key,
            more: Map::new(),
        }),
        more,
    }
}

/// A session's failure for the wire.
pub(crate) fn session_error(error: SessionError) -> RpcError {
    match error {
        SessionError::Store(error) => store_error(error),
        SessionError::Key(_) | SessionError::BadLevel { .. } | SessionError::BadText { .. } => {
            RpcError::invalid(error.to_string())
        }
    }
}

/// A run's failure for the wire.
pub(crate) fn run_error(method: &str, error: RunError) -> RpcError {
    match error {
        RunError::Store(error) => store_error(error),
        RunError::UnknownAgent { .. } => RpcError::invalid_params(method, error),
        RunError::EmptyMessage | RunError::LongMessage | RunError::MainSession { .. } => {
            RpcError::invalid(error.to_string())
        }
        RunError::Conflict { .. } => RpcError::invalid(error.to_string())
            .details(json!({"code": "REQUEST_CONFLICT", "reason": "chat-request-conflict"})),
        RunError::Busy | RunError::Stopping => {
            RpcError::unavailable(error.to_string()).retry_after(RETRY_MS)
        }
        RunError::Inside => RpcError::unavailable(error.to_string()),
    }
}

/// A store's failure for the wire; what only the operator can mend is in the log.
pub(crate) fn store_error(error: StoreError) -> RpcError {
    match error {
        StoreError::LabelTaken { .. } => RpcError::invalid(error.to_string()),
        StoreError::Busy => RpcError::unavailable(error.to_string()).retry_after(RETRY_MS),
        StoreError::ReadOnly { .. } | StoreError::Disk { .. } | StoreError::Full => {
            tracing::error!(%error, "the store does not take writes");
            RpcError::unavailable(error.to_string())
        }
        StoreError::Prepare { .. }
        | StoreError::NotADatabase { .. }
        | StoreError::LogWithoutDatabase { .. }
        | StoreError::Corrupt { .. }
        | StoreError::Newer { .. }
        | StoreError::Open { .. }
        | StoreError::BadRow { .. }
        | StoreError::Sql(_) => {
            tracing::error!(%error, "the store failed");
            RpcError::unavailable("the gateway's store failed; see its log")
        }
    }
}

/// A pairing failure for the wire.
pub(crate) fn pairing_error(error: PairingError) -> RpcError {
    match error {
        PairingError::Store(error) => store_error(error),
        PairingError::BeyondOwnScopes(scope) => RpcError::missing_scope(scope),
        PairingError::NotYours | PairingError::OwnUpgrade(_) => {
            RpcError::new(ErrorCode::Forbidden, error.to_string())
        }
        PairingError::UnknownRequest
        | PairingError::UnknownDevice
        | PairingError::UnknownRole
        | PairingError::RotationDenied => RpcError::invalid(error.to_string()),
    }
}
