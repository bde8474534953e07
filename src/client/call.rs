//! Calls on their way: what was asked, who waits, and how it can fail.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::oneshot;

use super::dial::Credentials;
use crate::layer::LayerError;
use crate::protocol::error::RpcError;
use crate::protocol::frame::Response;

/// Why a call has no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There is no connection; nothing was sent.
    #[error("not connected: {0}")]
    NotConnected(LayerError),
    /// The connection was lost before the answer; it may or may not have been done.
    #[error("{method}: the connection was lost before the answer: {why}")]
    Disconnected {
        /// The method.
        method: String,
        /// Why the connection ended.
        why: LayerError,
    },
    /// No answer in time; it may or may not have been done.
    #[error("{method}: no answer within {} s", after.as_secs_f32())]
    Timeout {
        /// The method.
        method: String,
        /// How long we waited.
        after: Duration,
    },
    /// The gateway said no.
    #[error("{method}: {error}")]
    Refused {
        /// The method.
        method: String,
        /// Its words.
        error: Box<RpcError>,
    },
    /// What came is not what the method answers.
    #[error("{method}: the answer cannot be read: {why}")]
    Unreadable {
        /// The method.
        method: String,
        /// Why.
        why: String,
    },
    /// The client was stopped.
    #[error("the connection was closed")]
    Stopped,
}

pub(super) type Reply = oneshot::Sender<Result<Value, CallError>>;

/// Which answer a caller wants, where two come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The first one.
    First,
    /// The one whose status is not `accepted`.
    Last,
}

/// What handles ask of the task.
#[derive(Debug)]
pub(super) enum Command {
    Call {
        method: String,
        params: Value,
        until: Instant,
        wanted: Wanted,
        reply: Reply,
    },
    ReconnectNow,
    UseCredentials(Credentials),
    Probe,
}

/// The calls that wait for an answer.
#[derive(Debug, Default)]
pub(super) struct Pending {
    calls: HashMap<String, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    method: String,
    asked: Instant,
    until: Instant,
    wanted: Wanted,
    reply: Reply,
}

impl Pending {
    pub(super) fn add(
        &mut self,
        id: String,
        method: String,
        until: Instant,
        wanted: Wanted,
        reply: Reply,
    ) {
        let waiting = Waiting {
            method,
            asked: Instant::now(),
            until,
            wanted,
            reply,
        };
        self.calls.insert(id, waiting);
    }

    /// Hands an answer to who waits for it; answers that nobody waits for are dropped.
    pub(super) fn answer(&mut self, response: Response) {
        let Some(waiting) = self.calls.get(&response.id) else {
            return;
        };
        let accepted = response.payload.get("status").and_then(Value::as_str) == Some("accepted");
        if response.ok && accepted && waiting.wanted == Wanted::Last {
            return;
        }
        let Some(waiting) = self.calls.remove(&response.id) else {
            return;
        };
        let result = match (response.ok, response.error) {
            (true, _) => Ok(response.payload),
            (false, error) => Err(CallError::Refused {
                method: waiting.method,
                error: Box::new(
                    error.unwrap_or_else(|| RpcError::unavailable("the gateway gave no reason")),
                ),
            }),
        };
        let _ = waiting.reply.send(result);
    }

    /// Ends the calls whose time is over and those that nobody waits for any more.
    pub(super) fn expire(&mut self, now: Instant) {
        let over: Vec<String> = self
            .calls
            .iter()
            .filter(|(_, waiting)| waiting.until <= now || waiting.reply.is_closed())
            .map(|(id, _)| id.clone())
            .collect();
        for id in over {
            if let Some(waiting) = self.calls.remove(&id) {
                let _ = waiting.reply.send(Err(CallError::Timeout {
                    method: waiting.method,
                    after: waiting.until.saturating_duration_since(waiting.asked),
                }));
            }
        }
    }

    /// When the next call's time is over.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.calls.values().map(|waiting| waiting.until).min()
    }

    /// Ends every call because the connection ended.
    pub(super) fn disconnect(&mut self, why: &LayerError) {
        for (_, waiting) in self.calls.drain() {
            let _ = waiting.reply.send(Err(CallError::Disconnected {
                method: waiting.method,
                why: why.clone(),
            }));
        }
    }
}
