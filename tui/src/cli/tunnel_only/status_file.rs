//! `--status-file`: how the tunnel stands, in a file that is always whole.

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clawline::owner_file;
use clawline::secret::Secret;
use tokio::sync::watch;
use tokio::time::Instant;

use super::state::State;

/// Counts alone are written this often; a change of state is written at once.
const COUNTS_EVERY: Duration = Duration::from_secs(5);

/// The file.
#[derive(Debug, Clone)]
pub(super) struct StatusFile {
    path: PathBuf,
    /// Held while it is written; true once the last word is in it.
    is_finished: Arc<Mutex<bool>>,
}

impl StatusFile {
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            is_finished: Arc::default(),
        }
    }

    /// Writes, unless the last word is in it already.
    fn update(&self, state: &State) -> io::Result<()> {
        let is_finished = self.lock();
        match *is_finished {
            true => Ok(()),
            false => self.write(state),
        }
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.is_finished
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the whole file or leaves it as it was; only its owner may read it.
    fn write(&self, state: &State) -> io::Result<()> {
        let text = serde_json::to_string(state).map_err(io::Error::other)?;
        owner_file::replace(&self.path, &Secret::new(text + "\n"))
    }

    /// Writes every change; never returns. A disk that is full now may have room later.
    pub async fn keep(&self, mut states: watch::Receiver<State>) -> Infallible {
        let mut written: Option<State> = None;
        let mut is_told = false;
        loop {
            let state = states.borrow_and_update().clone();
            let (file, fresh) = (self.clone(), state.clone());
            // A slow disk holds up nothing else.
            let write = tokio::task::spawn_blocking(move || file.update(&fresh)).await;
            match write.unwrap_or_else(|error| Err(io::Error::other(error))) {
                Ok(()) => is_told = false,
                Err(error) if !is_told => {
                    tracing::warn!(path = %self.path.display(), %error, "the status file cannot be written");
                    is_told = true;
                }
                Err(_) => {}
            }
            written.replace(state);
            self.until_worth_it(&mut states, written.as_ref()).await;
        }
    }

    /// Waits for a change of state, or for a while when only counts have changed.
    async fn until_worth_it(&self, states: &mut watch::Receiver<State>, written: Option<&State>) {
        let quiet = written.map(State::without_counts);
        let until = Instant::now() + COUNTS_EVERY;
        loop {
            if states.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            let is_state = Some(states.borrow_and_update().without_counts()) != quiet;
            if is_state || Instant::now() >= until {
                return;
            }
        }
    }

    /// After a clean end nothing is left; after another one it says what a person needs to know.
    pub fn finish(&self, ended: Option<&State>) {
        // A write that is under way comes first, and none comes later.
        let mut is_finished = self.lock();
        *is_finished = true;
        let outcome = match ended {
            None => std::fs::remove_file(&self.path),
            Some(state) => self.write(state),
        };
        if let Err(error) = outcome {
            tracing::warn!(path = %self.path.display(), %error, "the status file was left as it is");
        }
    }
}
