//! A piece of a run's text on its way: cumulative text and what is new, so that an unsent piece can
//! take up the next one without anything being lost.

use std::sync::{Arc, OnceLock};

use clawline::protocol::Protocol;
use clawline::protocol::event::{AgentEvent, ChatEvent, ChatState};
use clawline::protocol::methods::chat::ChatMessage;
use serde_json::{Map, Value, json};

use super::outbox::json as to_json;
use crate::runs::RunEvent;

/// Which of a run's texts it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// The answer, as `chat`.
    Chat,
    /// The answer, as `agent`.
    Assistant,
    /// The reasoning, as `agent`.
    Thinking,
}

/// One piece.
#[derive(Debug)]
pub(crate) struct TextDelta {
    stream: Stream,
    run_id: String,
    session_key: String,
    session_id: String,
    agent_id: String,
    seq: u64,
    at: i64,
    text: Arc<str>,
    delta: String,
    payload: OnceLock<Arc<str>>,
    v3_payload: OnceLock<Arc<str>>,
}

impl TextDelta {
    pub(crate) fn new(stream: Stream, event: &RunEvent, text: &Arc<str>, delta: &str) -> Self {
        Self {
            stream,
            run_id: event.run_id.to_string(),
            session_key: event.session_key.to_string(),
            session_id: event.session_id.clone(),
            agent_id: event.agent_id().to_owned(),
            seq: event.seq,
            at: event.at,
            text: text.clone(),
            delta: delta.to_owned(),
            payload: OnceLock::new(),
            v3_payload: OnceLock::new(),
        }
    }

    /// The event's name.
    pub(crate) fn event(&self) -> &'static str {
        match self.stream {
            Stream::Chat => "chat",
            Stream::Assistant | Stream::Thinking => "agent",
        }
    }

    /// Whether `other` is a piece of the same text.
    pub(super) fn continues(&self, other: &Self) -> bool {
        self.stream == other.stream && self.run_id == other.run_id
    }

    /// This piece and the `next` one as one.
    pub(super) fn merged(&self, next: &Self) -> Self {
        Self {
            stream: next.stream,
            run_id: next.run_id.clone(),
            session_key: next.session_key.clone(),
            session_id: next.session_id.clone(),
            agent_id: next.agent_id.clone(),
            seq: next.seq,
            at: next.at,
            text: next.text.clone(),
            delta: format!("{}{}", self.delta, next.delta),
            payload: OnceLock::new(),
            v3_payload: OnceLock::new(),
        }
    }

    /// The payload as JSON text, made once for all connections.
    pub(super) fn payload(&self) -> Arc<str> {
        self.payload
            .get_or_init(|| self.write(Protocol::V4))
            .clone()
    }

    /// The same for connections of version 3, which knows neither `deltaText` nor whose run it is.
    pub(super) fn v3_payload(&self) -> Arc<str> {
        self.v3_payload
            .get_or_init(|| self.write(Protocol::V3))
            .clone()
    }

    fn write(&self, version: Protocol) -> Arc<str> {
        let in_v4 = |text: &String| (version == Protocol::V4).then(|| text.clone());
        let stream = match self.stream {
            Stream::Chat => {
                return to_json(&ChatEvent {
                    run_id: self.run_id.clone(),
                    session_key: self.session_key.clone(),
                    seq: self.seq,
                    state: ChatState::Delta,
                    agent_id: in_v4(&self.agent_id),
                    phase: None,
                    delta_text: in_v4(&self.delta),
                    replace: None,
                    message: Some(ChatMessage::text_message("assistant", &self.text, self.at)),
                    usage: None,
                    stop_reason: None,
                    error_message: None,
                });
            }
            Stream::Assistant => "assistant",
            Stream::Thinking => "thinking",
        };
        let mut data = Map::new();
        data.insert("text".into(), Value::String(self.text.to_string()));
        data.insert("delta".into(), json!(self.delta));
        to_json(&AgentEvent {
            run_id: self.run_id.clone(),
            seq: self.seq,
            stream: stream.to_owned(),
            ts: self.at,
            data,
            session_key: Some(self.session_key.clone()),
            session_id: in_v4(&self.session_id),
            agent_id: in_v4(&self.agent_id),
        })
    }
}
