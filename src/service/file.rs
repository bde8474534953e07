//! The file of a service: ours to change only when we wrote it.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::layer::printable;
use crate::owner_file;
use crate::secret::Secret;

/// Longest file of another that is looked at.
const MAX_FILE: u64 = 64 * 1024;

/// Why a file cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Somebody else wrote it.
    #[error(
        "{} is there, and clawline did not write it; move it away first, or leave it to do its work",
        shown(path)
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot {verb} {}: {source}", shown(path))]
    Io {
        /// What was attempted.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn shown(path: &Path) -> String {
    printable(&path.display().to_string(), 300)
}

fn failed(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError::Io { verb, path, source }
}

/// The file's text, when it is there and holds `mark`.
///
/// # Errors
/// When it is there and somebody else wrote it, or it cannot be read.
pub fn ours(path: &Path, mark: &str) -> Result<Option<String>, FileError> {
    let mut text = String::new();
    match std::fs::File::open(path).and_then(|f| f.take(MAX_FILE).read_to_string(&mut text)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() != io::ErrorKind::InvalidData => {
            Err(failed("read", path)(error))
        }
        Ok(_) if text.contains(mark) => Ok(Some(text)),
        Ok(_) | Err(_) => Err(FileError::Foreign {
            path: path.to_owned(),
        }),
    }
}

/// Written whole or not at all; others may read it, as they may every unit.
///
/// # Errors
/// [`FileError::Io`].
pub fn write(path: &Path, text: &str) -> Result<(), FileError> {
    let written = || {
        owner_file::replace(path, &Secret::new(text))?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644))?;
        }
        Ok(())
    };
    written().map_err(failed("write", path))
}

/// Removes it.
///
/// # Errors
/// [`FileError::Io`].
pub fn remove(path: &Path) -> Result<(), FileError> {
    std::fs::remove_file(path).map_err(failed("remove", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_wrote_is_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/x.service");
        assert_eq!(ours(&path, "MARK").unwrap(), None);
        write(&path, "# MARK\n").unwrap();
        assert_eq!(ours(&path, "MARK").unwrap().as_deref(), Some("# MARK\n"));
        for foreign in [&b"[Service]\n"[..], b"\xff\xfe MARK"] {
            std::fs::write(&path, foreign).unwrap();
            let refused = ours(&path, "MARK").unwrap_err().to_string();
            assert!(refused.contains("did not write it"), "{refused}");
        }
        remove(&path).unwrap();
        assert!(remove(&path).is_err());
    }
}
