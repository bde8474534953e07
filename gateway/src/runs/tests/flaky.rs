//! A store of runs that fails or stalls when a test says so.

use std::collections::HashMap;

use tokio::sync::watch;

use super::*;
use crate::store::{Accept, AcceptOutcome, EndedRun, RunEnd, RunStore, StoreError};

type Stored<T> = std::result::Result<T, StoreError>;

type Failure = fn() -> StoreError;

/// A store of runs whose methods fail by name.
pub(super) struct Flaky {
    real: Arc<dyn RunStore>,
    failing: std::sync::Mutex<HashMap<&'static str, Failure>>,
    /// The place in `finish` from which nothing comes back any more.
    stall: std::sync::Mutex<Option<Stall>>,
    /// How often one failed or stalled.
    pub(super) failures: watch::Sender<u64>,
}

/// Before or after the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stall {
    Before,
    After,
}

impl Flaky {
    fn over(store: &Store) -> Arc<Self> {
        Arc::new(Self {
            real: store.runs(),
            failing: Default::default(),
            stall: Default::default(),
            failures: watch::Sender::new(0),
        })
    }

    pub(super) fn fail(&self, method: &'static str, error: Failure) {
        self.failing.lock().unwrap().insert(method, error);
    }

    pub(super) fn heal(&self) {
        self.failing.lock().unwrap().clear();
    }

    fn check(&self, method: &str) -> Stored<()> {
        match self.failing.lock().unwrap().get(method) {
            None => Ok(()),
            Some(error) => {
                self.failures.send_modify(|count| *count += 1);
                Err(error())
            }
        }
    }

    /// From now on an end comes this far, as before a kill.
    pub(super) fn stall(&self, stall: Stall) {
        *self.stall.lock().unwrap() = Some(stall);
    }

    async fn come(&self, here: Stall) {
        if *self.stall.lock().unwrap() == Some(here) {
            self.failures.send_modify(|count| *count += 1);
            std::future::pending::<()>().await;
        }
    }

    /// Waits until it has failed or stalled so often.
    pub(super) async fn failed(&self, times: u64) {
        let mut failures = self.failures.subscribe();
        let enough = failures.wait_for(|count| *count >= times);
        let waited = tokio::time::timeout(DEADLINE, enough).await;
        waited.expect("the store is asked again").unwrap();
    }
}

#[async_trait]
impl RunStore for Flaky {
    async fn accept(&self, accept: Accept) -> Stored<AcceptOutcome> {
        self.real.accept(accept).await
    }

    async fn get(&self, run_id: &RunId) -> Stored<Option<Run>> {
        self.check("get")?;
        self.real.get(run_id).await
    }

    async fn give(
        &self,
        run_id: &RunId,
        provider: &str,
        model: &str,
        at: i64,
    ) -> Stored<Option<(Run, Option<crate::sessions::Session>)>> {
        self.check("give")?;
        self.real.give(run_id, provider, model, at).await
    }

    async fn save_partial(&self, run_id: &RunId, text: &str, at: i64) -> Stored<()> {
        self.real.save_partial(run_id, text, at).await
    }

    async fn finish(&self, end: RunEnd) -> Stored<Option<EndedRun>> {
        self.check("finish")?;
        self.come(Stall::Before).await;
        let ended = self.real.finish(end).await;
        self.come(Stall::After).await;
        ended
    }

    async fn unfinished(&self) -> Stored<Vec<Run>> {
        self.real.unfinished().await
    }

    async fn context(&self, run: &Run, limit: usize, bytes: usize) -> Stored<Vec<Message>> {
        self.check("context")?;
        self.real.context(run, limit, bytes).await
    }

    async fn expire(&self, before: i64, limit: usize) -> Stored<u64> {
        self.real.expire(before, limit).await
    }
}

pub(super) async fn flaky_world(home: &Path) -> (World, Arc<Flaky>) {
    let store = Store::open(&home.join("gateway.db")).await.unwrap();
    let flaky = Flaky::over(&store);
    (world_over(store, flaky.clone()).await, flaky)
}
