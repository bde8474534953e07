//! The one task that owns a tunnel's connection: it carries out what the machine says, and tells it what
//! happens.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::watch;

use crate::layer::{Layer, LayerError};
use crate::tunnel::auth::SignInFiles;
use crate::tunnel::connection::liveness::{self, Hurry, Pulse};
use crate::tunnel::connection::{Connection, Surroundings};
use crate::tunnel::network::NetworkWatch;
use crate::tunnel::plan::Pace;
use crate::tunnel::resolve;
use crate::tunnel::spec::TunnelSpec;
use crate::tunnel::status::TunnelStatus;

use super::STOP_WAIT;
use super::attempt::Attempt;
use super::live::{Live, Outcome};
use super::machine::{Event, Machine, State};
use super::opening::Opening;
use super::shared::{Shared, Wanted};
use super::spare::Spare;
use super::wake::SleepDetector;

/// The one task that owns the connection.
pub(super) struct Owner {
    shared: Arc<Shared>,
    spec: TunnelSpec,
    around: Surroundings,
    machine: Machine,
    wanted: watch::Receiver<Wanted>,
    /// What was done about it.
    heeded: Wanted,
    /// The roll call.
    asked: watch::Receiver<u64>,
    sleep: SleepDetector,
    network: NetworkWatch,
    /// The attempt under way; there is one exactly while the machine is connecting.
    opening: Option<(u64, Opening)>,
    /// The connection; there is one exactly while the machine is up.
    live: Option<Live>,
    /// The keys and certificates as they were before the last attempt, when it failed.
    files: Option<SignInFiles>,
    /// The state that was published last.
    published: Option<State>,
}

/// What the loop was woken by.
enum Wake {
    Stop,
    Wanted,
    RollCall,
    Due,
    Opened(u64, Result<Connection, LayerError>),
    Live(u64, Outcome),
    Hurry(Hurry),
    /// The server's name has other addresses than at the last try.
    Renamed,
    /// A key or a certificate changed.
    NewFiles,
}

impl Owner {
    pub(super) fn new(
        shared: &Arc<Shared>,
        spec: TunnelSpec,
        around: Surroundings,
        pace: Pace,
    ) -> Self {
        Self {
            machine: Machine::new(pace, spec.hops.len(), Instant::now()),
            wanted: shared.wanted.subscribe(),
            heeded: Wanted::default(),
            asked: shared.asked.subscribe(),
            shared: shared.clone(),
            spec,
            around,
            sleep: SleepDetector::new(),
            network: NetworkWatch::default(),
            opening: None,
            live: None,
            files: None,
            published: None,
        }
    }

    pub(super) async fn run(mut self) {
        let stop = self.shared.stop.clone();
        tokio::select! {
            // The loop is left at its next wait, so that a goodbye is said.
            () = self.keep_up() => {}
            () = async { stop.cancelled().await; tokio::time::sleep(STOP_WAIT).await } => {}
        }
        self.shared.link.send_replace(None);
        self.shared.view.send_modify(|view| {
            view.rows.reset_from(Layer::Dns);
            view.status = TunnelStatus::Stopped;
        });
    }

