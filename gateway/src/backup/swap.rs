//! Putting a directory in the place of another, in one step.

use std::path::{Path, PathBuf};

use super::files::{Staged, sync_parent};
use super::{BackupError, io_error};

/// Puts the staged directory at `place` and returns where the old one is now.
pub(super) fn put(staged: Staged, place: &Path, at: i64) -> Result<Option<PathBuf>, BackupError> {
    if !place.exists() {
        staged.put_at(place)?;
        return Ok(None);
    }
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    let aside = place.with_file_name(format!("{name}.before-{at}"));
    exchange(staged.path(), place, &aside)?;
    if let Some(old) = staged.keep().filter(|old| old.exists()) {
        std::fs::rename(&old, &aside).map_err(io_error(&aside))?;
    }
    sync_parent(place)?;
    Ok(Some(aside))
}

/// Both names change hands at once: at no moment is there no state, or half of one.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn exchange(staged: &Path, place: &Path, _: &Path) -> Result<(), BackupError> {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    renameat2(
        AT_FDCWD,
        staged,
        AT_FDCWD,
        place,
        RenameFlags::RENAME_EXCHANGE,
    )
    .map_err(|error| io_error(place)(error.into()))
}

/// Two steps: killed between them, the old state is whole under its new name.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn exchange(staged: &Path, place: &Path, aside: &Path) -> Result<(), BackupError> {
    std::fs::rename(place, aside).map_err(io_error(aside))?;
    std::fs::rename(staged, place).map_err(io_error(place))
}
