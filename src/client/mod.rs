//! The client of a gateway: one handle, one task behind it, over any byte stream.
//!
//! [`Client::start`] dials, greets and keeps a connection; it comes back by itself and publishes one
//! [`ClientView`]. Calls have deadlines and are answered exactly once; events come in order.

mod actor;
mod attempt;
mod call;
pub mod dial;
mod handshake;
mod liveness;
pub mod reconnect;
pub mod refusal;
mod sniff;
pub mod tcp;
#[cfg(test)]
mod tests;
mod tls;
mod tls_fault;
pub mod tokens;
mod typed;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

pub use call::CallError;
use call::{Command, Reply, Wanted};
use dial::{Credentials, Dialer};
pub use tls::{Fingerprint, connect as connect_tls, pinned};
use tokens::TokenStore;

use crate::identity::Identity;
use crate::layer::{Layer, LayerError, LayerRows, Retry};
use crate::protocol::frame::Event;
use crate::protocol::hello::{ClientInfo, HelloOk, our_platform};
use crate::protocol::method::Method;
use crate::protocol::methods::agent::{Agent, AgentParams, AgentReply};
use crate::protocol::scope::{Role, Scope};
use crate::tunnel::status::TunnelStatus;

/// How long a call waits for its answer when nothing else was said.
pub const CALL_DEADLINE: Duration = Duration::from_secs(30);
/// Calls on their way to the task; a full queue makes callers wait within their deadline.
const COMMANDS: usize = 64;
/// Events that a slow reader may lag behind before it is told that it missed some.
const EVENTS: usize = 1024;

/// Who we are to a gateway, and what we remember of it.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// The device key.
    pub identity: Arc<Identity>,
    /// Name and kind of this program.
    pub client: ClientInfo,
    /// Operator, or node.
    pub role: Role,
    /// Always the same, in the same order: other scopes would need a new approval.
    pub scopes: Vec<String>,
    /// What we can take; of a node, what it has.
    pub caps: Vec<String>,
    /// The commands that a node offers.
    pub commands: Option<Vec<String>>,
    /// Where a node's programs are.
    pub path_env: Option<String>,
    /// Device tokens of this gateway.
    pub tokens: Arc<TokenStore>,
}

impl ClientOptions {
    /// The app and its subcommands (DESIGN §9).
    pub fn operator(identity: Arc<Identity>, tokens: Arc<TokenStore>) -> Self {
        let (platform, family) = our_platform();
        Self {
            identity,
            client: ClientInfo {
                id: "gateway-client".into(),
                mode: "ui".into(),
                version: env!("CARGO_PKG_VERSION").into(),
                platform: platform.into(),
                display_name: Some(host_name()),
                device_family: Some(family.into()),
                model_identifier: None,
                instance_id: Some(uuid::Uuid::new_v4().to_string()),
            },
            role: Role::Operator,
            scopes: Scope::OURS
                .iter()
                .map(|scope| scope.as_str().to_owned())
                .collect(),
            caps: vec!["tool-events".into()],
            commands: None,
            path_env: None,
            tokens,
        }
    }

    /// A node host under `display_name`, with a device key of its own.
    pub fn node(
        identity: Arc<Identity>,
        tokens: Arc<TokenStore>,
        display_name: Option<String>,
    ) -> Self {
        let operator = Self::operator(identity, tokens);
        let client = ClientInfo {
            id: "node-host".into(),
            mode: "node".into(),
            display_name: display_name.or(operator.client.display_name),
            ..operator.client
        };
        Self {
            client,
            role: Role::Node,
            scopes: Vec::new(),
            caps: Vec::new(),
            ..operator
        }
    }
}

fn host_name() -> String {
    let name = gethostname::gethostname().to_string_lossy().into_owned();
    crate::layer::printable(&name, 64)
}