    async fn keep_up(&mut self) {
        self.heed();
        loop {
            self.carry_out().await;
            match self.next().await {
                Wake::Stop => {
                    self.shared.link.send_replace(None);
                    if let Some(live) = self.live.take() {
                        live.connection.close().await;
                    }
                    return;
                }
                Wake::Wanted => self.heed(),
                Wake::RollCall => {
                    let number = *self.asked.borrow_and_update();
                    self.shared.answered.send_replace(number);
                }
                Wake::Due if self.around.asker.is_asking() => self.tell(Event::Asking),
                Wake::Due => self.tell(Event::Due),
                Wake::Opened(id, Ok(connection)) => {
                    self.opening = None;
                    self.files = None;
                    self.go_live(id, connection);
                    self.tell(Event::Opened(id));
                }
                Wake::Opened(id, Err(why)) => {
                    let opening = self.opening.take();
                    self.files = opening.and_then(|(_, opening)| opening.files());
                    self.tell(Event::Refused(id, why));
                }
                Wake::Live(id, Outcome::Lost(why)) => {
                    let connection = self.live.as_ref().map(|live| &live.connection);
                    let served = connection.is_some_and(|connection| connection.has_served());
                    // Without a person it cannot come back, where one was needed.
                    let why = connection
                        .and_then(|connection| connection.needs_person_again())
                        .unwrap_or(why);
                    self.tell(Event::Lost { id, served, why });
                }
                Wake::Live(id, Outcome::Silent(connection, attempt)) => {
                    self.replace(id, connection, &attempt);
                }
                Wake::Hurry(why) => self.hurry(why),
                Wake::Renamed => self.tell(Event::Renamed),
                Wake::NewFiles => self.tell(Event::NewFiles),
            }
        }
    }

    /// Waits for whatever happens next. The machine's own moment is always among it.
    async fn next(&mut self) -> Wake {
        let due = self.machine.until();
        let asks = self.machine.asks_names();
        let hop = self.spec.hops.first();
        let reads = self.machine.reads();
        tokio::select! {
            biased;
            () = self.shared.stop.cancelled() => Wake::Stop,
            changed = self.wanted.changed() => match changed {
                Ok(()) => Wake::Wanted,
                Err(_) => Wake::Stop,
            },
            Ok(()) = self.asked.changed() => Wake::RollCall,
            () = at(due) => Wake::Due,
            () = self.sleep.woke_up() => Wake::Hurry(Hurry::Woke),
            () = self.network.changed() => Wake::Hurry(Hurry::Moved),
            (id, result) = of(&mut self.opening, opened) => Wake::Opened(id, result),
            (id, outcome) = of(&mut self.live, outcome) => Wake::Live(id, outcome),
            () = resolve::renamed(hop), if asks => Wake::Renamed,
            () = of(&mut self.files, changed), if reads => Wake::NewFiles,
        }
    }

    fn tell(&mut self, event: Event) {
        self.machine.on(event, Instant::now());
    }

    /// Takes note of what is wanted; requests to connect are met by the connection that follows.
    fn heed(&mut self) {
        let wanted = *self.wanted.borrow_and_update();
        if wanted.paused {
            self.tell(Event::Pause);
        } else if wanted.kick != self.heeded.kick || self.heeded.paused {
            self.tell(Event::Kick);
        }
        self.shared.handled.store(wanted.kick, Ordering::Release);
        self.heeded = wanted;
    }

    fn hurry(&mut self, why: Hurry) {
        tracing::debug!(target = %self.shared.target, ?why, "looking at once");
        if let Some(live) = &mut self.live {
            live.hurry(why);
        }
        if let Some(bulk) = &self.shared.bulk {
            bulk.hurry(why);
        }
        // An attempt that has found its server goes on, under its own deadlines.
        let is_past_dialling = self
            .opening
            .as_ref()
            .is_some_and(|(_, opening)| !opening.is_dialling());
        if !is_past_dialling {
            self.tell(Event::Elsewhere);
        }
    }

    /// Makes what is there what the machine says, and publishes it.
    async fn carry_out(&mut self) {
        let state = self.machine.state().clone();
        let up = matches!(&state, State::Up { id, .. } if self.live.as_ref().is_some_and(|live| live.id == *id));
        if !up && let Some(live) = self.live.take() {
            self.shared.link.send_replace(None);
            live.connection.close().await;
        }
        match &state {
            State::Connecting { id, .. } => {
                if self.opening.as_ref().is_none_or(|(now, _)| now != id) {
                    // The one of before ends first: one attempt at a time.
                    self.opening = None;
                    let (tries, quiet) = (self.machine.tries(), self.machine.is_quiet());
                    let attempt = Attempt::begin(&self.shared, *id, tries, quiet);
                    let opening = Opening::shown(&self.spec, &self.around, attempt);
                    self.opening = Some((*id, opening));
                }
            }
            _ => self.opening = None,
        }
        debug_assert!(
            self.machine.until().is_some()
                || matches!(
                    state,
                    State::Paused | State::Failed { .. } | State::Attention { .. }
                ),
            "a state without an end: {state:?}"
        );
        if self.published.as_ref() != Some(&state) {
            self.publish(&state);
            self.published = Some(state);
        }
    }

