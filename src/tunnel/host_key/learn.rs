//! Storing a host key that was accepted, so that no other program's line is ever harmed.

use std::fs::{DirBuilder, File};
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use russh::keys::PublicKey;

use super::known_hosts::KnownHosts;
use super::line::hash_name;
use super::name::HostName;
use super::store::LockedFile;
use super::verdict::Verdict;
use crate::bounded_file::NULL_DEVICE;

/// Length of the salt of a hashed name; OpenSSH's.
const SALT_BYTES: usize = 20;

/// Why a key was not stored. The connection may go on; the host stays unknown.
#[derive(Debug, thiserror::Error)]
pub enum LearnError {
    /// The name would mean something else in the file.
    #[error("the host name \"{0}\" cannot be stored in a known_hosts file")]
    Name(String),
    /// The directory cannot be made.
    #[error("cannot create {}: {source}", directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file cannot be opened, locked, or written in full.
    #[error("cannot store the host key in {}: {source}", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Adds `key` for `name` to `file`, with the name hidden when `hash` is set. Does nothing when the
/// file already knows the key.
///
/// The file and its directory are made owner-only when missing; an existing file keeps its mode. The
/// line is written whole or not at all, under a lock, and is on disk when this returns.
pub fn learn(file: &Path, name: &HostName, key: &PublicKey, hash: bool) -> Result<(), LearnError> {
    if !name.can_be_stored() {
        return Err(LearnError::Name(crate::layer::printable(
            name.as_str(),
            120,
        )));
    }
    if file == Path::new(NULL_DEVICE) {
        // The usual way to say that nothing is to be remembered.
        return Ok(());
    }
    let write_error = |source| LearnError::Write {
        file: file.to_owned(),
        source,
    };
    let line = line_for(name, key, hash).map_err(write_error)?;
    let directory = file.parent().filter(|d| !d.as_os_str().is_empty());
    if let Some(directory) = directory {
        create_directory(directory).map_err(|source| LearnError::Directory {
            directory: directory.to_owned(),
            source,
        })?;
    }
    append(file, name, key, &line).map_err(write_error)?;
    if let Some(directory) = directory {
        // The name of a new file has to reach the disk, too.
        let _ = File::open(directory).and_then(|directory| directory.sync_all());
    }
    Ok(())
}

pub(super) fn line_for(name: &HostName, key: &PublicKey, hash: bool) -> io::Result<String> {
    let blob = key.to_bytes().map_err(io::Error::other)?;
    let host = if hash {
        let salt: [u8; SALT_BYTES] = rand::random();
        let hashed = hash_name(&salt, name.as_str())
            .ok_or_else(|| io::Error::other("the host name cannot be hashed"))?;
        format!("|1|{}|{}", STANDARD.encode(salt), STANDARD.encode(hashed))
    } else {
        name.as_str().to_owned()
    };
    let kind = key.algorithm();
    Ok(format!(
        "{host} {} {}\n",
        kind.as_str(),
        STANDARD.encode(blob)
    ))
}

fn create_directory(directory: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(directory)
}

fn append(path: &Path, name: &HostName, key: &PublicKey, line: &str) -> io::Result<()> {
    let mut file = LockedFile::open(path)?;
    let mut known = KnownHosts::default();
    known.add(path, file.content());
    if matches!(known.check(name, None, key), Verdict::Known { .. }) {
        return Ok(());
    }
    file.append(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> PublicKey {
        let public = russh::keys::ssh_key::public::Ed25519PublicKey([seed; 32]);
        PublicKey::from(russh::keys::ssh_key::public::KeyData::from(public))
    }

    fn known(path: &Path) -> KnownHosts {
        let mut known = KnownHosts::default();
        known.add(path, &std::fs::read(path).unwrap());
        known
    }

    #[test]
    fn a_learned_key_is_known_afterwards_plain_and_hashed() {
        let dir = tempfile::tempdir().unwrap();
        for hash in [false, true] {
            let path = dir.path().join(format!("new/{hash}/known_hosts"));
            let name = HostName::new("Desktop", 2222);
            learn(&path, &name, &key(1), hash).unwrap();
            let verdict = known(&path).check(&name, None, &key(1));
            assert_eq!(
                verdict,
                Verdict::Known {
                    file: path.clone(),
                    line: 1
                }
            );
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(text.starts_with("|1|"), hash);
            assert_eq!(text.starts_with("[desktop]:2222 ssh-ed25519 "), !hash);
        }
    }

    #[cfg(unix)]
    #[test]
    fn new_files_are_owner_only_and_old_ones_keep_their_mode() {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".ssh/known_hosts");
        learn(&path, &HostName::new("a", 22), &key(1), false).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        learn(&path, &HostName::new("b", 22), &key(1), false).unwrap();
        assert_eq!(mode(&path), 0o644);
    }

    #[test]
    fn a_missing_line_end_is_added_first_and_nothing_is_written_twice() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("known_hosts");
        std::fs::write(&path, "# by hand").unwrap();
        for _ in 0..2 {
            learn(&path, &HostName::new("a", 22), &key(1), false).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.starts_with("# by hand\na ssh-ed25519 "), "{text}");
        assert!(text.ends_with('\n'));
    }

    #[test]
    fn many_writers_at_once_leave_only_whole_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("known_hosts");
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    for n in 0..4 {
                        let name = HostName::new(&format!("h{writer}-{n}"), 22);
                        learn(path, &name, &key(writer), writer % 2 == 0).unwrap();
                    }
                });
            }
        });
        let known = known(&path);
        assert!(known.notices().is_empty(), "{:?}", known.notices());
        for writer in 0..8 {
            for n in 0..4 {
                let name = HostName::new(&format!("h{writer}-{n}"), 22);
                let verdict = known.check(&name, None, &key(writer));
                assert!(matches!(verdict, Verdict::Known { .. }), "{name}");
            }
        }
    }

    #[test]
    fn what_cannot_be_stored_says_so() {
        learn(
            Path::new(NULL_DEVICE),
            &HostName::new("a", 22),
            &key(1),
            false,
        )
        .unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("known_hosts");
        let error = learn(&path, &HostName::new("*", 22), &key(1), false).unwrap_err();
        assert!(error.to_string().contains("cannot be stored"), "{error}");
        assert!(!path.exists());
        std::fs::write(&path, "").unwrap();
        let below = path.join("known_hosts");
        let error = learn(&below, &HostName::new("a", 22), &key(1), false).unwrap_err();
        assert!(error.to_string().starts_with("cannot create"), "{error}");
    }
}