/// What a client publishes.
#[derive(Debug, Clone)]
pub struct ClientView {
    /// Where it is.
    pub status: TunnelStatus,
    /// The rows it knows of: those of the dialer, then `websocket` to `pairing`.
    pub rows: LayerRows,
    /// The hello of the connection that is up.
    pub hello: Option<Arc<HelloOk>>,
    /// The last round trip to the gateway.
    pub rtt: Option<Duration>,
    /// Rises with every hello; 1 for the first.
    pub generation: u64,
    /// The pairing request that waits for a person.
    pub pairing_request: Option<String>,
}

/// What a client tells those who listen.
#[derive(Debug, Clone)]
pub enum ClientEvent {
    /// A hello came.
    Connected {
        /// Its number.
        generation: u64,
    },
    /// The connection is gone.
    Disconnected {
        /// Why.
        why: LayerError,
    },
    /// A push of the gateway.
    Event(Arc<Event>),
    /// Numbers are missing: read history, do not replay.
    Gap {
        /// The number that should have come.
        expected: u64,
        /// The number that came.
        received: u64,
    },
}

/// A handle to the task that keeps the connection. Clones share it; the task ends when the last handle
/// is dropped or [`Client::stop`] is called.
#[derive(Debug, Clone)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    view: watch::Receiver<ClientView>,
    events: broadcast::Sender<ClientEvent>,
    stop: CancellationToken,
    task: Arc<actor::Task>,
}

impl Client {
    /// Starts the task; returns at once. Must be called inside a tokio runtime.
    pub fn start(dialer: Arc<dyn Dialer>, options: ClientOptions) -> Self {
        Self::start_heard(dialer, options).0
    }

    /// The same with every push from the first one on: a gateway may push as soon as it said hello, and
    /// who asks for [`Client::events`] after the start may come too late for that.
    pub fn start_heard(
        dialer: Arc<dyn Dialer>,
        options: ClientOptions,
    ) -> (Self, broadcast::Receiver<ClientEvent>) {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (view_tx, view) = watch::channel(ClientView {
            status: TunnelStatus::Connecting {
                layer: Layer::Dns,
                attempt: 1,
            },
            rows: LayerRows::default(),
            hello: None,
            rtt: None,
            generation: 0,
            pairing_request: None,
        });
        let (events, heard) = broadcast::channel(EVENTS);
        let stop = CancellationToken::new();
        let actor = actor::Actor::new(
            dialer,
            options,
            inbox,
            view_tx,
            events.clone(),
            stop.clone(),
        );
        let task = Arc::new(actor::Task::spawn(actor));
        let client = Self {
            commands,
            view,
            events,
            stop,
            task,
        };
        (client, heard)
    }

    /// The published state; the receiver wakes on each change.
    pub fn view(&self) -> watch::Receiver<ClientView> {
        self.view.clone()
    }

    /// Pushes from now on, in order. A reader that lags by more than 1,024 is told so by the channel.
    pub fn events(&self) -> broadcast::Receiver<ClientEvent> {
        self.events.subscribe()
    }

    /// The hello of the connection that is up now.
    pub fn hello(&self) -> Option<Arc<HelloOk>> {
        self.view.borrow().hello.clone()
    }

    /// Waits until a hello came.
    ///
    /// # Errors
    /// What a person has to mend, at once; or, after `deadline`, what the last failure was.
    pub async fn wait_up(&self, deadline: Duration) -> Result<Arc<HelloOk>, LayerError> {
        let mut view = self.view.clone();
        let settled = view.wait_for(|view| {
            view.hello.is_some()
                || matches!(
                    view.status,
                    TunnelStatus::Attention { .. }
                        | TunnelStatus::Failed { .. }
                        | TunnelStatus::Stopped
                )
        });
        let outcome = tokio::time::timeout(deadline, settled)
            .await
            .map(|settled| settled.map(|view| (view.hello.clone(), view.status.clone())));
        match outcome {
            Ok(Ok((Some(hello), _))) => Ok(hello),
            Ok(Ok((None, status))) => Err(why_of(&status)),
            Ok(Err(_)) => Err(why_of(&TunnelStatus::Stopped)),
            Err(_) => {
                let status = self.view.borrow().status.clone();
                Err(match status {
                    TunnelStatus::Waiting { why, .. } => why,
                    TunnelStatus::Connecting { layer, .. } => LayerError::new(
                        layer,
                        format!("not connected after {} s", deadline.as_secs()),
                    ),
                    other => why_of(&other),
                })
            }
        }
    }

