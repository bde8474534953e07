//! Putting a directory in the place of another, in one step where the file system can.

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::files::{Staged, sync_parent};
use super::{BackupError, io_error};

/// Puts the staged directory at `place` and returns where the old one is now.
pub(super) fn put(staged: Staged, place: &Path, at: i64) -> Result<Option<PathBuf>, BackupError> {
    put_by(staged, place, at, exchange)
}

fn put_by(
    staged: Staged,
    place: &Path,
    at: i64,
    exchange: fn(&Path, &Path) -> io::Result<()>,
) -> Result<Option<PathBuf>, BackupError> {
    if !place.exists() {
        staged.put_at(place)?;
        return Ok(None);
    }
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    let aside = place.with_file_name(format!("{name}.before-{at}"));
    match exchange(staged.path(), place) {
        Err(error) if is_unknown(&error) => in_two_steps(staged.path(), place, &aside)?,
        done => done.map_err(io_error(place))?,
    }
    if let Some(old) = staged.keep().filter(|old| old.exists()) {
        std::fs::rename(&old, &aside).map_err(io_error(&aside))?;
    }
    sync_parent(place)?;
    Ok(Some(aside))
}

/// Both names change hands at once: at no moment is there no state, or half of one.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn exchange(staged: &Path, place: &Path) -> io::Result<()> {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    let flags = RenameFlags::RENAME_EXCHANGE;
    Ok(renameat2(AT_FDCWD, staged, AT_FDCWD, place, flags)?)
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn exchange(_: &Path, _: &Path) -> io::Result<()> {
    Err(Errno::ENOSYS.into())
}

/// The file system, or the kernel, cannot exchange two names.
fn is_unknown(error: &io::Error) -> bool {
    let unknown = [Errno::EINVAL, Errno::ENOSYS, Errno::EOPNOTSUPP];
    error
        .raw_os_error()
        .is_some_and(|code| unknown.contains(&Errno::from_raw(code)))
}

/// Killed between the two, the old state is whole under its new name; where the second one fails, it goes
/// back to its place.
fn in_two_steps(staged: &Path, place: &Path, aside: &Path) -> Result<(), BackupError> {
    std::fs::rename(place, aside).map_err(io_error(aside))?;
    std::fs::rename(staged, place).map_err(|error| {
        if let Err(stuck) = std::fs::rename(aside, place) {
            tracing::error!(error = %stuck, state = %aside.display(), "the old state could not be put back; rename it by hand");
        }
        io_error(place)(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(dir: &Path, name: &str) -> PathBuf {
        let place = dir.join(name);
        std::fs::create_dir(&place).unwrap();
        std::fs::write(place.join("is"), name).unwrap();
        place
    }

    fn is(place: &Path) -> String {
        std::fs::read_to_string(place.join("is")).unwrap()
    }

    #[test]
    fn where_names_cannot_be_exchanged_they_are_changed_one_after_the_other() {
        for missing in [Errno::EINVAL, Errno::ENOSYS, Errno::EOPNOTSUPP] {
            assert!(is_unknown(&missing.into()));
        }
        assert!(!is_unknown(&Errno::EACCES.into()));
        for by in [exchange, |_: &Path, _: &Path| Err(Errno::EINVAL.into())] {
            let dir = tempfile::tempdir().unwrap();
            let place = state(dir.path(), "old");
            let staged = Staged::beside(&place).unwrap();
            std::fs::write(staged.path().join("is"), "new").unwrap();
            let aside = put_by(staged, &place, 7, by).unwrap().unwrap();
            assert_eq!((is(&place).as_str(), is(&aside).as_str()), ("new", "old"));
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
        }
    }

    #[test]
    fn a_second_step_that_fails_leaves_the_old_state_in_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let place = state(dir.path(), "old");
        let nothing = dir.path().join("nothing");
        let aside = dir.path().join("aside");
        assert!(in_two_steps(&nothing, &place, &aside).is_err());
        assert_eq!(is(&place), "old");
        assert!(!aside.exists());
    }
}
