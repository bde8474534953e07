//! The one task that owns the socket: it dials, greets, serves calls and events, and comes back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use rand::RngExt as _;
use serde_json::Value;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::attempt::{self, Failure};
use super::call::{CallError, Command, Pending};
use super::dial::Dialer;
use super::handshake::{Greeted, Socket, lost};
use super::liveness::{Due, Liveness};
use super::reconnect::{Next, Reconnect};
use super::sniff::Movement;
use super::typed::Typed;
use super::{ClientEvent, ClientOptions, ClientView};
use crate::layer::{Layer, LayerError, Retry};
use crate::protocol::frame::{Event, Frame, Request};
use crate::protocol::limits::{MAX_MESSAGE, close};
use crate::tunnel::status::TunnelStatus;

/// How long a message may leave without a byte moving; longer means that the link is stuck.
const WRITE_DEADLINE: Duration = Duration::from_secs(20);
/// How long a goodbye may take.
const CLOSE_DEADLINE: Duration = Duration::from_millis(500);

/// The owner of the task: it ends with its owner.
#[derive(Debug)]
pub(super) struct Task {
    tracker: TaskTracker,
    abort: AbortHandle,
}

impl Task {
    pub(super) fn spawn(actor: Actor) -> Self {
        let tracker = TaskTracker::new();
        let abort = tracker.spawn(actor.run()).abort_handle();
        tracker.close();
        Self { tracker, abort }
    }