    /// Calls a method and waits up to [`CALL_DEADLINE`].
    ///
    /// # Errors
    /// [`CallError`]. After `Disconnected` or `Timeout` the gateway may or may not have done it.
    pub async fn call<M: Method>(&self, params: M::Params) -> Result<M::Reply, CallError> {
        self.call_within::<M>(params, CALL_DEADLINE).await
    }

    /// Calls a method with a deadline of its own.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn call_within<M: Method>(
        &self,
        params: M::Params,
        deadline: Duration,
    ) -> Result<M::Reply, CallError> {
        let params = serde_json::to_value(params).map_err(|error| CallError::Unreadable {
            method: M::NAME.to_owned(),
            why: error.to_string(),
        })?;
        let value = self.call_value(M::NAME, params, deadline).await?;
        serde_json::from_value(value).map_err(|error| CallError::Unreadable {
            method: M::NAME.to_owned(),
            why: error.to_string(),
        })
    }

    /// Calls any method with plain JSON.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn call_value(
        &self,
        method: &str,
        params: Value,
        deadline: Duration,
    ) -> Result<Value, CallError> {
        let (reply, answer) = oneshot::channel();
        self.send(method, params, deadline, Wanted::First, reply)
            .await?;
        answer.await.unwrap_or_else(|_| Err(CallError::Stopped))
    }

    /// Runs `agent` and waits for its second answer.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn agent(
        &self,
        params: AgentParams,
        deadline: Duration,
    ) -> Result<AgentReply, CallError> {
        let method = Agent::NAME;
        let unreadable = |error: serde_json::Error| CallError::Unreadable {
            method: method.to_owned(),
            why: error.to_string(),
        };
        let params = serde_json::to_value(params).map_err(unreadable)?;
        let (reply, answer) = oneshot::channel();
        self.send(method, params, deadline, Wanted::Last, reply)
            .await?;
        let value = answer.await.unwrap_or_else(|_| Err(CallError::Stopped))?;
        serde_json::from_value(value).map_err(unreadable)
    }

    async fn send(
        &self,
        method: &str,
        params: Value,
        deadline: Duration,
        wanted: Wanted,
        reply: Reply,
    ) -> Result<(), CallError> {
        let command = Command::Call {
            method: method.to_owned(),
            params,
            until: Instant::now() + deadline,
            wanted,
            reply,
        };
        match tokio::time::timeout(deadline, self.commands.send(command)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(CallError::Stopped),
            Err(_) => Err(CallError::Timeout {
                method: method.to_owned(),
                after: deadline,
            }),
        }
    }

    /// Tries now instead of later. Never waits; a full queue already has work that wakes the task.
    pub fn reconnect_now(&self) {
        let _ = self.commands.try_send(Command::ReconnectNow);
    }

    /// Shows these credentials from now on, instead of the dialer's, to the gateway that was dialled last,
    /// and tries now. A gateway that the dialer finds under another id does not see them.
    pub async fn use_credentials(&self, credentials: Credentials) {
        let _ = self
            .commands
            .send(Command::UseCredentials(credentials))
            .await;
    }

    /// Checks within a short deadline whether the connection is alive; a dead one is replaced.
    pub fn probe_now(&self) {
        let _ = self.commands.try_send(Command::Probe);
    }

    /// Closes the connection and ends the task.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.task.finished().await;
    }
}

fn why_of(status: &TunnelStatus) -> LayerError {
    match status {
        TunnelStatus::Attention { why }
        | TunnelStatus::Failed { why }
        | TunnelStatus::Waiting { why, .. } => why.clone(),
        TunnelStatus::Connecting { layer, .. } => LayerError::new(*layer, "still connecting"),
        TunnelStatus::Stopped | TunnelStatus::Paused | TunnelStatus::Up { .. } => {
            LayerError::new(Layer::Websocket, "the connection was closed").retry(Retry::Never)
        }
    }
}
