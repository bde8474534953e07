//! What the gateway says by itself.

use clawline::protocol::Protocol;
use clawline::protocol::event::{
    AgentEvent, ChatEvent, ChatState, PresenceEvent, SessionMessageEvent, SessionsChangedEvent,
    ShutdownEvent,
};
use clawline::protocol::frame::Event;
use clawline::protocol::methods::system::HealthReply;
use serde::de::DeserializeOwned;

use super::{approvals, list_sessions, want_newest};
use crate::app::effect::Effect;
use crate::app::model::{Model, full_key};
use crate::outbox::Delivery;
use crate::widgets::text::one_line;

fn read<T: DeserializeOwned>(event: &Event) -> Option<T> {
    // What we cannot read is newer than we are, or not for us; history tells the rest.
    serde_json::from_value(event.payload.clone()).ok()
}

/// Takes an event; one that cannot be read is left out.
pub(super) fn gateway(model: &mut Model, event: &Event) -> Vec<Effect> {
    match event.event.as_str() {
        "chat" => read(event).map_or(vec![], |event| chat(model, &event)),
        "agent" => read(event).map_or(vec![], |event| agent(model, &event)),
        "sessions.changed" => read::<SessionsChangedEvent>(event).map_or(vec![], |event| {
            if model.sessions.change(&event) {
                vec![]
            } else {
                list_sessions(model).into_iter().collect()
            }
        }),
        "session.message" => read(event).map_or(vec![], |event| session_message(model, &event)),
        "presence" => {
            if let Some(event) = read::<PresenceEvent>(event) {
                model.health.present = event.presence.len();
            }
            vec![]
        }
        "health" => {
            if let Some(reply) = read::<HealthReply>(event) {
                model.health.last = Some(reply);
            }
            vec![]
        }
        "exec.approval.requested" => {
            if let Some(row) = read(event) {
                approvals::requested(model, &row);
            }
            vec![]
        }
        "exec.approval.resolved" => {
            if let Some(event) = read(event) {
                approvals::resolved(model, &event);
            }
            vec![]
        }
        "shutdown" => {
            let reason = read::<ShutdownEvent>(event).map(|event| one_line(&event.reason));
            let reason = reason.filter(|reason| !reason.is_empty());
            let reason = reason.unwrap_or_else(|| "the gateway is stopping".to_owned());
            model.remark(reason, true);
            vec![]
        }
        _ => vec![],
    }
}

fn is_on_screen(model: &Model, session: &str) -> bool {
    session == model.chat.session || full_key(session, model.default_agent()) == model.chat.session
}

fn chat(model: &mut Model, event: &ChatEvent) -> Vec<Effect> {
    let now = model.now;
    let session = full_key(&event.session_key, model.default_agent());
    let is_end = matches!(
        event.state,
        ChatState::Final | ChatState::Aborted | ChatState::Error
    );
    if is_end {
        model
            .sessions
            .run_ended(&session, &event.run_id, now.wall_ms);
    } else if !model.chat.has_ended(&event.run_id) {
        model
            .sessions
            .run_started(&session, &event.run_id, now.wall_ms);
    }
    let mut effects = Vec::new();
    if is_end {
        effects.extend(settled(model, &event.run_id));
    }
    if is_on_screen(model, &event.session_key) {
        if model.chat.hear_chat(event, now) {
            effects.extend(want_newest(model));
        }
        // Version 3 does not say that a session changed.
        let is_silent = model
            .hello
            .as_ref()
            .is_some_and(|hello| hello.protocol == Protocol::V3);
        if is_end && is_silent {
            effects.extend(list_sessions(model));
        }
    } else if is_end {
        model.sessions.unread.insert(session);
    }
    effects
}

/// The gateway certainly has a message: it leaves the outbox.
pub(super) fn settled(model: &mut Model, key: &str) -> Vec<Effect> {
    if !model.outbox.run_over(key) {
        return vec![];
    }
    model.chat.set_delivery(key, &Delivery::Accepted);
    vec![Effect::Note {
        key: key.to_owned(),
        delivery: Delivery::Accepted,
    }]
}

fn agent(model: &mut Model, event: &AgentEvent) -> Vec<Effect> {
    let here = match &event.session_key {
        Some(session) => is_on_screen(model, session),
        None => model.chat.is_running(&event.run_id),
    };
    if here {
        let now = model.now;
        model.chat.hear_agent(event, now);
    }
    vec![]
}

fn session_message(model: &mut Model, event: &SessionMessageEvent) -> Vec<Effect> {
    let mut effects = Vec::new();
    if let Some(key) = event.message.sent_key() {
        effects.extend(settled(model, &key));
    }
    if is_on_screen(model, &event.session_key) {
        if model.chat.hear_message(event) {
            effects.extend(want_newest(model));
        }
    } else {
        let session = full_key(&event.session_key, model.default_agent());
        let at = model.now.wall_ms;
        model.sessions.touch(&session, at);
        if event.message.role == "assistant" {
            model.sessions.unread.insert(session);
        }
    }
    effects
}
