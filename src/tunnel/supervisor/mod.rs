//! Keeps one SSH connection open for as long as it is wanted, and publishes how that goes.
//!
//! One task owns the connection. What is wanted (`Wanted`) and what is (`TunnelView`) are two values;
//! handles change the first and read the second.

mod attempt;
mod live;
mod machine;
mod opening;
mod owner;
mod shared;
mod spare;
mod wake;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::layer::{Layer, LayerError, LayerRows};

use super::asker::Asker;
use super::bulk::{Bulk, Opener, Room, Served};
use super::connection::liveness;
use super::connection::{ChannelStream, Connection, ExecOutput, Surroundings};
use super::memory::Memory;
use super::plan::Pace;
use super::prompt::Prompter;
use super::spec::{RemoteEnd, TunnelSpec};
use super::status::{TunnelStatus, TunnelView};

use owner::Owner;
use shared::{Shared, Wanted};

/// The receive window of the connection that carries the gateway's WebSocket.
pub const CONTROL_WINDOW: u32 = 2 * 1024 * 1024;
/// The receive window of a connection for listeners over a short way; a long one gets more (`bulk/open.rs`).
/// Half of it is on the way at a time, as much as OpenSSH has there. More would be slower, not faster: what
/// the way does not take, sshd keeps in a buffer whose upkeep grows with the square of its size. Through
/// 16 MiB it sent 38 MB/s over loopback, through 4 MiB 240.
pub const BULK_WINDOW: u32 = 4 * 1024 * 1024;
/// How long [`Tunnel::open`] waits for the tunnel to come up.
const OPEN_WAIT: Duration = Duration::from_secs(30);
/// How long [`Tunnel::stop`] waits for the owner's goodbye.
const STOP_WAIT: Duration = Duration::from_secs(2);

/// How a tunnel behaves.
#[derive(Debug, Clone)]
pub struct TunnelOptions {
    /// The receive window of a channel, [`CONTROL_WINDOW`] or [`BULK_WINDOW`].
    pub window: u32,
    /// What is remembered so that nobody is asked twice; share one among the tunnels of a process.
    pub memory: Memory,
    /// The first failure is final, for commands that answer once and exit.
    pub once: bool,
    /// How many SSH connections forwards may have beside the tunnel's own, at most; see
    /// [`BULK_CONNECTIONS`]. Without any, all goes through one.
    pub bulk_connections: usize,
}

impl Default for TunnelOptions {
    fn default() -> Self {
        Self {
            window: CONTROL_WINDOW,
            memory: Memory::default(),
            once: false,
            bulk_connections: 0,
        }
    }
}

/// A supervised tunnel. Clones are handles of the same one; dropping the last one ends it.
#[derive(Debug, Clone)]
pub struct Tunnel {
    shared: Arc<Shared>,
    _stop_on_drop: Arc<DropGuard>,
}

impl Tunnel {
    /// Starts to connect and goes on until [`Tunnel::stop`] or the last handle is dropped. Must be
    /// called in a tokio runtime.
    pub fn start(spec: TunnelSpec, prompter: Prompter, options: TunnelOptions) -> Self {
        let stop = CancellationToken::new();
        let room = Room::default();
        let bulk = (options.bulk_connections > 0)
            .then(|| Bulk::new(options.bulk_connections, room.clone()));
        let shared = Arc::new(Shared {
            target: spec.target.clone(),
            server: spec
                .destination()
                .map_or_else(|| spec.target.clone(), |hop| hop.alias.clone()),
            view: watch::Sender::new(TunnelView {
                status: TunnelStatus::Connecting {
                    layer: Layer::Dns,
                    attempt: 1,
                },
                rows: LayerRows::default(),
                generation: 0,
            }),
            link: watch::Sender::new(None),
            wanted: watch::Sender::new(Wanted::default()),
            handled: AtomicU64::new(0),
            attempt: AtomicU64::new(0),
            rtt: Mutex::new(None),
            asked: watch::Sender::new(0),
            answered: watch::Sender::new(0),
            stop: stop.clone(),
            room,
            bulk,
        });
        let pace = Pace::new(prompter.is_interactive(), options.once);
        let around = Surroundings {
            asker: Asker::new(prompter),
            memory: options.memory,
            window: options.window,
            look: None,
        };
        if let Some(bulk) = &shared.bulk {
            let rtt_of = shared.clone();
            let opener = Opener {
                bulk: bulk.clone(),
                spec: spec.clone(),
                around: Surroundings {
                    asker: around.asker.silent(),
                    ..around.clone()
                },
                link: shared.link.subscribe(),
                view: shared.view.subscribe(),
                round_trip: Box::new(move || rtt_of.rtt()),
                stop: stop.clone(),
            };
            tokio::spawn(opener.run());
        }
        let owner = Owner::new(&shared, spec, around, pace);
        tokio::spawn(owner.run());
        Self {
            shared,
            _stop_on_drop: Arc::new(stop.drop_guard()),
        }
    }

