//! One process at a time: a lock that the kernel lets go of when its holder dies, with the holder's process
//! id in the file.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::layer::printable;

/// Most that is read of what a holder wrote, in bytes.
const MAX_NOTE: u64 = 64;

/// The lock, held by descriptor until dropped.
#[derive(Debug)]
pub struct ProcessLock {
    _file: Flock<File>,
}

/// Why a lock cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ProcessLockError {
    /// Another process holds it.
    #[error("process {pid} holds it")]
    Held {
        /// Its id as it wrote it, or `unknown`.
        pid: String,
    },
    /// The file cannot be opened or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl ProcessLock {
    /// Takes the lock, or says who has it. The file is made owner-only where it is absent.
    ///
    /// # Errors
    /// [`ProcessLockError`].
    pub fn take(path: &Path) -> Result<Self, ProcessLockError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.mode(0o600).open(path)?;
        let mut file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => file,
            Err((file, Errno::EWOULDBLOCK)) => {
                let mut pid = String::new();
                let _ = file.take(MAX_NOTE).read_to_string(&mut pid);
                let pid = match pid.trim() {
                    "" => "unknown".to_owned(),
                    pid => printable(pid, 20),
                };
                return Err(ProcessLockError::Held { pid });
            }
            Err((_, errno)) => return Err(io::Error::from(errno).into()),
        };
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Self { _file: file })
    }

    /// Whether somebody holds it.
    pub fn is_held(path: &Path) -> bool {
        let Ok(file) = File::open(path) else {
            return false;
        };
        matches!(
            Flock::lock(file, FlockArg::LockSharedNonblock),
            Err((_, Errno::EWOULDBLOCK))
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_is_told_who_was_first_and_may_follow_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        assert!(!ProcessLock::is_held(&path));
        let first = ProcessLock::take(&path).unwrap();
        assert!(ProcessLock::is_held(&path));
        let Err(ProcessLockError::Held { pid }) = ProcessLock::take(&path) else {
            panic!("two hold it");
        };
        assert_eq!(pid, std::process::id().to_string());
        drop(first);
        assert!(ProcessLock::take(&path).is_ok());
    }
}
