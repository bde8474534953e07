//! Keeps one SSH connection open for as long as it is wanted, and publishes how that goes.
//!
//! One task owns the connection. What is wanted (`Wanted`) and what is (`TunnelView`) are two values;
//! handles change the first and read the second.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::layer::{Layer, LayerError, LayerRows, Retry, RowState};

use super::asker::Asker;
use super::connection::liveness::{self, Pulse, SleepDetector};
use super::connection::{ChannelStream, Connection, ExecOutput, Report, RowNews, Surroundings};
use super::memory::Memory;
use super::plan::{Next, Pace};
use super::prompt::Prompter;
use super::spec::{RemoteEnd, TunnelSpec};
use super::status::{TunnelStatus, TunnelView};

/// The receive window of the connection that carries the gateway's WebSocket.
pub const CONTROL_WINDOW: u32 = 2 * 1024 * 1024;
/// The receive window of a connection for listeners: enough for 160 MB/s at 100 ms.
pub const BULK_WINDOW: u32 = 16 * 1024 * 1024;
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
}

impl Default for TunnelOptions {
    fn default() -> Self {
        Self {
            window: CONTROL_WINDOW,
            memory: Memory::default(),
            once: false,
        }
    }
}

/// A supervised tunnel. Clones are handles of the same one; dropping the last one ends it.
#[derive(Debug, Clone)]
pub struct Tunnel {
    shared: Arc<Shared>,
    _stop_on_drop: Arc<DropGuard>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Wanted {
    paused: bool,
    /// Rises with every request to connect now.
    kick: u64,
}

struct Shared {
    target: String,
    server: String,
    view: watch::Sender<TunnelView>,
    link: watch::Sender<Option<Arc<Connection>>>,
    wanted: watch::Sender<Wanted>,
    /// The last kick that the owner has acted on.
    handled: AtomicU64,
    /// The number of the attempt under way; news of earlier ones is dropped.
    attempt: AtomicU64,
    rtt: Mutex<Option<Duration>>,
    stop: CancellationToken,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tunnel")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl Tunnel {
    /// Starts to connect and goes on until [`Tunnel::stop`] or the last handle is dropped. Must be
    /// called in a tokio runtime.
    pub fn start(spec: TunnelSpec, prompter: Prompter, options: TunnelOptions) -> Self {
        let stop = CancellationToken::new();
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
            stop: stop.clone(),
        });
        let pace = Pace::new(prompter.is_interactive(), options.once);
        let owner = Owner {
            shared: shared.clone(),
            spec,
            around: Surroundings {
                asker: Asker::new(prompter),
                memory: options.memory,
                window: options.window,
            },
            pace,
            attempt: 1,
            wanted: shared.wanted.subscribe(),
            sleep: SleepDetector::new(),
        };
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
            self.shared
                .note_open(generation, remote, started.elapsed(), opened.as_ref().err());
            return opened;
        }
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
    /// it is not up or did not answer within 2 s, which ends the connection and starts a new one.
    pub async fn probe_now(&self) -> Option<Duration> {
        let link = self.shared.link.borrow().clone()?;
        let rtt = liveness::probe(
            &link.handle(),
            link.life(),
            &self.shared.server,
            liveness::PROBE,
        )
        .await;
        self.shared.set_rtt(rtt);
        rtt
    }

    /// The last measured round-trip time of this connection.
    pub fn round_trip(&self) -> Option<Duration> {
        *self
            .shared
            .rtt
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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

impl Shared {
    fn not_running(&self, how: &str) -> LayerError {
        LayerError::new(Layer::Ssh, format!("the tunnel to {} {how}", self.target))
            .retry(Retry::Attention)
    }

    /// Why waiting would not help; `None` when it may come up by itself.
    fn why_not(&self, status: &TunnelStatus) -> Option<LayerError> {
        if self.handled.load(Ordering::Acquire) < self.wanted.borrow().kick {
            return None;
        }
        match status {
            TunnelStatus::Attention { why } | TunnelStatus::Failed { why } => Some(why.clone()),
            TunnelStatus::Stopped => Some(self.not_running("has stopped")),
            TunnelStatus::Paused => Some(self.not_running("is paused")),
            TunnelStatus::Connecting { .. }
            | TunnelStatus::Up { .. }
            | TunnelStatus::Waiting { .. } => None,
        }
    }

    /// The error when a deadline passes before it came up.
    fn still_down(&self) -> LayerError {
        match &self.view.borrow().status {
            TunnelStatus::Waiting { why, .. }
            | TunnelStatus::Attention { why }
            | TunnelStatus::Failed { why } => why.clone(),
            TunnelStatus::Connecting { layer, .. } => {
                LayerError::new(*layer, format!("{} did not come up in time", self.target))
            }
            _ => self.not_running("did not come up in time"),
        }
    }

    fn set_rtt(&self, rtt: Option<Duration>) {
        *self.rtt.lock().unwrap_or_else(PoisonError::into_inner) = rtt;
    }

    /// Takes a row's news of the attempt `attempt`.
    fn take_news(&self, attempt: u64, news: RowNews) {
        self.view.send_if_modified(|view| {
            if self.attempt.load(Ordering::Acquire) != attempt {
                return false;
            }
            view.rows
                .set(news.layer, news.state, news.took, &news.detail);
            if let TunnelStatus::Connecting { layer, .. } = &mut view.status
                && news.state == RowState::Busy
            {
                *layer = news.layer;
            }
            true
        });
    }

    /// Marks the rows of forward and port by what an open came to.
    fn note_open(
        &self,
        generation: u64,
        remote: &RemoteEnd,
        took: Duration,
        error: Option<&LayerError>,
    ) {
        self.view.send_if_modified(|view| {
            if view.generation != generation || !view.status.is_up() {
                return false;
            }
            let before = view.rows.clone();
            let port_failed = error.is_some_and(|error| error.layer == Layer::Port);
            if error.is_none() || port_failed {
                let detail = format!("{remote} over one channel, no local port");
                let known = view.rows.row(Layer::Forward);
                if known.is_none_or(|row| row.state != RowState::Ok || row.detail != detail) {
                    view.rows
                        .set(Layer::Forward, RowState::Ok, Some(took), &detail);
                }
            }
            match error {
                None => {
                    let known = view.rows.row(Layer::Port);
                    if known.is_none_or(|row| row.state != RowState::Ok) {
                        let detail = format!("something listens on {remote}");
                        view.rows
                            .set(Layer::Port, RowState::Ok, Some(took), &detail);
                    }
                }
                Some(error) if matches!(error.layer, Layer::Forward | Layer::Port) => {
                    view.rows.fail(error);
                }
                Some(_) => {}
            }
            view.rows != before
        });
    }
}

/// Why the owner stopped waiting for something.
enum Interrupt {
    Stop,
    /// Something else is wanted now.
    Wanted,
}

/// The one task that owns the connection.
struct Owner {
    shared: Arc<Shared>,
    spec: TunnelSpec,
    around: Surroundings,
    pace: Pace,
    attempt: u32,
    wanted: watch::Receiver<Wanted>,
    sleep: SleepDetector,
}

impl Owner {
    async fn run(mut self) {
        let stop = self.shared.stop.clone();
        tokio::select! {
            // The loop is left at its next wait, so that a goodbye is said.
            () = self.keep_up() => {}
            () = async { stop.cancelled().await; tokio::time::sleep(STOP_WAIT).await } => {}
        }
        self.shared.link.send_replace(None);
        self.publish(TunnelStatus::Stopped);
    }

    async fn keep_up(&mut self) {
        loop {
            if self.take_wanted().paused {
                self.publish(TunnelStatus::Paused);
                match self.until_wanted(std::future::pending::<()>()).await {
                    Err(Interrupt::Stop) => return,
                    _ => continue,
                }
            }
            let next = match self.connect().await {
                Ok(Ok(connection)) => match self.hold(connection).await {
                    Ok((why, uptime)) => {
                        let next = self.pace.lost(uptime);
                        (why, next)
                    }
                    Err(Interrupt::Stop) => return,
                    Err(Interrupt::Wanted) => continue,
                },
                Ok(Err(why)) => {
                    let next = self.pace.failed(&why, Instant::now());
                    (why, next)
                }
                Err(Interrupt::Stop) => return,
                Err(Interrupt::Wanted) => continue,
            };
            if let Err(Interrupt::Stop) = self.wait(next.0, next.1).await {
                return;
            }
        }
    }

    /// What is wanted now; requests to connect are met by the connection that follows.
    fn take_wanted(&mut self) -> Wanted {
        let wanted = *self.wanted.borrow_and_update();
        if self.shared.handled.swap(wanted.kick, Ordering::AcqRel) != wanted.kick {
            self.pace.reset();
            self.attempt = 1;
        }
        wanted
    }

    /// Runs `work` until something else is wanted.
    async fn until_wanted<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Interrupt> {
        tokio::select! {
            () = self.shared.stop.cancelled() => Err(Interrupt::Stop),
            changed = self.wanted.changed() => match changed {
                Ok(()) => Err(Interrupt::Wanted),
                Err(_) => Err(Interrupt::Stop),
            },
            result = work => Ok(result),
        }
    }

    /// One attempt. A request to connect now changes nothing while one is under way.
    async fn connect(&mut self) -> Result<Result<Connection, LayerError>, Interrupt> {
        let number = self.shared.attempt.fetch_add(1, Ordering::AcqRel) + 1;
        self.shared.view.send_modify(|view| {
            view.rows.reset_from(Layer::Dns);
            view.status = TunnelStatus::Connecting {
                layer: Layer::Dns,
                attempt: self.attempt,
            };
        });
        let shared = Arc::downgrade(&self.shared);
        let report = Report::new(move |news| {
            if let Some(shared) = shared.upgrade() {
                shared.take_news(number, news);
            }
        });
        let (spec, around) = (self.spec.clone(), self.around.clone());
        let mut opening = std::pin::pin!(Connection::open(&spec, &around, &report));
        loop {
            match self.until_wanted(&mut opening).await {
                Ok(result) => return Ok(result),
                Err(Interrupt::Wanted) if !self.take_wanted().paused => {}
                Err(interrupt) => return Err(interrupt),
            }
        }
    }

    /// Keeps a connection until it is lost, with the reason and how long it was up.
    async fn hold(&mut self, connection: Connection) -> Result<(LayerError, Duration), Interrupt> {
        let connection = Arc::new(connection);
        let since = Instant::now();
        self.attempt = 1;
        self.shared.set_rtt(None);
        self.shared.link.send_replace(Some(connection.clone()));
        self.shared.view.send_modify(|view| {
            view.generation += 1;
            view.status = TunnelStatus::Up { since };
        });
        let result = self.until_lost(&connection).await;
        self.shared.link.send_replace(None);
        match result {
            Ok(()) => Ok((connection.why_over(), since.elapsed())),
            Err(interrupt) => {
                connection.close().await;
                Err(interrupt)
            }
        }
    }

    async fn until_lost(&mut self, connection: &Connection) -> Result<(), Interrupt> {
        let pulse = self.pulse();
        let (handle, life) = (connection.handle(), connection.life().clone());
        let shared = self.shared.clone();
        let watching = liveness::watch(handle.clone(), life.clone(), pulse, shared.server.clone());
        let first_look = async {
            let rtt = liveness::probe(&handle, &life, &shared.server, liveness::FIRST_ANSWER).await;
            shared.set_rtt(rtt);
            std::future::pending::<()>().await;
        };
        let mut sleep = std::mem::replace(&mut self.sleep, SleepDetector::new());
        let waking = async {
            loop {
                sleep.woke_up().await;
                let rtt = liveness::probe(&handle, &life, &shared.server, liveness::PROBE).await;
                shared.set_rtt(rtt);
            }
        };
        let lost = async {
            tokio::select! {
                () = life.over() => {}
                () = watching => {}
                () = first_look => {}
                () = waking => {}
            }
        };
        self.until_wanted(lost).await
    }

    fn pulse(&self) -> Pulse {
        let hop = self.spec.destination();
        Pulse {
            interval: hop
                .and_then(|hop| hop.alive_interval)
                .unwrap_or(liveness::INTERVAL),
            count_max: hop
                .and_then(|hop| hop.alive_count_max)
                .unwrap_or(liveness::COUNT_MAX),
        }
    }

    /// Shows a failure and waits for whatever ends the wait.
    async fn wait(&mut self, why: LayerError, next: Next) -> Result<(), Interrupt> {
        tracing::debug!(target = %self.shared.target, layer = %why.layer, why = %why, "tunnel down");
        self.attempt = self.attempt.saturating_add(1);
        let attempt = self.attempt;
        let (status, pause) = match next {
            Next::Wait(pause) => (
                TunnelStatus::Waiting {
                    until: Instant::now() + pause,
                    why: why.clone(),
                    attempt,
                },
                Some(pause),
            ),
            Next::Attention(pause) => (TunnelStatus::Attention { why: why.clone() }, pause),
            Next::Fail => (TunnelStatus::Failed { why: why.clone() }, None),
        };
        self.shared.view.send_modify(|view| {
            view.rows.fail(&why);
            view.status = status;
        });
        let may_wake = matches!(next, Next::Wait(_));
        let mut sleep = std::mem::replace(&mut self.sleep, SleepDetector::new());
        let waiting = async {
            let pausing = async {
                match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = pausing => false,
                () = sleep.woke_up(), if may_wake => true,
            }
        };
        match self.until_wanted(waiting).await {
            Ok(true) => {
                // The network of before the sleep is no measure for now.
                self.pace.reset();
                Ok(())
            }
            Ok(false) | Err(Interrupt::Wanted) => Ok(()),
            Err(Interrupt::Stop) => Err(Interrupt::Stop),
        }
    }

    fn publish(&self, status: TunnelStatus) {
        self.shared.view.send_modify(|view| {
            view.rows.reset_from(Layer::Dns);
            view.status = status;
        });
    }
}
