//! One daemon a profile: a lock that the kernel lets go of when its holder dies.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clawline::process_lock::{ProcessLock, ProcessLockError};
use tokio::time::Instant;

/// The lock file inside the state directory.
const FILE: &str = "lock";
/// How long a daemon waits for the lock: `status` and `devices` hold it for a moment, and a
/// predecessor may be about to end.
const PATIENCE: Duration = Duration::from_secs(2);
/// Time between two tries.
const RETRY: Duration = Duration::from_millis(50);

/// The lock, held by descriptor until dropped.
#[derive(Debug)]
pub struct StateLock {
    _lock: ProcessLock,
}

/// Why the lock cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another daemon holds it.
    #[error("another clawline-gateway runs here already (pid {pid}, state directory {}); stop it, or choose another --profile", dir.display())]
    Held {
        /// Its process, as it wrote it.
        pid: String,
        /// The state directory.
        dir: PathBuf,
    },
    /// The file cannot be opened or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl StateLock {
    /// Takes the lock of a state directory, or says who has it.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn take(state_dir: &Path) -> Result<Self, LockError> {
        let path = state_dir.join(FILE);
        match ProcessLock::take(&path) {
            Ok(lock) => Ok(Self { _lock: lock }),
            Err(ProcessLockError::Held { pid }) => Err(LockError::Held {
                pid,
                dir: state_dir.to_owned(),
            }),
            Err(ProcessLockError::Io(source)) => Err(LockError::Io { path, source }),
        }
    }

    /// As [`StateLock::take`], for a daemon that starts: whoever holds the lock is given two seconds
    /// to let go of it.
    ///
    /// # Errors
    /// [`LockError`].
    pub async fn take_patiently(state_dir: &Path) -> Result<Self, LockError> {
        let until = Instant::now() + PATIENCE;
        loop {
            match Self::take(state_dir) {
                Err(LockError::Held { .. }) if Instant::now() < until => {
                    tokio::time::sleep(RETRY).await;
                }
                taken => return taken,
            }
        }
    }

    /// Whether somebody holds the lock of a state directory.
    pub fn is_held(state_dir: &Path) -> bool {
        ProcessLock::is_held(&state_dir.join(FILE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_is_told_who_was_first_and_may_follow_it() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!StateLock::is_held(dir.path()));
        let first = StateLock::take(dir.path()).unwrap();
        assert!(StateLock::is_held(dir.path()));
        let error = StateLock::take(dir.path()).unwrap_err();
        assert!(
            error.to_string().contains(&std::process::id().to_string()),
            "{error}"
        );
        drop(first);
        assert!(StateLock::take(dir.path()).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_outwaits_a_short_holder_and_refuses_beside_a_long_one() {
        let dir = tempfile::tempdir().unwrap();
        let held = StateLock::take(dir.path()).unwrap();
        let refused = StateLock::take_patiently(dir.path()).await;
        assert!(matches!(refused, Err(LockError::Held { .. })));
        let (taken, ()) = tokio::join!(StateLock::take_patiently(dir.path()), async {
            tokio::time::sleep(PATIENCE / 2).await;
            drop(held);
        });
        taken.unwrap();
    }
}
