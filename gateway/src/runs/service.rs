//! The runs service: accepts, queues, drives, aborts, recovers.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::driver;
use super::ending::{aborted as aborted_ending, try_end};
use super::lost::Lost;
use super::machine::Deadlines;
use super::model::{Accepted, ActiveRun, Run, RunId, RunOptions, RunOutcome, RunState, Submit};
use super::models::Models;
use super::queue::{Limits, Queue};
use super::upkeep;
use crate::events::{DomainEvent, EventSink};
use crate::sessions::SessionKey;
use crate::store::{CommandStore, RunStore, SessionStore, Store, StoreError};

/// How long an abort waits for the aborted run to be committed; in tests, which may run on a machine that
/// does much else, so long that it never counts.
const ABORT_DEADLINE: Duration = Duration::from_secs(if cfg!(test) { 60 } else { 5 });
/// How long stopping waits, after the grace time, for runs to be committed as interrupted.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// Why a run ended that somebody stopped.
pub(super) const BY_REQUEST: &str = "rpc";

/// Why a run was not accepted, or could not be asked about.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// `chat-request-conflict`
    #[error(
        "the idempotency key {run_id} was used for another message; send this one with a new key"
    )]
    Conflict { run_id: RunId },
    #[error("too many messages wait for an answer; try again when some are answered")]
    Busy,
    #[error("the gateway is stopping; send the message again when it is back")]
    Stopping,
    #[error("unknown agent id \"{id}\"")]
    UnknownAgent { id: String },
    #[error("message or attachment required")]
    EmptyMessage,
    #[error("a message is at most 1 MiB long; send a longer text in parts, or as a file")]
    LongMessage,
    #[error("Cannot delete the main session ({key}).")]
    MainSession { key: SessionKey },
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The work ended without a word; a fault of the gateway.
    #[error("the gateway failed inside")]
    Inside,
}

type Result<T> = std::result::Result<T, RunError>;

/// All runs of the gateway. A cheap clone; when the last one is dropped, what runs is interrupted.
#[derive(Clone)]
pub struct Runs {
    pub(super) inner: Arc<Inner>,
    _owner: Arc<DropGuard>,
}

/// What the service and its drivers share.
pub(super) struct Inner {
    pub(super) store: Arc<dyn RunStore>,
    pub(super) sessions: Arc<dyn SessionStore>,
    pub(super) commands: Arc<dyn CommandStore>,
    pub(super) models: Arc<Models>,
    pub(super) deadlines: Deadlines,
    /// Ends every run as interrupted.
    pub(super) shutdown: CancellationToken,
    events: Arc<dyn EventSink>,
    pub(super) tasks: TaskTracker,
    pub(super) lost: Lost,
    /// Keeps the order of commits and the order of the queue the same.
    pub(super) submitting: tokio::sync::Mutex<()>,
    /// Told each time a session is not held any more.
    pub(super) released: Notify,
    /// Told each time a run has ended.
    one_less: Notify,
    state: Mutex<State>,
}

pub(super) struct State {
    pub(super) queue: Queue,
    active: HashMap<RunId, Active>,
    /// Sessions into which nothing is accepted now, see [`super::hold`].
    pub(super) held: HashSet<SessionKey>,
    pub(super) stopping: bool,
}

/// A run that waits or is being answered.
struct Active {
    /// As it was accepted, without its options.
    run: Run,
    abort: CancellationToken,
    /// `None` inside says that it ended without a stored outcome.
    done: watch::Sender<Option<Option<RunOutcome>>>,
    progress: Progress,
}

/// How far a run is.
#[derive(Default)]
pub(super) struct Progress {
    pub(super) text: Arc<str>,
    pub(super) seq: u64,
    pub(super) started_at: Option<i64>,
}

impl Runs {
    /// Starts the service: what was accepted before the last stop runs now, what was already given
    /// to the model is marked interrupted with the text that had arrived.
    pub async fn start(
        store: &Store,
        models: Arc<Models>,
        events: Arc<dyn EventSink>,
    ) -> Result<Self> {
        Self::over(store.runs(), store, models, events).await
    }

    /// As [`Self::start`], with the runs kept elsewhere.
    pub(super) async fn over(
        runs: Arc<dyn RunStore>,
        store: &Store,
        models: Arc<Models>,
        events: Arc<dyn EventSink>,
    ) -> Result<Self> {
        let inner = Arc::new(Inner {
            store: runs,
            sessions: store.sessions(),
            commands: store.commands(),
            models,
            deadlines: Deadlines::default(),
            shutdown: CancellationToken::new(),
            events,
            tasks: TaskTracker::new(),
            lost: Lost::default(),
            submitting: tokio::sync::Mutex::new(()),
            released: Notify::new(),
            one_less: Notify::new(),
            state: Mutex::new(State {
                queue: Queue::new(Limits::default()),
                active: HashMap::new(),
                held: HashSet::new(),
                stopping: false,
            }),
        });
        let runs = Self {
            _owner: Arc::new(inner.shutdown.clone().drop_guard()),
            inner,
        };
        upkeep::recover(&runs.inner).await?;
        runs.inner.tasks.spawn(upkeep::sweep(runs.inner.clone()));
        Ok(runs)
    }

