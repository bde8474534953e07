//! What a backup or a restore leaves beside its place when it is killed or the power goes, and who clears it away: the next
//! one, once it is old.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use clawline::owner_file;

use super::{CONFIG, DATABASE, STATE, manifest};

/// Nothing takes longer to be written.
const OLD: Duration = Duration::from_secs(24 * 60 * 60);
/// Entries that are looked at beside a place.
const MAX_ENTRIES: usize = 10_000;
/// Every state that was in use has one.
const LOCK: &str = "lock";

/// Of backups that were to lie in the same directory, whatever their names: with nothing in them but parts of a backup.
pub(super) fn clear_backups(target: &Path) {
    clear(target, |_, inside| inside.iter().all(is_part));
}

/// Of restores of the same state. One that has a lock in it is no leftover: when the last step is missing, it is the state
/// of before.
pub(super) fn clear_restores(state_dir: &Path) {
    let name = state_dir.file_name().unwrap_or_default().to_string_lossy();
    let own = format!(".{name}.");
    clear(state_dir, |name, inside| {
        name.starts_with(&own) && !inside.iter().any(|name| name == LOCK)
    });
}

/// In a backup, or in one that is being written.
fn is_part(name: &OsString) -> bool {
    let of_database = |name: &str| name.strip_prefix(DATABASE).is_some_and(is_suffix);
    owner_file::is_staged(name)
        || name.to_str().is_some_and(|name| {
            [CONFIG, STATE, manifest::FILE].contains(&name) || of_database(name)
        })
}

/// SQLite has files beside a database.
fn is_suffix(rest: &str) -> bool {
    ["", "-journal", "-wal", "-shm"].contains(&rest)
}

fn clear(place: &Path, is_ours: impl Fn(&str, &[OsString]) -> bool) {
    let Some(parent) = place.parent() else {
        return;
    };
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    for entry in entries.take(MAX_ENTRIES) {
        let name = entry.file_name();
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let Some(name) = name.to_str().filter(|_| owner_file::is_staged(&name)) else {
            continue;
        };
        let path = entry.path();
        if is_dir && let Some(inside) = old(&path).filter(|inside| is_ours(name, inside)) {
            tracing::info!(path = %path.display(), files = inside.len(), "what a backup or restore left when it was cut short is cleared away");
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// What is in the directory, when neither it nor anything in it has changed for a day.
fn old(dir: &Path) -> Option<Vec<OsString>> {
    let is_old = |at: SystemTime| at.elapsed().is_ok_and(|age| age > OLD);
    let mut inside = Vec::new();
    if !is_old(fs::metadata(dir).ok()?.modified().ok()?) {
        return None;
    }
    for entry in fs::read_dir(dir).ok()? {
        let entry = entry.ok()?;
        if !is_old(entry.metadata().ok()?.modified().ok()?) {
            return None;
        }
        inside.push(entry.file_name());
    }
    Some(inside)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const ID: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";

    /// A directory with these files in it, all of them last changed two days ago.
    fn left(beside: &Path, name: &str, files: &[&str]) -> PathBuf {
        let dir = beside.join(name);
        fs::create_dir(&dir).unwrap();
        for file in files {
            fs::write(dir.join(file), "x").unwrap();
            age(&dir.join(file));
        }
        age(&dir);
        dir
    }

    fn age(path: &Path) {
        let then = SystemTime::now() - 2 * OLD;
        fs::File::open(path).unwrap().set_modified(then).unwrap();
    }

    #[test]
    fn old_pieces_of_backups_go_and_everything_else_stays() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str, files: &[&str]| left(home.path(), name, files);
        let gone = [
            at(&format!(".monday.{ID}"), &[DATABASE, "gateway.db-journal"]),
            at(
                &format!(".tuesday.{}", ID.replace('6', "7")),
                &[DATABASE, CONFIG, manifest::FILE],
            ),
            at(&format!(".empty.{ID}"), &[]),
        ];
        let young = at(&format!(".now.{ID}"), &[]);
        fs::write(young.join(DATABASE), "x").unwrap();
        age(&young);
        let kept = [
            young,
            at("monday", &[DATABASE]),
            at(".monday", &[DATABASE]),
            at(&format!(".foreign.{ID}"), &[DATABASE, "thesis.odt"]),
            at(&format!(".state.{ID}"), &[DATABASE, LOCK]),
        ];
        clear_backups(&home.path().join("wednesday"));
        assert!(gone.iter().all(|path| !path.exists()), "{gone:?}");
        assert!(kept.iter().all(|path| path.exists()), "{kept:?}");
    }

    #[test]
    fn an_old_restore_goes_and_a_state_that_was_in_use_stays() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str, files: &[&str]| left(home.path(), name, files);
        let gone = at(&format!(".state.{ID}"), &[DATABASE, "token"]);
        let kept = [
            at(
                &format!(".state.{}", ID.replace('6', "7")),
                &[LOCK, "token"],
            ),
            at(&format!(".other.{ID}"), &[DATABASE, "token"]),
            at("state", &[DATABASE, LOCK]),
        ];
        clear_restores(&home.path().join("state"));
        assert!(!gone.exists());
        assert!(kept.iter().all(|path| path.exists()), "{kept:?}");
    }
}
