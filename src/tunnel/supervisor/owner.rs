//! The one task that owns a tunnel's connection.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::layer::{Layer, LayerError, Retry};
use crate::tunnel::auth::SignInFiles;
use crate::tunnel::connection::liveness::{self, Pulse, SleepDetector};
use crate::tunnel::connection::{Connection, Surroundings};
use crate::tunnel::plan::{self, Next, Pace};
use crate::tunnel::spec::TunnelSpec;
use crate::tunnel::status::TunnelStatus;

use super::STOP_WAIT;
use super::attempt::Attempt;
use super::shared::{Shared, Wanted};

/// How long one of many quick attempts goes on before it is shown.
const QUIET_FOR: Duration = Duration::from_secs(1);

/// Why the owner stopped waiting for something.
enum Interrupt {
    Stop,
    /// Something else is wanted now.
    Wanted,
}

/// The one task that owns the connection.
pub(super) struct Owner {
    pub(super) shared: Arc<Shared>,
    pub(super) spec: TunnelSpec,
    pub(super) around: Surroundings,
    pub(super) pace: Pace,
    pub(super) attempt: u32,
    /// Whether the next attempt is one of many quick ones.
    pub(super) quiet: bool,
    pub(super) wanted: watch::Receiver<Wanted>,
    /// The roll call.
    pub(super) asked: watch::Receiver<u64>,
    pub(super) sleep: SleepDetector,
    /// The keys and certificates as they were before the last attempt.
    pub(super) files: Option<SignInFiles>,
}

impl Owner {
    pub(super) async fn run(mut self) {
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
                    Ok(lost) => lost,
                    Err(Interrupt::Stop) => return,
                    Err(Interrupt::Wanted) => continue,
                },
                Ok(Err(why)) => {
                    let why = self.pace.in_context(why);
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
            self.quiet = false;
        }
        wanted
    }

    /// Runs `work` until something else is wanted.
    async fn until_wanted<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Interrupt> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                () = self.shared.stop.cancelled() => return Err(Interrupt::Stop),
                changed = self.wanted.changed() => return match changed {
                    Ok(()) => Err(Interrupt::Wanted),
                    Err(_) => Err(Interrupt::Stop),
                },
                Ok(()) = self.asked.changed() => {
                    let number = *self.asked.borrow_and_update();
                    self.shared.answered.send_replace(number);
                }
                result = &mut work => return Ok(result),
            }
        }
    }

    /// One attempt. A request to connect now changes nothing while one is under way.
    async fn connect(&mut self) -> Result<Result<Connection, LayerError>, Interrupt> {
        let spec = self.spec.clone();
        let looking = tokio::task::spawn_blocking(move || SignInFiles::look(&spec));
        self.files = looking.await.ok();
        let attempt = Attempt::begin(&self.shared, self.attempt, self.quiet);
        let report = attempt.report();
        let (spec, around) = (self.spec.clone(), self.around.clone());
        let mut opening = std::pin::pin!(async {
            let mut opening = std::pin::pin!(Connection::open(&spec, &around, &report));
            match tokio::time::timeout(QUIET_FOR, &mut opening).await {
                Ok(result) => result,
                Err(_) => {
                    attempt.show();
                    opening.await
                }
            }
        });
        loop {
            match self.until_wanted(&mut opening).await {
                Ok(result) => return Ok(result),
                Err(Interrupt::Wanted) if !self.take_wanted().paused => {}
                Err(interrupt) => return Err(interrupt),
            }
        }
    }

    /// Keeps a connection until it is lost, with the reason and what follows.
    async fn hold(&mut self, connection: Connection) -> Result<(LayerError, Next), Interrupt> {
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
            Ok(()) => {
                let next = self.pace.lost(since.elapsed(), connection.has_served());
                Ok(match connection.needs_person_again() {
                    // It cannot come back without a person.
                    Some(why) => {
                        let next = self.pace.failed(&why, Instant::now());
                        (why, next)
                    }
                    None => (connection.why_over(), next),
                })
            }
            Err(interrupt) => {
                connection.close().await;
                Err(interrupt)
            }
        }
    }

    async fn until_lost(&mut self, connection: &Connection) -> Result<(), Interrupt> {
        let pulse = Pulse::of(self.spec.destination());
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

    /// Shows a failure and waits for whatever ends the wait.
    async fn wait(&mut self, why: LayerError, next: Next) -> Result<(), Interrupt> {
        tracing::debug!(target = %self.shared.target, layer = %why.layer, why = %why, "tunnel down");
        self.attempt = self.attempt.saturating_add(1);
        self.quiet = why.retry == Retry::Soon;
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
        let may_wake = plan::may_wake(&why, next);
        let files = self
            .files
            .take()
            .filter(|_| plan::may_be_renewed(&why, next));
        let mut sleep = std::mem::replace(&mut self.sleep, SleepDetector::new());
        let waiting = async {
            let pausing = async {
                match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            let renewed = async {
                match files {
                    Some(files) => files.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = pausing => false,
                () = renewed => true,
                () = sleep.woke_up(), if may_wake => true,
            }
        };
        match self.until_wanted(waiting).await {
            Ok(true) => {
                self.quiet = false;
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