    /// The models and agents that runs can use.
    pub fn models(&self) -> &Models {
        &self.inner.models
    }

    /// Accepts a message: one transaction commits user message, run and key before this returns
    /// `Started`. The same key with the same body answers from the stored run, and never runs twice.
    ///
    /// Dropping the future changes nothing: what was begun is completed.
    pub async fn submit(&self, submit: Submit) -> Result<Accepted> {
        let inner = self.inner.clone();
        self.inner
            .tasks
            .spawn(async move { inner.submit(submit).await })
            .await
            .unwrap_or(Err(RunError::Inside))
    }

    /// Stops one run of a session, or all of them, the waiting ones too. Returns the stopped ones
    /// after their ends were committed; none is no error.
    pub async fn abort(&self, key: &SessionKey, run_id: Option<&RunId>) -> Result<Vec<RunId>> {
        let inner = self.inner.clone();
        let key = key.clone();
        let run_id = run_id.cloned();
        self.inner
            .tasks
            .spawn(async move {
                let fits = |id: &RunId| run_id.as_ref().is_none_or(|wanted| wanted == id);
                inner.abort(&key, fits).await
            })
            .await
            .map_err(|_| RunError::Inside)
    }

    /// Waits for a run's end. `None` when it has not ended in time, or there is no such run.
    pub async fn wait(&self, run_id: &RunId, timeout: Duration) -> Result<Option<RunOutcome>> {
        let done = self
            .inner
            .state()
            .active
            .get(run_id)
            .map(|active| active.done.subscribe());
        if let Some(mut done) = done {
            let waited =
                tokio::time::timeout(timeout, done.wait_for(|outcome| outcome.is_some())).await;
            match waited {
                Err(_) => return Ok(None),
                Ok(Ok(outcome)) => {
                    if let Some(Some(outcome)) = &*outcome {
                        return Ok(Some(outcome.clone()));
                    }
                }
                Ok(Err(_)) => {}
            }
        }
        if let Some(outcome) = self.inner.lost.get(run_id.as_str()) {
            return Ok(Some(outcome));
        }
        let stored = self.inner.store.get(run_id).await?;
        Ok(stored
            .filter(|run| run.state.is_final())
            .map(|run| run.outcome()))
    }

    /// Whether the run waits or is being answered in this process. A submit that is under way is
    /// waited for.
    pub async fn is_active(&self, run_id: &RunId) -> bool {
        // Between its commit and the queue a run is known to the store only.
        let _order = self.inner.submitting.lock().await;
        self.inner.state().active.contains_key(run_id)
    }

    /// A run as it is stored.
    pub async fn get(&self, run_id: &RunId) -> Result<Option<Run>> {
        Ok(self.inner.store.get(run_id).await?)
    }

    /// The running and the waiting runs of a session, in order.
    pub fn active(&self, key: &SessionKey) -> Vec<ActiveRun> {
        let state = self.inner.state();
        state
            .queue
            .of_session(key)
            .into_iter()
            .filter_map(|run_id| {
                let active = state.active.get(&run_id)?;
                Some(ActiveRun {
                    queued: !state.queue.is_running(key, &run_id),
                    session_key: key.clone(),
                    text: active.progress.text.to_string(),
                    seq: active.progress.seq,
                    started_at: active.progress.started_at,
                    run_id,
                })
            })
            .collect()
    }

    /// How many runs are being answered, and how many wait. One that has ended is not among them, also
    /// while its end is still to be stored.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.inner.state();
        let answered = |id: &&RunId| state.active.contains_key(id);
        let running = state.queue.running().filter(answered).count();
        (running, state.queue.counts().1)
    }

    /// Stops the service: accepts nothing more, lets running answers complete within `grace`, then
    /// interrupts them. What only waits stays accepted, and runs at the next start.
    pub async fn stop(&self, grace: Duration) {
        let running = {
            let mut state = self.inner.state();
            state.stopping = true;
            state.queue.counts().0
        };
        self.inner.tasks.close();
        if running > 0 {
            tracing::info!(running, "waiting for answers to complete");
            let _ = tokio::time::timeout(grace, self.inner.idle()).await;
        }
        self.inner.shutdown.cancel();
        if tokio::time::timeout(STOP_DEADLINE, self.inner.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("some runs did not stop in time; they are marked at the next start");
        }
        // Whoever still waits, waits for a run of the next start.
        let left: Vec<Active> = {
            let mut state = self.inner.state();
            state.active.drain().map(|(_, active)| active).collect()
        };
        for active in left {
            active.done.send_replace(Some(None));
        }
    }
}

