//! One node a profile: two with the same key would take each other's commands.

use std::path::Path;

use clawline::owner_file;
use clawline::process_lock::{ProcessLock, ProcessLockError};

use crate::cli::failure::Failure;
use crate::link::UsageError;

/// Takes the lock below this directory; whoever has it is named in the refusal.
pub(super) fn lock(dir: &Path) -> Result<ProcessLock, Failure> {
    let path = dir.join("lock");
    let unusable = |error: std::io::Error| Failure::Other(format!("{}: {error}", path.display()));
    owner_file::create_dir(dir).map_err(unusable)?;
    ProcessLock::take(&path).map_err(|error| match error {
        ProcessLockError::Held { pid } => UsageError::new(
            format!("this machine is a node already (process {pid})"),
            "stop that one, or give this one a --profile of its own",
        )
        .into(),
        ProcessLockError::Io(error) => unusable(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_node_is_told_who_was_first() {
        let dir = tempfile::tempdir().unwrap();
        let _first = lock(dir.path()).unwrap();
        let error = lock(dir.path()).expect_err("refused");
        assert!(
            error.to_string().contains(&std::process::id().to_string()),
            "{error}"
        );
        assert_eq!(error.exit_code(), 2);
    }
}
