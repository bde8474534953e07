//! One WebSocket connection: the handshake, the task that owns the socket, and the registry of
//! everybody who is connected.

mod actor;
mod connect_params;
mod delta;
mod frames;
mod handshake;
mod hello;
mod intake;
mod lobby;
mod outbox;
mod registry;
mod socket;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use clawline::protocol::Protocol;
use clawline::protocol::error::RpcError;
use clawline::protocol::frame::Response;
use clawline::protocol::hello::ClientInfo;
use clawline::protocol::scope::{Needs, Role, Scope, Scopes};
use clawline::protocol::v3;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

use crate::auth::{AuthMethod, Caller};
use crate::nodes::Claims;

pub(crate) use actor::serve;
pub(crate) use delta::{Stream, TextDelta};
pub(crate) use intake::Intake;
pub(crate) use lobby::{Lobby, Seat};
pub(crate) use outbox::{Outbox, Push};
pub(crate) use registry::Registry;
pub(crate) use socket::Socket;

/// Calls of one connection that may be under way; further ones wait in the socket.
const MAX_CALLS: usize = 128;
/// Pages that are made for one connection at the same time; one can have tens of megabytes.
const MAX_PAGES: usize = 2;
/// Client capability: `agent` and `chat` only of sessions that were subscribed or written to.
const CAP_SESSION_SCOPED: &str = "session-scoped-events";

/// Client capabilities: it shows approvals to a person.
const CAPS_APPROVALS: [&str; 2] = ["approvals", "exec-approvals"];
/// Clients that do so without saying it.
const APPROVER_IDS: [&str; 4] = [
    "openclaw-control-ui",
    "openclaw-macos",
    "openclaw-ios",
    "openclaw-android",
];

fn is_approver(client_id: &str, caps: &[String]) -> bool {
    APPROVER_IDS.contains(&client_id)
        || caps
            .iter()
            .any(|cap| CAPS_APPROVALS.contains(&cap.as_str()))
}

/// The id of a connection, as hello tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(uuid::Uuid);

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who a connection is and what it may do.
#[derive(Debug, Clone)]
pub struct Principal {
    /// Operator or node.
    pub role: Role,
    /// What it may do now.
    pub scopes: Scopes,
    /// The proven device.
    pub device_id: Option<String>,
    /// Of the device's token in this role, when it was let in.
    pub generation: Option<i64>,
    /// By which credential it came in.
    pub method: AuthMethod,
    /// Of the shared secret and mode by which it came in; another one in force makes it void.
    pub shared_tag: Option<u64>,
}

impl Principal {
    /// Whether a call or an event with these needs is for it.
    pub fn satisfies(&self, needs: Needs) -> bool {
        match needs {
            Needs::Anyone => true,
            Needs::Operator(scope) => self.role == Role::Operator && self.scopes.grants(scope),
            Needs::Node => self.role == Role::Node,
        }
    }

    /// Whether there is nothing that it may do but ask how the gateway is.
    pub fn is_guest(&self) -> bool {
        self.role == Role::Operator && self.scopes.is_empty()
    }

    /// Whether it may see, and with the scope for it change, what is stored of this device: a device
    /// itself only, unless it is admin. Without a device it is the owner's own command line.
    pub fn manages(&self, device_id: &str) -> bool {
        let own = self.device_id.as_deref();
        own.is_none_or(|own| own == device_id) || self.scopes.grants(Scope::Admin)
    }
}

/// A connection after its hello, as everybody else sees it.
pub(crate) struct Conn {
    pub(crate) id: ConnId,
    pub(crate) version: Protocol,
    pub(crate) principal: Principal,
    pub(crate) client: ClientInfo,
    pub(crate) caller: Caller,
    /// ms since the epoch.
    pub(crate) connected_at: i64,
    pub(crate) outbox: Outbox,
    /// What a node says it can do; absent for operators.
    pub(crate) node: Option<Box<Claims>>,
    /// It shows approvals to a person.
    pub(crate) is_approver: bool,
    is_session_scoped: bool,
    subscriptions: Mutex<Subscriptions>,
    lanes: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    calls: Arc<Semaphore>,
    pages: Semaphore,
    stop: CancellationToken,
    farewell: OnceLock<(u16, String)>,
    /// It was sent `shutdown`.
    is_told: AtomicBool,
    /// Ids of calls that are under way on tasks of their own.
    in_flight: Mutex<HashSet<String>>,
}

/// What a connection asked to be told about.
#[derive(Debug, Default)]
struct Subscriptions {
    all_sessions: bool,
    sessions: HashSet<String>,
}

/// What a session event is, for filtering by subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    /// `sessions.changed`.
    Changed,
    /// `session.message`.
    Message,
    /// `agent` and `chat`.
    Run,
}

impl Conn {
    /// A connection that is about to be greeted; `stop` ends when the gateway does.
    pub(crate) fn new(
        version: Protocol,
        principal: Principal,
        client: ClientInfo,
        caps: &[String],
        caller: Caller,
        stop: &CancellationToken,
    ) -> Self {
        Self {
            is_approver: is_approver(&client.id, caps),
            id: ConnId(uuid::Uuid::new_v4()),
            version,
            principal,
            client,
            caller,
            connected_at: crate::store::now_ms(),
            outbox: Outbox::default(),
            node: None,
            is_session_scoped: caps.iter().any(|cap| cap == CAP_SESSION_SCOPED),
            subscriptions: Mutex::default(),
            lanes: Mutex::default(),
            calls: Arc::new(Semaphore::new(MAX_CALLS)),
            pages: Semaphore::new(MAX_PAGES),
            stop: stop.child_token(),
            farewell: OnceLock::new(),
            is_told: AtomicBool::new(false),
            in_flight: Mutex::default(),
        }
    }