    fn publish(&self, state: &State) {
        let (status, why) = match state {
            // The attempt and the new connection publish themselves.
            State::Connecting { .. } | State::Up { .. } => return,
            State::Waiting { until, why, .. } => {
                let attempt = self.machine.tries();
                let (until, why) = (*until, why.clone());
                let status = TunnelStatus::Waiting {
                    until,
                    why: why.clone(),
                    attempt,
                };
                (status, Some(why))
            }
            State::Attention { why, .. } => (
                TunnelStatus::Attention { why: why.clone() },
                Some(why.clone()),
            ),
            State::Failed { why } => (TunnelStatus::Failed { why: why.clone() }, Some(why.clone())),
            State::Paused => (TunnelStatus::Paused, None),
        };
        if let Some(why) = &why {
            tracing::debug!(target = %self.shared.target, layer = %why.layer, why = %why, "tunnel down");
        }
        self.shared.view.send_modify(|view| {
            match &why {
                Some(why) => view.rows.fail(why),
                None => view.rows.reset_from(Layer::Dns),
            }
            view.status = status;
        });
    }

    fn go_live(&mut self, id: u64, connection: Connection) {
        let connection = Arc::new(connection);
        self.shared.set_rtt(None);
        self.shared.link.send_replace(Some(connection.clone()));
        self.shared.view.send_modify(|view| {
            view.generation += 1;
            view.status = TunnelStatus::Up {
                since: Instant::now(),
            };
        });
        self.live = Some(self.watch_over(id, connection));
    }

    fn watch_over(&self, id: u64, connection: Arc<Connection>) -> Live {
        let attended = connection.is_attended() || connection.needs_person_again().is_some();
        let spare = Spare::new(&self.shared, &self.spec, &self.around, attended);
        let pulse = Pulse::of(self.spec.destination());
        Live::new(id, connection, &self.shared, pulse, spare)
    }

    /// Puts a connection in the place of the one that fell silent, which is cut. Who opens a channel gets
    /// it from here on.
    fn replace(&mut self, id: u64, connection: Connection, attempt: &Attempt) {
        let by = self.machine.next_id();
        let connection = Arc::new(connection);
        self.shared.link.send_replace(Some(connection.clone()));
        let next = self.watch_over(by, connection);
        if let Some(old) = self.live.replace(next) {
            let life = old.connection.life();
            let silent = life.last_seen().elapsed();
            life.end(liveness::silence(&self.shared.server, silent));
        }
        self.shared.set_rtt(None);
        self.shared.view.send_modify(|view| {
            attempt.adopt(by, &mut view.rows);
            view.generation += 1;
            view.status = TunnelStatus::Up {
                since: Instant::now(),
            };
        });
        tracing::debug!(target = %self.shared.target, "another connection took over");
        self.tell(Event::Replaced(id, by));
    }
}

/// Sleeps until then; for ever without a moment.
async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// What comes of a thing, if it is there.
async fn of<'a, T, F: Future>(
    thing: &'a mut Option<T>,
    work: impl FnOnce(&'a mut T) -> F,
) -> F::Output {
    match thing {
        Some(thing) => work(thing).await,
        None => std::future::pending().await,
    }
}

async fn opened((id, opening): &mut (u64, Opening)) -> (u64, Result<Connection, LayerError>) {
    (*id, opening.finished().await)
}

async fn changed(files: &mut SignInFiles) {
    files.changed().await;
}

async fn outcome(live: &mut Live) -> (u64, Outcome) {
    (live.id, live.outcome().await)
}
