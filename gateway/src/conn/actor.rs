//! The one task of a connection: it alone touches the socket.

use std::sync::Arc;
use std::time::Duration;

use clawline::protocol::error::RpcError;
use clawline::protocol::frame::FrameError;
use clawline::protocol::limits::{self, close};
use clawline::protocol::unread::UnreadRequest;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until, timeout};

use super::frames::Budget;
use super::handshake::{self, Farewell};
use super::outbox::Item;
use super::registry::AUTH_CHANGED;
use super::socket::{Socket, Turn};
use super::{Conn, Seat};
use crate::auth::Caller;
use crate::rpc::{self, Verdict};
use crate::state::App;

/// How long a close may take on the wire.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);
/// The same for a slow consumer, which has to read what came before it.
const SLOW_CLOSE_DEADLINE: Duration = Duration::from_secs(10);
/// How long what is queued may take to go out when the gateway stops.
const LAST_WORDS_DEADLINE: Duration = Duration::from_secs(2);
/// How long calls under way may take to be answered before an announced end.
const LAST_ANSWERS_DEADLINE: Duration = Duration::from_secs(2);
/// What is handed to the socket before it is waited for.
const WRITE_BATCH: usize = 64 * 1024;
/// How long the store may take to say that a device may still come in.
const RECHECK_DEADLINE: Duration = Duration::from_secs(5);
/// Calls and frames that may be refused at once, and in the long run a second.
const FAULT_BURST: u32 = 400;
const FAULTS_A_SECOND: u32 = 200;
/// Longest id of a call, in bytes.
const MAX_ID: usize = 256;
/// Calls of the wrong role in a row before the connection is closed.
const MAX_ROLE_VIOLATIONS: u32 = 10;

/// Serves one WebSocket from its first byte to its last.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send>(
    app: App,
    mut socket: Socket<S>,
    caller: Caller,
    seat: Seat,
    accepted: Instant,
) {
    // Boxed, so that an idle connection does not keep the room of its handshake.
    let greeted = {
        let greeting = Box::pin(handshake::greet(&app, &mut socket, caller, &seat, accepted));
        tokio::select! {
            greeted = greeting => greeted,
            () = seat.evicted() => return,
            () = app.drain.cancelled() => Err(Farewell::silent(close::RESTART, "service restart")),
        }
    };
    let deadline = match greeted {
        Ok(conn) => {
            drop(seat);
            app.metrics.connected.one();
            let metrics = app.metrics.clone();
            let slow_close_deadline = app.policy.patiently(SLOW_CLOSE_DEADLINE);
            tracing::info!(conn = %conn.id, client = %conn.client.id, mode = %conn.client.mode, protocol = conn.version.number(), method = conn.principal.method.as_str(), "connected");
            let ended = Actor::new(app, conn.clone(), &mut socket).run().await;
            tracing::info!(conn = %conn.id, why = ended.as_str(), "disconnected");
            match ended {
                Ended::Slow => {
                    metrics.slow_consumers.one();
                    slow_close_deadline
                }
                _ => CLOSE_DEADLINE,
            }
        }
        Err(farewell) => {
            farewell.tell(&mut socket);
            // Until it is gone it counts as one that has not said hello.
            tokio::select! {
                _ = timeout(CLOSE_DEADLINE, socket.drain()) => {}
                () = seat.evicted() => {}
            }
            return;
        }
    };
    let _ = timeout(deadline, socket.drain()).await;
}

/// Why a connection ended.
#[derive(Debug)]
enum Ended {
    ByPeer,
    Broken(String),
    Silent,
    Slow,
    Closed(String),
}

impl Ended {
    fn as_str(&self) -> &str {
        match self {
            Self::ByPeer => "closed by the client",
            Self::Silent => "no sign of life",
            Self::Slow => "slow consumer",
            Self::Broken(why) | Self::Closed(why) => why,
        }
    }
}

/// Ends at this time, or never.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

struct Actor<'s, S> {
    app: App,
    conn: Arc<Conn>,
    socket: &'s mut Socket<S>,
    seq: u64,
    ping: Interval,
    /// A message came from the peer since the last ping, or it had no chance to send one.
    is_alive: bool,
    role_violations: u32,
    faults: Budget,
}

