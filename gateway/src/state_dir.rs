//! The state directory and what lies in it: nobody else's, and closed to others.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clawline::owner_file;

/// No file takes longer to be written.
const STAGED_AT_MOST: Duration = Duration::from_secs(600);
/// Entries that are looked at; there are far fewer.
const MAX_ENTRIES: usize = 10_000;

/// Why a directory is not used.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// It is a link, which somebody could point elsewhere.
    #[error("{} is a link; set CLAWLINE_STATE_DIR to the place where the state really is", path.display())]
    Link {
        /// The directory.
        path: PathBuf,
    },
    /// It is something else.
    #[error("{} is no directory; move it away", path.display())]
    NoDirectory {
        /// The path.
        path: PathBuf,
    },
    /// Another user could put things into it.
    #[error("{} belongs to user {uid}; run chown {own} {path}, or choose another with CLAWLINE_STATE_DIR", path.display(), path = path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        uid: u32,
        /// Who we are.
        own: u32,
    },
    /// Others may write into it.
    #[error("other users can write into {} (mode {mode:04o}); look at what is in it, then run chmod 700 {path}", path.display(), path = path.display())]
    OpenToOthers {
        /// The directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The system does not tell.
    #[error("{}: {source}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Looks at a state directory; one that is not there yet is good.
///
/// # Errors
/// [`StateDirError`].
pub fn check(path: &Path) -> Result<(), StateDirError> {
    let path = path.to_owned();
    let found = match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(StateDirError::Io { path, source }),
        Ok(found) => found,
    };
    let (uid, own) = (found.uid(), nix::unistd::geteuid().as_raw());
    let mode = found.permissions().mode() & 0o7777;
    if found.is_symlink() {
        Err(StateDirError::Link { path })
    } else if !found.is_dir() {
        Err(StateDirError::NoDirectory { path })
    } else if uid != own {
        Err(StateDirError::Foreign { path, uid, own })
    } else if mode & 0o022 != 0 {
        Err(StateDirError::OpenToOthers { path, mode })
    } else {
        Ok(())
    }
}

/// A file or directory that others can see into, and the mode that it should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TooOpen {
    /// The path.
    pub path: PathBuf,
    /// Its mode.
    pub mode: u32,
    /// 0600, or 0700 for a directory.
    pub wanted: u32,
}

/// Everything at and below `dir` that others can read, write or enter. Links are not followed.
pub fn too_open(dir: &Path) -> Vec<TooOpen> {
    let mut found = Vec::new();
    let mut waiting = vec![dir.to_owned()];
    let mut seen = 0;
    while let Some(path) = waiting.pop() {
        seen += 1;
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        if metadata.is_symlink() || seen > MAX_ENTRIES {
            continue;
        }
        found.extend(of(&path, &metadata));
        if metadata.is_dir()
            && let Ok(entries) = fs::read_dir(&path)
        {
            waiting.extend(entries.flatten().map(|entry| entry.path()));
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Takes away what a kill left of files that were being written. Only old ones: a command may be writing
/// one now.
pub fn clear_staged(dir: &Path) {
    let mut waiting = vec![dir.to_owned()];
    let mut seen = 0;
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            seen += 1;
            let Some(metadata) = entry.metadata().ok().filter(|_| seen <= MAX_ENTRIES) else {
                continue;
            };
            let age = metadata.modified().ok().and_then(|at| at.elapsed().ok());
            if metadata.is_dir() {
                waiting.push(entry.path());
            } else if owner_file::is_staged(&entry.file_name())
                && age.is_some_and(|age| age > STAGED_AT_MOST)
            {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

fn of(path: &Path, metadata: &Metadata) -> Option<TooOpen> {
    let mode = metadata.permissions().mode() & 0o777;
    let wanted = if metadata.is_dir() { 0o700 } else { 0o600 };
    (mode & 0o077 != 0).then(|| TooOpen {
        path: path.to_owned(),
        mode,
        wanted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kill_left_of_a_file_goes_and_what_is_being_written_stays() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("tls")).unwrap();
        let id = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        let at = |name: &str| dir.path().join(name);
        let [stale, below, fresh, other] = [
            at(&format!(".token.{id}")),
            at(&format!("tls/.key.pem.{id}")),
            at(&format!(".wake.{id}")),
            at("token"),
        ];
        for path in [&stale, &below, &fresh, &other] {
            fs::write(path, "x").unwrap();
            let file = fs::File::options().write(true).open(path).unwrap();
            if path != &fresh {
                let old = std::time::SystemTime::now() - 2 * STAGED_AT_MOST;
                file.set_modified(old).unwrap();
            }
        }
        clear_staged(dir.path());
        assert!(!stale.exists() && !below.exists());
        assert!(fresh.exists() && other.exists());
    }

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_directory_that_others_could_change_is_refused_with_the_command_that_helps() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("state");
        assert!(check(&dir).is_ok(), "it is not there yet");
        fs::create_dir(&dir).unwrap();
        for good in [0o700, 0o750, 0o755] {
            set(&dir, good);
            assert!(check(&dir).is_ok(), "{good:o}");
        }
        for bad in [0o777, 0o770, 0o702] {
            set(&dir, bad);
            let refused = check(&dir).unwrap_err().to_string();
            let command = format!("chmod 700 {}", dir.display());
            assert!(refused.contains(&command), "{refused}");
        }
        let link = home.path().join("link");
        std::os::unix::fs::symlink(&dir, &link).unwrap();
        assert!(matches!(check(&link), Err(StateDirError::Link { .. })));
        let file = home.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(
            check(&file),
            Err(StateDirError::NoDirectory { .. })
        ));
        if !nix::unistd::geteuid().is_root() {
            let refused = check(Path::new("/")).unwrap_err().to_string();
            assert!(refused.contains("chown"), "{refused}");
        }
    }

    #[test]
    fn everything_that_others_can_see_is_found() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("state");
        fs::create_dir_all(dir.join("tls")).unwrap();
        fs::write(dir.join("tls/key.pem"), "").unwrap();
        fs::write(dir.join("token"), "").unwrap();
        set(&dir, 0o700);
        set(&dir.join("tls"), 0o755);
        set(&dir.join("tls/key.pem"), 0o640);
        set(&dir.join("token"), 0o600);
        let found = too_open(&dir);
        let found: Vec<_> = found.iter().map(|f| (f.mode, f.wanted)).collect();
        assert_eq!(found, [(0o755, 0o700), (0o640, 0o600)]);
    }
}