    pub(super) async fn finished(&self) {
        self.tracker.wait().await;
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

/// Why a connection or a wait ended.
enum End {
    /// Told to stop, or every handle is gone.
    Stopped,
    /// The link failed.
    Failed(Failure),
}

pub(super) struct Actor {
    dialer: Arc<dyn Dialer>,
    options: Arc<ClientOptions>,
    inbox: mpsc::Receiver<Command>,
    view: watch::Sender<ClientView>,
    events: broadcast::Sender<ClientEvent>,
    stop: CancellationToken,
    /// Given by a person; they replace the dialer's where they were meant for.
    typed: Typed,
    reconnect: Reconnect,
    pending: Pending,
    last_seq: Option<u64>,
    /// Of the connection that is up, or was last.
    movement: Option<Movement>,
}

impl Actor {
    pub(super) fn new(
        dialer: Arc<dyn Dialer>,
        options: ClientOptions,
        inbox: mpsc::Receiver<Command>,
        view: watch::Sender<ClientView>,
        events: broadcast::Sender<ClientEvent>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            dialer,
            options: Arc::new(options),
            inbox,
            view,
            events,
            stop,
            typed: Typed::default(),
            reconnect: Reconnect::default(),
            pending: Pending::default(),
            last_seq: None,
            movement: None,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            let end = match self.connect().await {
                Ok(greeted) => self.serve(greeted).await,
                Err(end) => end,
            };
            let End::Failed(failure) = end else { break };
            if !self.wait_after(failure).await {
                break;
            }
        }
        self.view.send_modify(|view| {
            view.status = TunnelStatus::Stopped;
            view.hello = None;
            view.rtt = None;
        });
    }

    /// Dials and greets, while calls are told that there is no connection.
    async fn connect(&mut self) -> Result<Greeted, End> {
        let attempt_number = self.reconnect.attempt();
        self.view.send_modify(|view| {
            view.status = TunnelStatus::Connecting {
                layer: Layer::Dns,
                attempt: attempt_number,
            };
            view.rows = crate::layer::LayerRows::default();
        });
        let mut attempt = std::pin::pin!(attempt::run(
            Arc::clone(&self.dialer),
            Arc::clone(&self.options),
            self.typed.clone(),
            self.view.clone(),
            attempt_number,
        ));
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(End::Stopped),
                command = self.inbox.recv() => {
                    let why = LayerError::new(Layer::Websocket, "still connecting");
                    match command {
                        None => return Err(End::Stopped),
                        Some(Command::UseCredentials(credentials)) => {
                            self.typed.set(credentials);
                        }
                        Some(command) => refuse(command, &why),
                    }
                }
                outcome = &mut attempt => return outcome.map_err(End::Failed),
            }
        }
    }

    /// Waits until the next try is due. False means stop.
    async fn wait_after(&mut self, failure: Failure) -> bool {
        let why = failure.error.clone();
        let random: f64 = rand::rng().random();
        let next = self.reconnect.failed(&why, Instant::now(), random);
        let next = match (next, failure.retry_after) {
            (Next::Attention(_), Some(after)) => Next::Attention(Some(after)),
            (next, _) => next,
        };
        let until = match next {
            Next::Wait(delay) => Some(Instant::now() + delay),
            Next::Attention(poll) => poll.map(|poll| Instant::now() + poll),
            Next::Stop => None,
        };
        let status = match (next, until) {
            (Next::Wait(_), Some(until)) => TunnelStatus::Waiting {
                until,
                why: why.clone(),
                attempt: self.reconnect.attempt(),
            },
            (Next::Stop, _) => TunnelStatus::Failed { why: why.clone() },
            _ => TunnelStatus::Attention { why: why.clone() },
        };
        self.view.send_modify(|view| {
            view.status = status;
            view.rows.fail(&why);
            view.hello = None;
            view.rtt = None;
            view.pairing_request = failure.pairing_request;
        });
        loop {
            let due = async {
                match until {
                    Some(until) => sleep_until(until.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return false,
                command = self.inbox.recv() => match command {
                    None => return false,
                    Some(Command::ReconnectNow) => {
                        self.reconnect.hurry();
                        return true;
                    }
                    Some(Command::UseCredentials(credentials)) => {
                        self.typed.set(credentials);
                        self.reconnect.hurry();
                        return true;
                    }
                    Some(command) => refuse(command, &why),
                },
                () = due => return true,
            }
        }
    }

    /// Serves one connection to its end.
    async fn serve(&mut self, greeted: Greeted) -> End {
        let tick =
            Duration::from_millis(greeted.hello.policy.tick_interval_ms.clamp(1_000, 600_000));
        let mut socket = greeted.socket;
        self.movement = Some(socket.get_ref().movement());
        let mut liveness = Liveness::new(tick, Instant::now());
        self.last_seq = None;
        let hello = Arc::new(greeted.hello);
        let mut generation = 0;
        self.view.send_modify(|view| {
            view.status = TunnelStatus::Up {
                since: Instant::now(),
            };
            view.generation += 1;
            generation = view.generation;
            view.hello = Some(hello);
            view.pairing_request = None;
        });
        self.tell(ClientEvent::Connected { generation });
        let end = self.serve_loop(&mut socket, &mut liveness).await;
        let why = match &end {
            End::Failed(failure) => failure.error.clone(),
            End::Stopped => {
                let goodbye = socket.close(None);
                let _ = timeout(CLOSE_DEADLINE, goodbye).await;
                LayerError::new(Layer::Websocket, "closed on request").retry(Retry::Never)
            }
        };
        self.pending.disconnect(&why);
        self.tell(ClientEvent::Disconnected { why });
        end
    }

    async fn serve_loop(&mut self, socket: &mut Socket, liveness: &mut Liveness) -> End {
        loop {
            let wake = self
                .pending
                .next_deadline()
                .map_or(liveness.next_wake(), |at| at.min(liveness.next_wake()));
            let step = tokio::select! {
                biased;
                () = self.stop.cancelled() => return End::Stopped,
                message = socket.next() => self.on_message(message, liveness),
                command = self.inbox.recv() => match command {
                    None => return End::Stopped,
                    Some(command) => self.on_command(command, socket, liveness).await,
                },
                () = sleep_until(wake.into()) => self.on_wake(socket, liveness).await,
            };
            if let Err(failure) = step {
                return End::Failed(failure);
            }
        }
    }

    fn on_message(
        &mut self,
        message: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
        liveness: &mut Liveness,
    ) -> Result<(), Failure> {
        let now = Instant::now();
        let text = match message {
            Some(Ok(Message::Text(text))) => text.as_str().to_owned(),
            Some(Ok(Message::Binary(bytes))) => String::from_utf8_lossy(&bytes).into_owned(),
            Some(Ok(Message::Pong(content))) => {
                let id = content.as_ref().try_into().map(u64::from_be_bytes).ok();
                if let Some(rtt) = id.and_then(|id| liveness.pong(id, now)) {
                    self.reconnect.proved();
                    self.view.send_modify(|view| view.rtt = Some(rtt));
                }
                return Ok(());
            }
            Some(Ok(Message::Close(frame))) => return Err(self.closed(frame.as_ref())),
            Some(Ok(_)) => return Ok(()),
            Some(Err(error)) => {
                return Err(lost(Layer::Websocket, &error).retry(Retry::Soon).into());
            }
            None => return Err(self.closed(None)),
        };
        liveness.message(now);
        match Frame::parse(&text) {
            Ok(Frame::Response(response)) => self.pending.answer(response),
            Ok(Frame::Event(event)) => self.on_event(event),
            Ok(Frame::Request(request)) => {
                tracing::debug!(method = %request.method, "the gateway sent a request; ignored");
            }
            Err(error) => tracing::warn!(%error, "the gateway sent what is no frame; ignored"),
        }
        Ok(())
    }

    fn on_event(&mut self, event: Event) {
        if let Some(seq) = event.seq {
            let expected = self.last_seq.map(|last| last + 1);
            self.last_seq = Some(seq);
            if let Some(expected) = expected
                && expected != seq
            {
                self.tell(ClientEvent::Gap {
                    expected,
                    received: seq,
                });
            }
        }
        self.tell(ClientEvent::Event(Arc::new(event)));
    }

    /// What a close means for the next try (PROTOCOL.md §1.5).
    fn closed(&self, frame: Option<&CloseFrame>) -> Failure {
        let code = frame.map_or(1006, |frame| u16::from(frame.code));
        let reason = frame.map(|frame| frame.reason.as_str()).unwrap_or_default();
        let (what, retry) = match code {
            close::RESTART => ("the gateway is restarting", Retry::Soon),
            close::TRY_AGAIN => ("the gateway is starting", Retry::Soon),
            close::AUTH_CHANGED => ("the gateway changed who may connect", Retry::Soon),
            close::TOO_LARGE => ("the gateway found a message too large", Retry::Backoff),
            close::POLICY => ("the gateway closed the connection", Retry::Backoff),
            _ => ("the gateway closed the connection", Retry::Soon),
        };
        if code == close::AUTH_CHANGED {
            attempt::forget_device_token(&self.options);
        }
        let words = if frame.is_some() {
            format!("{code} {reason}")
        } else {
            String::new()
        };
        LayerError::new(Layer::Websocket, what)
            .peer(words.trim())
            .retry(retry)
            .into()
    }

    async fn on_command(
        &mut self,
        command: Command,
        socket: &mut Socket,
        liveness: &mut Liveness,
    ) -> Result<(), Failure> {
        match command {
            Command::Call {
                method,
                params,
                until,
                wanted,
                reply,
            } => {
                let id = Uuid::new_v4().to_string();
                let text = request_text(&id, &method, params);
                if text.len() > MAX_MESSAGE {
                    let why = format!(
                        "the request is {} bytes, the limit {MAX_MESSAGE}",
                        text.len()
                    );
                    let _ = reply.send(Err(CallError::Unreadable { method, why }));
                    return Ok(());
                }
                self.pending.add(id, method, until, wanted, reply);
                write(socket, Message::text(text)).await
            }
            Command::Probe => {
                liveness.probe(Instant::now());
                Ok(())
            }
            Command::ReconnectNow => Ok(()),
            Command::UseCredentials(credentials) => {
                self.typed.set(credentials);
                Ok(())
            }
        }
    }

    async fn on_wake(
        &mut self,
        socket: &mut Socket,
        liveness: &mut Liveness,
    ) -> Result<(), Failure> {
        let now = Instant::now();
        self.pending.expire(now);
        if let Some(movement) = &self.movement {
            liveness.movement(movement.last());
        }
        match liveness.due(now) {
            Due::Nothing => Ok(()),
            Due::Ping(id) => {
                let content = id.to_be_bytes().to_vec();
                write(socket, Message::Ping(content.into())).await
            }
            Due::NoPong(after) => Err(LayerError::new(
                Layer::Websocket,
                format!(
                    "the gateway did not answer for {:.1} s",
                    after.as_secs_f32()
                ),
            )
            .retry(Retry::Soon)
            .into()),
            Due::NoTick(after) => {
                let frame = CloseFrame {
                    code: close::TICK_TIMEOUT.into(),
                    reason: "tick timeout".into(),
                };
                let _ = timeout(CLOSE_DEADLINE, socket.close(Some(frame))).await;
                Err(LayerError::new(
                    Layer::Websocket,
                    format!("the gateway sent nothing for {} s", after.as_secs()),
                )
                .retry(Retry::Soon)
                .into())
            }
        }
    }

    fn tell(&self, event: ClientEvent) {
        // Nobody listening is fine.
        let _ = self.events.send(event);
    }
}

/// Tells a caller that there is no connection; other commands mean nothing now.
fn refuse(command: Command, why: &LayerError) {
    if let Command::Call { reply, .. } = command {
        let _ = reply.send(Err(CallError::NotConnected(why.clone())));
    }
}

fn request_text(id: &str, method: &str, params: Value) -> String {
    Frame::Request(Request {
        id: id.to_owned(),
        method: method.to_owned(),
        params,
    })
    .to_text()
}

/// Writes one message, for as long as bytes move.
async fn write(socket: &mut Socket, message: Message) -> Result<(), Failure> {
    let movement = socket.get_ref().movement();
    let mut sending = std::pin::pin!(socket.send(message));
    let sent = loop {
        match timeout(WRITE_DEADLINE, &mut sending).await {
            Ok(sent) => break Some(sent),
            Err(_) if movement.last().elapsed() < WRITE_DEADLINE => {}
            Err(_) => break None,
        }
    };
    match sent {
        Some(Ok(())) => Ok(()),
        Some(Err(error)) => Err(lost(Layer::Websocket, &error).retry(Retry::Soon).into()),
        None => Err(LayerError::new(
            Layer::Websocket,
            format!(
                "nothing could be sent for {} s; the link is stuck",
                WRITE_DEADLINE.as_secs()
            ),
        )
        .retry(Retry::Soon)
        .into()),
    }
}