impl<'s, S: AsyncRead + AsyncWrite + Unpin + Send> Actor<'s, S> {
    fn new(app: App, conn: Arc<Conn>, socket: &'s mut Socket<S>) -> Self {
        let every = app.policy.patiently(limits::PING_INTERVAL);
        let mut ping = interval_at(Instant::now() + every, every);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            app,
            conn,
            socket,
            seq: 0,
            ping,
            is_alive: true,
            role_violations: 0,
            faults: Budget::new(FAULT_BURST, FAULTS_A_SECOND),
        }
    }

    async fn run(mut self) -> Ended {
        // Long calls end with their connection, however it ends.
        let _calls = self.conn.stop.clone().drop_guard();
        let _joined = self.app.registry.join(self.conn.clone());
        let _node = self.app.nodes.join(&self.conn);
        self.recheck().await;
        rpc::greeted(&self.app, &self.conn);
        let mut last_answers = None;
        let ended = loop {
            if self.conn.is_finished() {
                break self.say_goodbye().await;
            }
            let is_ending = self.conn.farewell.get().is_some();
            if is_ending && last_answers.is_none() {
                last_answers = Some(Instant::now() + LAST_ANSWERS_DEADLINE);
            }
            let reads = !is_ending
                && self.conn.calls.available_permits() > 0
                && !self.conn.outbox.is_full_of_answers();
            let is_flushing = self.socket.is_flushing();
            // Nothing can come of a peer that is not listened to; while it is sent something, it
            // has to take that.
            self.is_alive |= !reads && !is_flushing;
            let step = tokio::select! {
                biased;
                () = self.conn.ending() => break self.say_goodbye().await,
                () = until(last_answers) => break self.say_goodbye().await,
                () = self.conn.outbox.ready(!is_flushing) => self.send(),
                turn = self.socket.turn(reads) => self.handle(turn),
                _ = self.ping.tick() => self.check_life(),
            };
            if let Some(ended) = step {
                break ended;
            }
        };
        self.conn.outbox.close();
        ended
    }

    /// What voided the device between its login and its place in the registry could not close this
    /// connection: that is made up for before the first call is taken and the first event is sent.
    async fn recheck(&self) {
        let principal = &self.conn.principal;
        let tag = self.app.authority().tag();
        if self.app.policy.close_voided && principal.shared_tag.is_some_and(|held| held != tag) {
            self.conn.kick(close::AUTH_CHANGED, AUTH_CHANGED);
            return;
        }
        let (Some(device_id), Some(generation)) = (&principal.device_id, principal.generation)
        else {
            return;
        };
        let pairing = &self.app.pairing;
        let asked = pairing.still_admits(device_id, principal.role, generation);
        match timeout(self.app.policy.patiently(RECHECK_DEADLINE), asked).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => self.conn.cut(close::AUTH_CHANGED, "device removed"),
            failed => {
                tracing::error!(?failed, "a device could not be looked up");
                self.conn
                    .cut(close::TRY_AGAIN, "the device store does not answer");
            }
        }
    }

    /// Hands queued items to the socket, at most a batch.
    fn send(&mut self) -> Option<Ended> {
        if self.conn.outbox.is_overrun() {
            self.socket.close(close::POLICY, "slow consumer");
            return Some(Ended::Slow);
        }
        let mut handed = 0;
        while handed < WRITE_BATCH {
            let Some(item) = self.conn.outbox.take() else {
                break;
            };
            // The permit of an answered call is given back once its answer is on its way.
            let (text, _permit) = self.text(item);
            handed += text.len();
            if let Err(why) = self.socket.write(text) {
                return Some(Ended::Broken(why));
            }
        }
        None
    }

    fn text(&mut self, item: Item) -> (String, Option<OwnedSemaphorePermit>) {
        match item {
            Item::Answer { text, permit } => (text, permit),
            Item::Push(push) => {
                self.app.metrics.events_sent.one();
                let seq = push.is_numbered.then(|| {
                    self.seq += 1;
                    self.seq
                });
                (push.frame(self.conn.version, seq), None)
            }
        }
    }

    fn handle(&mut self, turn: Turn) -> Option<Ended> {
        // What went out says nothing: the kernel takes it for a peer that is long gone.
        self.is_alive |= !matches!(turn, Turn::Flushed);
        match turn {
            Turn::Text(text) => self.receive(&text),
            Turn::Garbage => self.fault(),
            Turn::Sign | Turn::Flushed => None,
            Turn::Violation(code, why) => {
                self.socket.close(code, why);
                Some(Ended::Closed(format!("closed with {code} {why}")))
            }
            Turn::Closed => Some(Ended::ByPeer),
            Turn::Broken(why) => Some(Ended::Broken(why)),
            Turn::TooLarge => {
                self.socket.close(close::TOO_LARGE, "");
                Some(Ended::Closed("message too large".into()))
            }
        }
    }

    fn receive(&mut self, text: &str) -> Option<Ended> {
        match UnreadRequest::parse(text, self.app.policy.max_values()) {
            Ok(request) => {
                // `run` reads only while a permit is free.
                let permit = self.conn.calls.clone().try_acquire_owned().ok();
                if let Some(why) = self.wrong_id(&request.id) {
                    // Under its own id it would be taken for the answer to the other call.
                    self.refuse_frame("invalid", &why);
                    return self.fault();
                }
                let verdict = rpc::dispatch(&self.app, &self.conn, request, permit);
                match verdict {
                    Verdict::WrongRole => self.role_violations += 1,
                    Verdict::Taken | Verdict::Refused => self.role_violations = 0,
                }
                if self.role_violations > MAX_ROLE_VIOLATIONS {
                    let reason = "repeated unauthorized calls";
                    self.socket.close(close::POLICY, reason);
                    return Some(Ended::Closed(reason.into()));
                }
                if verdict != Verdict::Taken {
                    return self.fault();
                }
                return None;
            }
            Err(FrameError::NotJson(_)) => {}
            Err(FrameError::NotAFrame { id, why }) => {
                let id = id.filter(|id| !id.is_empty() && id.len() <= MAX_ID);
                self.refuse_frame(id.as_deref().unwrap_or("invalid"), &why);
            }
        }
        self.fault()
    }

    /// Why an id cannot name a call.
    fn wrong_id(&self, id: &str) -> Option<String> {
        if !self.app.policy.call_ids {
            return None;
        }
        if id.len() > MAX_ID {
            return Some(format!("id must be at most {MAX_ID} bytes"));
        }
        self.conn.is_in_flight(id).then(|| {
            let id = clawline::layer::printable(id, 80);
            format!("a call with the id \"{id}\" is under way")
        })
    }

    /// Something was refused before it was begun. Now and then everybody errs; a flood of it ends the
    /// connection. What is taken has no such budget: it is bounded by the calls under way.
    fn fault(&mut self) -> Option<Ended> {
        if !self.app.policy.fault_budget || self.faults.take() {
            return None;
        }
        let reason = "rate limit";
        self.socket.close(close::POLICY, reason);
        Some(Ended::Closed(reason.into()))
    }

    fn refuse_frame(&self, id: &str, why: &str) {
        let error = RpcError::invalid(format!("invalid request frame: {why}"));
        self.conn.refuse(id, error, Value::Null, None);
    }

    /// A peer that neither sends nor takes anything for a whole interval is gone.
    fn check_life(&mut self) -> Option<Ended> {
        // A slow peer may still be busy with what was sent before the ping, or with what it sends.
        let has_moved = self.socket.has_moved();
        if !self.is_alive && !has_moved {
            return Some(Ended::Silent);
        }
        self.is_alive = false;
        match self.socket.ping() {
            Ok(()) => None,
            Err(why) => Some(Ended::Broken(why)),
        }
    }

    /// The gateway stops, or somebody ended this connection: say so, and go.
    async fn say_goodbye(&mut self) -> Ended {
        let farewell = self.conn.farewell.get().cloned();
        let (code, reason) = farewell.unwrap_or_else(|| {
            self.conn.announce_stop();
            (close::RESTART, "service restart".to_owned())
        });
        let last_words = async {
            while let Some(item) = self.conn.outbox.take() {
                let (text, _) = self.text(item);
                if self.socket.write(text).is_err() {
                    return;
                }
                while self.socket.is_flushing() {
                    if !matches!(self.socket.turn(false).await, Turn::Flushed) {
                        return;
                    }
                }
            }
        };
        let _ = timeout(LAST_WORDS_DEADLINE, last_words).await;
        self.socket.close(code, &reason);
        Ended::Closed(reason)
    }
}