impl Inner {
    pub(super) async fn abort(
        self: Arc<Self>,
        key: &SessionKey,
        fits: impl Fn(&RunId) -> bool,
    ) -> Vec<RunId> {
        let mut waiting = Vec::new();
        let mut running = Vec::new();
        {
            let mut state = self.state();
            let chosen: Vec<RunId> = state
                .queue
                .of_session(key)
                .into_iter()
                .filter(|id| fits(id))
                .collect();
            for id in chosen {
                if state.queue.remove(key, &id) {
                    waiting.push(id);
                } else if let Some(active) = state.active.get(&id) {
                    active.abort.cancel();
                    running.push((id, active.done.subscribe()));
                }
            }
        }
        let mut aborted = Vec::new();
        for (id, mut done) in running {
            let ended =
                tokio::time::timeout(ABORT_DEADLINE, done.wait_for(|outcome| outcome.is_some()))
                    .await;
            let is_aborted = match &ended {
                Ok(Ok(outcome)) => {
                    matches!(&**outcome, Some(Some(outcome)) if outcome.state == RunState::Aborted)
                }
                _ => false,
            };
            if is_aborted {
                aborted.push(id);
            }
        }
        for id in waiting {
            let Some(run) = self.accepted(&id) else {
                continue;
            };
            match try_end(&self, &run, aborted_ending(1)).await {
                Ok(true) => aborted.push(id),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(run = %id, %error, "the run cannot be stopped yet");
                    self.put_back(key, &id);
                }
            }
        }
        Self::pump(&self);
        aborted
    }

    pub(super) fn enqueue(&self, run: &Run) {
        let mut state = self.state();
        let active = Active {
            run: Run {
                options: RunOptions::default(),
                ..run.clone()
            },
            abort: CancellationToken::new(),
            done: watch::Sender::new(None),
            progress: Progress::default(),
        };
        state.active.insert(run.run_id.clone(), active);
        state
            .queue
            .push(run.session_key.clone(), run.run_id.clone());
    }

    /// Puts a run back into the line that was to be stopped and could not be: it ends when its turn
    /// comes, and no model sees it.
    fn put_back(&self, key: &SessionKey, run_id: &RunId) {
        let mut state = self.state();
        if let Some(active) = state.active.get(run_id) {
            active.abort.cancel();
            state.queue.push(key.clone(), run_id.clone());
        }
    }

    /// A run that waits or is being answered, as it was accepted, without its options.
    pub(super) fn accepted(&self, run_id: &RunId) -> Option<Run> {
        let state = self.state();
        state.active.get(run_id).map(|active| active.run.clone())
    }

    /// Starts whatever may start now.
    pub(super) fn pump(this: &Arc<Self>) {
        loop {
            let (run_id, key, abort) = {
                let mut state = this.state();
                if state.stopping {
                    return;
                }
                let Some((key, run_id)) = state.queue.next() else {
                    return;
                };
                let abort = state.active.get(&run_id).map(|active| active.abort.clone());
                (run_id, key, abort.unwrap_or_default())
            };
            let inner = this.clone();
            this.tasks.spawn(async move {
                driver::drive_safely(&inner, &run_id, abort).await;
                inner.close(&run_id, None);
                inner.state().queue.finished(&key, &run_id);
                inner.one_less.notify_waiters();
                Self::pump(&inner);
            });
        }
    }

    /// Returns when no run is being answered.
    async fn idle(&self) {
        loop {
            let ended = self.one_less.notified();
            if self.state().queue.counts().0 == 0 {
                return;
            }
            ended.await;
        }
    }

    /// The runs of a session that wait or are being answered, in order.
    pub(super) fn of_session(&self, key: &SessionKey) -> Vec<RunId> {
        let state = self.state();
        let mut runs = state.queue.of_session(key);
        // One that has ended keeps its place until that is stored.
        runs.retain(|id| state.active.contains_key(id));
        runs
    }

    /// Takes a run that has ended out of the line.
    pub(super) fn unqueue(&self, key: &SessionKey, outcome: RunOutcome) {
        self.state().queue.remove(key, &outcome.run_id);
        let run_id = outcome.run_id.clone();
        self.close(&run_id, Some(outcome));
    }

    /// Forgets an active run and wakes whoever waits for it.
    pub(super) fn close(&self, run_id: &RunId, outcome: Option<RunOutcome>) {
        if let Some(active) = self.state().active.remove(run_id) {
            active.done.send_replace(Some(outcome));
        }
    }

    pub(super) fn progress(&self, run_id: &RunId, note: impl FnOnce(&mut Progress)) {
        if let Some(active) = self.state().active.get_mut(run_id) {
            note(&mut active.progress);
        }
    }

    pub(super) fn emit(&self, event: DomainEvent) {
        self.events.emit(event);
    }

    /// True when nothing new is taken.
    pub(super) fn is_stopping(&self) -> bool {
        self.state().stopping
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