    /// What the user typed or named.
    pub fn target(&self) -> &str {
        &self.shared.target
    }

    /// Where it is; changes wake the receiver.
    pub fn view(&self) -> watch::Receiver<TunnelView> {
        self.shared.view.subscribe()
    }

    /// Opens a stream to `remote` as the far side sees it; waits up to 30 s for the tunnel to come up.
    ///
    /// # Errors
    /// See [`Tunnel::open_within`].
    pub async fn open(&self, remote: &RemoteEnd) -> Result<ChannelStream, LayerError> {
        self.open_within(remote, OPEN_WAIT).await
    }

    /// Opens a stream to `remote`, waiting at most `deadline` for the tunnel to come up. Cancel safe.
    ///
    /// # Errors
    /// The layer at which the tunnel stands when it needs a person, failed for good, or does not come
    /// up in time; [`Layer::Forward`] or [`Layer::Port`] when the far side refuses the stream.
    pub async fn open_within(
        &self,
        remote: &RemoteEnd,
        deadline: Duration,
    ) -> Result<ChannelStream, LayerError> {
        let until = Instant::now() + deadline;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let (link, generation) = self.link_within(left).await?;
            let started = Instant::now();
            let opened = link.open_channel(remote).await;
            // A connection that died under the request is no answer to it; the next one may be up soon.
            if opened.is_err() && link.life().is_over() && Instant::now() < until {
                continue;
            }
            self.shared.note_open(
                generation,
                Some(remote),
                started.elapsed(),
                opened.as_ref().err(),
            );
            return opened;
        }
    }

    /// Opens a stream for a forwarded local connection: as [`Tunnel::open_within`], through one of the
    /// connections that forwards have of their own when there is a good one. `asked` when the program itself
    /// said where it wants to go.
    pub(crate) async fn open_forwarded(
        &self,
        remote: &RemoteEnd,
        deadline: Duration,
        asked: bool,
    ) -> Result<ChannelStream, LayerError> {
        let noted = (!asked).then_some(remote);
        let Some(bulk) = &self.shared.bulk else {
            return self.open_within(remote, deadline).await;
        };
        let until = Instant::now() + deadline;
        loop {
            let link = match bulk.pick() {
                Some(link) => link,
                None => {
                    let left = until.saturating_duration_since(Instant::now());
                    let (control, _) = self.link_within(left).await?;
                    bulk.pick_soon(&control).await.unwrap_or(control)
                }
            };
            let started = Instant::now();
            let opened = link.open_channel(remote).await;
            if opened.is_err() && link.life().is_over() && Instant::now() < until {
                continue;
            }
            let generation = self.shared.view.borrow().generation;
            self.shared
                .note_open(generation, noted, started.elapsed(), opened.as_ref().err());
            return opened;
        }
    }

    /// Says that a forward is served for as long as the result lives.
    pub(crate) fn serving(&self) -> Option<Served> {
        self.shared.bulk.as_ref().map(Bulk::serve)
    }

    /// How many SSH connections are open for forwards, beside the tunnel's own.
    pub fn bulk_connections(&self) -> usize {
        self.shared.bulk.as_ref().map_or(0, Bulk::count)
    }

    /// Runs a command on the far side, within `deadline` in all, and collects at most `max_bytes` of
    /// its output. Cancel safe.
    ///
    /// # Errors
    /// As [`Tunnel::open_within`], and when the far side runs no commands, prints too much or does
    /// not end in time.
    pub async fn exec(
        &self,
        command: &str,
        max_bytes: usize,
        deadline: Duration,
    ) -> Result<ExecOutput, LayerError> {
        let started = Instant::now();
        let (link, _) = self.link_within(deadline).await?;
        let left = deadline.saturating_sub(started.elapsed());
        link.run_command(command, max_bytes, left).await
    }

    /// Waits until it is up, at most `deadline`.
    ///
    /// # Errors
    /// As [`Tunnel::open_within`].
    pub async fn wait_up(&self, deadline: Duration) -> Result<(), LayerError> {
        self.link_within(deadline).await.map(drop)
    }

    /// Connects now: ends a wait, or replaces a connection that is up.
    pub fn reconnect_now(&self) {
        self.shared.wanted.send_modify(|wanted| {
            wanted.paused = false;
            wanted.kick += 1;
        });
    }

    /// Disconnects until [`Tunnel::reconnect_now`].
    pub fn pause(&self) {
        self.shared
            .wanted
            .send_modify(|wanted| wanted.paused = true);
    }

    /// Says goodbye and ends it for good; returns when the connection is closed.
    pub async fn stop(&self) {
        self.shared.stop.cancel();
        let mut view = self.view();
        let stopped = view.wait_for(|view| view.status == TunnelStatus::Stopped);
        let _ = tokio::time::timeout(STOP_WAIT, stopped).await;
    }

    /// Asks the other end for a sign of life while somebody waits: the round-trip time, or `None` when
    /// it is not up or does not answer within 2 s (more on a slow link). A second connection is opened
    /// meanwhile, and takes over when the first one stays silent.
    pub async fn probe_now(&self) -> Option<Duration> {
        let link = self.shared.link.borrow().clone()?;
        let limit = liveness::PROBE + 2 * self.round_trip().unwrap_or_default();
        let asked = Instant::now();
        link.life().ask();
        let handle = link.handle();
        tokio::select! {
            () = link.life().over() => None,
            answer = tokio::time::timeout(limit, handle.send_ping()) => {
                let took = answer.ok()?.ok().map(|()| asked.elapsed());
                self.shared.set_rtt(took);
                took
            }
        }
    }

    /// The last measured round-trip time of this connection.
    pub fn round_trip(&self) -> Option<Duration> {
        self.shared.rtt()
    }

    /// What the forwards of this tunnel may keep together.
    pub(crate) fn room(&self) -> Room {
        self.shared.room.clone()
    }

    /// Whether the task that owns the connection answers within `deadline`: it is alive and not stuck,
    /// however the connection stands. For watchdogs. Cancel safe.
    pub async fn owner_answers(&self, deadline: Duration) -> bool {
        let mut answered = self.shared.answered.subscribe();
        let mut number = 0;
        self.shared.asked.send_modify(|asked| {
            *asked += 1;
            number = *asked;
        });
        let answer = answered.wait_for(|answered| *answered >= number);
        matches!(tokio::time::timeout(deadline, answer).await, Ok(Ok(_)))
    }

    /// The live connection and its generation.
    async fn link_within(&self, deadline: Duration) -> Result<(Arc<Connection>, u64), LayerError> {
        let mut view = self.view();
        let waiting = async {
            loop {
                let now = view.borrow_and_update().clone();
                let link = self.shared.link.borrow().clone();
                if let Some(link) = link.filter(|link| !link.life().is_over()) {
                    return Ok((link, now.generation));
                }
                if let Some(why) = self.shared.why_not(&now.status) {
                    return Err(why);
                }
                if view.changed().await.is_err() {
                    return Err(self.shared.not_running("has stopped"));
                }
            }
        };
        match tokio::time::timeout(deadline, waiting).await {
            Ok(result) => result,
            Err(_) => Err(self.shared.still_down()),
        }
    }
}
