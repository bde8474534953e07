//! From domain events to what connections are sent.

use std::sync::Arc;

use clawline::protocol::event::{
    AgentEvent, ChatEvent, ChatState, SessionMessageEvent, SessionsChangedEvent,
};
use serde_json::{Map, Value, json};

use crate::conn::{Push, Registry, Stream, TextDelta, Topic};
use crate::events::{DomainEvent, EventSink};
use crate::health::HealthCache;
use crate::runs::{Models, RunEvent, RunStep};
use crate::sessions::{ChangeReason, Message, SessionEvent, SessionKey, Usage};
use crate::shape::{self, RowParts};

/// Takes the services' events to the connections that want them. Never blocks: each connection has
/// a bounded queue of its own.
pub(crate) struct Fanout {
    registry: Arc<Registry>,
    health: Arc<HealthCache>,
    models: Arc<Models>,
}

impl Fanout {
    pub(crate) fn new(
        registry: Arc<Registry>,
        health: Arc<HealthCache>,
        models: Arc<Models>,
    ) -> Self {
        Self {
            registry,
            health,
            models,
        }
    }

    fn session(&self, event: &SessionEvent) {
        match event {
            SessionEvent::Changed {
                key,
                reason,
                run_id,
                session,
                at,
            } => {
                let (name, topic) = ("sessions.changed", Topic::Changed);
                if !self.registry.is_wanted(name, topic, key.as_str()) {
                    return;
                }
                let (reason, phase) = reason_and_phase(*reason);
                let row = session
                    .as_ref()
                    .map(|session| shape::session_row(session, &self.models, RowParts::ALL));
                let event = SessionsChangedEvent {
                    session_key: Some(key.to_string()),
                    agent_id: Some(key.agent_id().to_owned()),
                    reason: reason.map(str::to_owned),
                    phase: phase.map(str::to_owned),
                    run_id: run_id.clone(),
                    ts: *at,
                    session: row,
                };
                self.send(&Push::plain(name, &event), topic, key);
            }
            SessionEvent::Message { key, message } => {
                let (name, topic) = ("session.message", Topic::Message);
                if !self.registry.is_wanted(name, topic, key.as_str()) {
                    return;
                }
                let event = SessionMessageEvent {
                    session_key: key.to_string(),
                    agent_id: Some(key.agent_id().to_owned()),
                    message: shape::message(message),
                    message_id: Some(message.id.clone()),
                    message_seq: u64::try_from(message.seq).ok(),
                    session: None,
                };
                self.send(&Push::plain(name, &event), topic, key);
            }
        }
    }

    fn run(&self, event: &RunEvent) {
        let key = &event.session_key;
        if !self.registry.is_wanted("chat", Topic::Run, key.as_str()) {
            return;
        }
        let send = |push: Push| self.send(&push, Topic::Run, key);
        match &event.step {
            RunStep::Started {
                started_at,
                provider,
                model,
            } => send(lifecycle(
                event,
                json!({
                    "phase": "start", "startedAt": started_at,
                    "provider": provider, "model": model,
                }),
            )),
            RunStep::Delta { text, delta } => {
                for stream in [Stream::Assistant, Stream::Chat] {
                    send(Push::delta(TextDelta::new(stream, event, text, delta)));
                }
            }
            RunStep::Thinking { text, delta } => {
                send(Push::delta(TextDelta::new(
                    Stream::Thinking,
                    event,
                    text,
                    delta,
                )));
            }
            RunStep::Final {
                message,
                usage,
                stop_reason,
                started_at,
            } => {
                send(lifecycle(
                    event,
                    json!({
                        "phase": "end", "startedAt": started_at, "endedAt": event.at,
                        "stopReason": stop_reason, "aborted": false,
                    }),
                ));
                send(chat(
                    event,
                    Ending {
                        message: Some(message),
                        usage: *usage,
                        stop_reason: stop_reason.as_deref(),
                        ..Ending::new(ChatState::Final)
                    },
                ));
            }
            RunStep::Answered { message } => send(chat(
                event,
                Ending {
                    message: Some(message),
                    stop_reason: message.stop_reason.as_deref(),
                    ..Ending::new(ChatState::Final)
                },
            )),
            RunStep::Aborted {
                partial,
                stop_reason,
                started_at,
            } => {
                send(lifecycle(
                    event,
                    json!({
                        "phase": "error", "startedAt": started_at, "endedAt": event.at,
                        "error": "This operation was aborted", "aborted": true,
                        "stopReason": stop_reason,
                    }),
                ));
                send(chat(
                    event,
                    Ending {
                        message: partial.as_deref(),
                        stop_reason: Some(stop_reason),
                        ..Ending::new(ChatState::Aborted)
                    },
                ));
            }
            RunStep::Error {
                kind,
                text,
                partial,
                started_at,
            } => {
                send(lifecycle(
                    event,
                    json!({
                        "phase": "error", "startedAt": started_at, "endedAt": event.at,
                        "error": text,
                    }),
                ));
                send(chat(
                    event,
                    Ending {
                        message: partial.as_deref(),
                        error: Some((text, kind.as_str())),
                        ..Ending::new(ChatState::Error)
                    },
                ));
            }
        }
    }