    /// Waits until a large answer may be made for this connection; keep what comes back until it is.
    pub(crate) async fn page(&self) -> Option<SemaphorePermit<'_>> {
        let turn = self.pages.acquire().await.ok();
        self.outbox.room().await;
        turn
    }

    /// Sends the answer to a call.
    pub(crate) fn answer(&self, response: &Response, permit: Option<OwnedSemaphorePermit>) {
        let text = serde_json::to_string(&Tagged {
            kind: "res",
            response,
        });
        self.outbox.answer(text.unwrap_or_default(), permit);
    }

    /// Sends a refusal, worded for the version of this connection.
    pub(crate) fn refuse(
        &self,
        id: &str,
        error: RpcError,
        payload: Value,
        permit: Option<OwnedSemaphorePermit>,
    ) {
        let mut response = Response::error(id, v3::render_error(self.version, error));
        response.payload = payload;
        self.answer(&response, permit);
    }

    /// Whether a call with this id is under way.
    pub(crate) fn is_in_flight(&self, id: &str) -> bool {
        self.ids().contains(id)
    }

    /// Notes that a call is under way until what comes back is dropped.
    pub(crate) fn in_flight(self: &Arc<Self>, id: &str) -> InFlight {
        self.ids().insert(id.to_owned());
        InFlight {
            conn: self.clone(),
            id: id.to_owned(),
        }
    }

    fn ids(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends `shutdown`, once.
    pub(crate) fn announce_stop(&self) {
        if self.is_told.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut event = json!({"reason": "gateway stopping"});
        if self.version == Protocol::V3 {
            event["restartExpectedMs"] = Value::Null;
        }
        self.outbox.push(&Push::plain("shutdown", &event));
    }

    /// Ends the connection with this close; the first call counts.
    pub(crate) fn kick(&self, code: u16, reason: &str) {
        let _ = self.farewell.set((code, reason.to_owned()));
        self.stop.cancel();
    }

    /// As [`Conn::kick`], and what waits to be sent is let go: a device that may not be here any more
    /// is told nothing more.
    pub(crate) fn cut(&self, code: u16, reason: &str) {
        let _ = self.farewell.set((code, reason.to_owned()));
        self.outbox.close();
        self.stop.cancel();
    }

    /// True once its end is announced.
    pub(crate) fn is_leaving(&self) -> bool {
        self.farewell.get().is_some()
    }

    /// Ends the connection once every call under way is answered, or a few seconds later; it takes no
    /// further calls.
    pub(crate) fn end_after_answers(&self, code: u16, reason: &str) {
        let _ = self.farewell.set((code, reason.to_owned()));
    }

    /// True once nothing is left to do before the announced end.
    fn is_finished(&self) -> bool {
        self.farewell.get().is_some() && self.calls.available_permits() == MAX_CALLS
    }

    /// Ends when the connection is being closed.
    pub(crate) async fn ending(&self) {
        self.stop.cancelled().await;
    }

    /// Subscribes to every session.
    pub(crate) fn subscribe_all(&self) {
        self.with_subscriptions(|s| s.all_sessions = true);
    }

    /// Subscribes to one session, or ends that.
    pub(crate) fn subscribe(&self, key: &str, on: bool) {
        self.with_subscriptions(|s| {
            if !on {
                s.sessions.remove(key);
            } else if s.sessions.len() < MAX_SUBSCRIPTIONS {
                s.sessions.insert(key.to_owned());
            }
        });
    }

    /// Notes that this connection has started something in a session.
    pub(crate) fn takes_part(&self, key: &str) {
        if self.is_session_scoped {
            self.subscribe(key, true);
        }
    }

    /// Whether a session event of this kind is wanted here.
    fn wants(&self, topic: Topic, key: &str) -> bool {
        if topic == Topic::Run && !self.is_session_scoped {
            return true;
        }
        self.with_subscriptions(|s| match topic {
            Topic::Changed => s.all_sessions,
            Topic::Message => s.all_sessions || s.sessions.contains(key),
            Topic::Run => s.sessions.contains(key),
        })
    }

    fn with_subscriptions<T>(&self, act: impl FnOnce(&mut Subscriptions) -> T) -> T {
        act(&mut self
            .subscriptions
            .lock()
            .unwrap_or_else(PoisonError::into_inner))
    }

    /// The lane in which calls about one thing follow one another.
    pub(crate) fn lane(&self, key: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if lanes.len() > MAX_CALLS {
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
        }
        lanes.entry(key.to_owned()).or_default().clone()
    }
}

/// A call that is under way.
pub(crate) struct InFlight {
    conn: Arc<Conn>,
    id: String,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.conn.ids().remove(&self.id);
    }
}

/// Sessions that one connection may subscribe to by name.
const MAX_SUBSCRIPTIONS: usize = 4096;

/// A response with its `type`, without building a [`clawline::protocol::frame::Frame`] around it.
#[derive(serde::Serialize)]
struct Tagged<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    response: &'a Response,
}
