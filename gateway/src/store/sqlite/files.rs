//! The database's file and directory: owner-only, and really a database.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use clawline::owner_file;

use super::StoreError;

const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// A directory that everybody may write to is not ours to close.
const STICKY: u32 = 0o1000;
const HEADER: &[u8; 16] = b"SQLite format 3\0";

/// Makes directory and file where they are absent, owner-only whatever the umask, and checks the
/// header of a file that is there. Says whether the file is new.
pub(super) fn prepare(path: &Path) -> Result<bool, StoreError> {
    let failed = |source: io::Error| StoreError::Prepare {
        path: path.to_owned(),
        source,
    };
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        owner_file::create_dir(dir).map_err(failed)?;
        let mode = fs::metadata(dir).map_err(failed)?.permissions().mode();
        if mode & 0o077 != 0 && mode & STICKY == 0 {
            fs::set_permissions(dir, Permissions::from_mode(DIR_MODE)).map_err(failed)?;
        }
    }
    let log = log_of(path);
    if !path.exists() && fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
        return Err(StoreError::LogWithoutDatabase {
            path: path.to_owned(),
            log,
        });
    }
    let created = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path);
    match created {
        Ok(file) => {
            file.set_permissions(Permissions::from_mode(FILE_MODE))
                .map_err(failed)?;
            // Before there is a log beside it: a log without its database is never taken for a new start.
            owner_file::sync_parent(path).map_err(failed)?;
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let mut file = File::open(path).map_err(failed)?;
            check_header(path, &mut file).map_err(|error| match error {
                Some(error) => failed(error),
                None => StoreError::NotADatabase {
                    path: path.to_owned(),
                },
            })?;
            fs::set_permissions(path, Permissions::from_mode(FILE_MODE)).map_err(failed)?;
            Ok(false)
        }
        Err(error) => Err(failed(error)),
    }
}

/// `Err(None)`: readable, but not a database.
fn check_header(path: &Path, file: &mut File) -> Result<(), Option<io::Error>> {
    if !fs::metadata(path).map_err(Some)?.is_file() {
        return Err(None);
    }
    let mut head = Vec::with_capacity(HEADER.len());
    file.take(HEADER.len() as u64)
        .read_to_end(&mut head)
        .map_err(Some)?;
    // A crash right after the very first start leaves an empty file.
    if head.is_empty() || head == HEADER {
        Ok(())
    } else {
        Err(None)
    }
}

fn log_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn directory_and_file_are_owner_only() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a/b/gateway.db");
        assert!(prepare(&path).unwrap());
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert!(!prepare(&path).unwrap());
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn what_is_no_database_is_refused_and_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("gateway.db");
        fs::write(&path, "hello, this is a letter").unwrap();
        let error = prepare(&path).unwrap_err();
        assert!(matches!(error, StoreError::NotADatabase { .. }), "{error}");
        assert!(error.to_string().contains("gateway.db"));
        assert_eq!(fs::read(&path).unwrap(), b"hello, this is a letter");

        let path = home.path().join("other.db");
        fs::write(home.path().join("other.db-wal"), "frames").unwrap();
        let error = prepare(&path).unwrap_err();
        assert!(
            matches!(error, StoreError::LogWithoutDatabase { .. }),
            "{error}"
        );
        assert!(!path.exists());
    }
}