    fn send(&self, push: &Push, topic: Topic, key: &SessionKey) {
        self.registry.broadcast_session(push, topic, key.as_str());
    }
}

impl EventSink for Fanout {
    fn emit(&self, event: DomainEvent) {
        match event {
            DomainEvent::Session(event) => {
                self.health.invalidate();
                self.session(&event);
            }
            DomainEvent::Run(event) => self.run(&event),
        }
    }
}

/// Runs tell a phase, everything else a reason.
fn reason_and_phase(reason: ChangeReason) -> (Option<&'static str>, Option<&'static str>) {
    match reason {
        ChangeReason::Create
        | ChangeReason::Send
        | ChangeReason::Patch
        | ChangeReason::Reset
        | ChangeReason::Delete
        | ChangeReason::Inject => (Some(reason.as_str()), None),
        ChangeReason::RunStarted => (Some(reason.as_str()), Some("start")),
        ChangeReason::RunEnded => (None, Some("end")),
        ChangeReason::RunFailed => (None, Some("error")),
    }
}

fn lifecycle(event: &RunEvent, data: Value) -> Push {
    let data = match data {
        Value::Object(data) => data,
        _ => Map::new(),
    };
    Push::plain(
        "agent",
        &AgentEvent {
            run_id: event.run_id.to_string(),
            seq: event.seq,
            stream: "lifecycle".to_owned(),
            ts: event.at,
            data,
            session_key: Some(event.session_key.to_string()),
            session_id: Some(event.session_id.clone()),
            agent_id: Some(event.agent_id().to_owned()),
        },
    )
}

/// How a run ended, for `chat`.
struct Ending<'a> {
    state: ChatState,
    message: Option<&'a Message>,
    usage: Option<Usage>,
    stop_reason: Option<&'a str>,
    error: Option<(&'a str, &'a str)>,
}

impl Ending<'_> {
    fn new(state: ChatState) -> Self {
        Self {
            state,
            message: None,
            usage: None,
            stop_reason: None,
            error: None,
        }
    }
}

/// `chat` with the one member that its type has no place for: the kind of an error.
#[derive(serde::Serialize)]
struct Chat<'a> {
    #[serde(flatten)]
    event: ChatEvent,
    #[serde(rename = "errorKind", skip_serializing_if = "Option::is_none")]
    error_kind: Option<&'a str>,
}

fn chat(event: &RunEvent, ending: Ending<'_>) -> Push {
    let usage = ending.usage.as_ref().map(shape::usage_shape);
    let payload = Chat {
        event: ChatEvent {
            run_id: event.run_id.to_string(),
            session_key: event.session_key.to_string(),
            seq: event.seq,
            state: ending.state,
            agent_id: Some(event.agent_id().to_owned()),
            phase: None,
            delta_text: None,
            replace: None,
            message: ending.message.map(shape::message),
            usage,
            stop_reason: ending.stop_reason.map(str::to_owned),
            error_message: ending.error.map(|(text, _)| text.to_owned()),
        },
        error_kind: ending.error.map(|(_, kind)| kind),
    };
    Push::plain("chat", &payload)
}
