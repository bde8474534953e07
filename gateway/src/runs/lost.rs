//! Runs that have ended although the store could not be told: it has them as unfinished until it takes
//! their end, or the next start, and until then this process knows better.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::accept::answer;
use super::model::{Accepted, Run, RunId, RunOutcome, SubmitStatus};
use super::service::{Inner, RunError, Runs};

/// The most that are known. Only a store that takes no writes brings them about, and then no new run is
/// accepted either.
const MAX_LOST: usize = 64;

/// How such runs ended, without their text; the oldest first.
#[derive(Default)]
pub(super) struct Lost(Mutex<VecDeque<RunOutcome>>);

impl Lost {
    fn lock(&self) -> MutexGuard<'_, VecDeque<RunOutcome>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, outcome: RunOutcome) {
        let mut lost = self.lock();
        if lost.len() == MAX_LOST {
            lost.pop_front();
        }
        lost.push_back(outcome);
    }

    /// The store knows it, too.
    pub(super) fn forget(&self, run_id: &RunId) {
        self.lock().retain(|lost| lost.run_id != *run_id);
    }

    pub(super) fn get(&self, run_id: &str) -> Option<RunOutcome> {
        let lost = self.lock();
        let mut lost = lost.iter();
        lost.find(|lost| lost.run_id.as_str() == run_id).cloned()
    }
}

impl Runs {
    /// How the run ended, where the store could not be told.
    pub fn lost(&self, run_id: &str) -> Option<RunOutcome> {
        self.inner.lost.get(run_id)
    }
}

impl Inner {
    /// As [`Self::close`], for a run whose end could not be stored.
    pub(super) fn lose(&self, outcome: RunOutcome) {
        let run_id = outcome.run_id.clone();
        self.lost.push(outcome.clone());
        self.close(&run_id, Some(outcome));
    }

    /// What the same key is answered with.
    pub(super) fn answer_known(&self, run: &Run, hash: &[u8; 32]) -> Result<Accepted, RunError> {
        if run.body_hash != *hash {
            return Err(RunError::Conflict {
                run_id: run.run_id.clone(),
            });
        }
        let status = match self.lost.get(run.run_id.as_str()) {
            Some(outcome) if !run.state.is_final() => SubmitStatus::Error(outcome),
            _ => run.status(),
        };
        Ok(answer(run, status))
    }
}
