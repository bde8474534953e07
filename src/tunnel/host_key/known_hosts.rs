//! The files of known host keys, read line by line.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fingerprint::fingerprint_of_blob;
use super::line::{Line, Marker, RawKey, lines};
use super::name::HostName;
use super::revoked::Revocations;
use super::verdict::{KnownKey, Verdict};
use crate::bounded_file::read_bounded;
use crate::layer::{Layer, LayerError, Retry};
use crate::tunnel::spec::KnownHostsFiles;

/// Largest file that is read; a list of every host of a large company stays below.
pub const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Why the files cannot be relied on. A server's key is not judged then.
#[derive(Debug, thiserror::Error)]
pub enum KnownHostsError {
    /// A file is there and cannot be read (no permission, a pipe, too large); taking it for empty would forget every known key.
    #[error("cannot read the known host keys in {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of `RevokedHostKeys` is missing or broken; ssh refuses every key then.
    #[error("cannot read the revoked host keys in {}: {source}", file.display())]
    ReadRevoked {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A binary key revocation list that cannot be read to its end.
    #[error("cannot read the revoked host keys in {}: {why}", file.display())]
    RevocationList {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl KnownHostsError {
    /// The refusal that follows from it.
    pub fn refusal(&self) -> LayerError {
        let next = match self {
            Self::Read { file, .. } => format!(
                "make {} readable for you, or name another UserKnownHostsFile",
                file.display()
            ),
            Self::ReadRevoked { file, .. } => format!(
                "make {} readable for you, or take RevokedHostKeys out of your ssh_config",
                file.display()
            ),
            Self::RevocationList { file, .. } => format!(
                "get {} anew from who made it (ssh-keygen -Qlf shows what it holds)",
                file.display()
            ),
        };
        LayerError::new(Layer::HostKey, self.to_string())
            .next(next)
            .retry(Retry::Never)
    }
}

/// A line about a host, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// `@revoked`, `@cert-authority` or nothing.
    pub marker: &'static str,
    /// The hosts it is about.
    pub hosts: String,
    /// The key, or why it cannot be read.
    pub key: Result<KnownKey, String>,
    /// Where it stands.
    pub file: PathBuf,
    /// The line there, from 1.
    pub line: usize,
}

/// A line and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) line: Line,
    pub(super) file: Arc<Path>,
    pub(super) number: usize,
}

/// Everything that known_hosts files say.
#[derive(Debug, Clone, Default)]
pub struct KnownHosts {
    pub(super) entries: Vec<Entry>,
    pub(super) revocations: Revocations,
    notices: Vec<String>,
}

impl KnownHosts {
    /// Reads all files. A missing file is an empty one, but for `RevokedHostKeys`.
    pub fn load(files: &KnownHostsFiles) -> Result<Self, KnownHostsError> {
        let mut all = Self::default();
        for file in files.user.iter().chain(&files.global) {
            match read_bounded(file, MAX_FILE_BYTES) {
                Ok((bytes, _)) => all.add(file, &bytes),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => {
                    return Err(KnownHostsError::Read {
                        file: file.clone(),
                        source,
                    });
                }
            }
        }
        for file in &files.revoked {
            match read_bounded(file, MAX_FILE_BYTES) {
                Ok((bytes, _)) => {
                    all.add_revoked(file, &bytes).map_err(|why| {
                        KnownHostsError::RevocationList {
                            file: file.clone(),
                            why,
                        }
                    })?;
                }
                Err(source) => {
                    return Err(KnownHostsError::ReadRevoked {
                        file: file.clone(),
                        source,
                    });
                }
            }
        }
        Ok(all)
    }

    /// Adds the text of one known_hosts file. Never fails: lines that cannot be read become notices.
    pub fn add(&mut self, file: &Path, bytes: &[u8]) {
        let file: Arc<Path> = file.into();
        for (number, text) in lines(bytes) {
            match Line::parse(&text) {
                Ok(None) => {}
                Ok(Some(line)) => {
                    if let Err(why) = line.key {
                        self.notice(&file, number, why);
                    }
                    self.entries.push(Entry {
                        line,
                        file: Arc::clone(&file),
                        number,
                    });
                }
                Err(why) => self.notice(&file, number, why),
            }
        }
    }

    /// Adds a file of keys that no host may use. An error says why a binary list cannot be read.
    pub fn add_revoked(&mut self, file: &Path, bytes: &[u8]) -> Result<(), &'static str> {
        self.revocations.add(file, bytes)
    }

    fn notice(&mut self, file: &Path, number: usize, why: &str) {
        self.notices
            .push(format!("{}:{number}: skipped: {why}", file.display()));
    }

    /// Lines that were skipped, each with its file and number.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// The lines with plain keys of a host.
    pub(super) fn of_host(&self, name: &HostName) -> impl Iterator<Item = &Entry> {
        self.entries
            .iter()
            .filter(|entry| entry.line.marker == Marker::Host && entry.line.hosts.matches(name))
    }

    /// Every line that is about `name`, in the order of the files.
    pub fn about(&self, name: &HostName) -> Vec<Recorded> {
        let about = self.entries.iter().filter(|e| e.line.hosts.matches(name));
        about
            .map(|entry| {
                let key = entry.line.key.as_ref();
                Recorded {
                    marker: match entry.line.marker {
                        Marker::Host => "",
                        Marker::CertAuthority => "@cert-authority",
                        Marker::Revoked => "@revoked",
                    },
                    hosts: entry.line.hosts.shown(),
                    key: key
                        .map(|key| entry.known_key(key))
                        .map_err(|why| (*why).to_owned()),
                    file: entry.file.to_path_buf(),
                    line: entry.number,
                }
            })
            .collect()
    }

    /// The lines with authorities for a host, on its own port or on SSH's.
    pub(super) fn authorities(&self, name: &HostName) -> impl Iterator<Item = &Entry> {
        let plain = name.on_default_port();
        self.entries.iter().filter(move |entry| {
            entry.line.marker == Marker::CertAuthority && entry.speaks_of(name, plain.as_ref())
        })
    }
}

impl Entry {
    pub(super) fn holds(&self, blob: &[u8]) -> bool {
        self.line.key.as_ref().is_ok_and(|key| key.blob == blob)
    }

    /// As [`Entry::holds`], where a certificate stands for the key in it.
    pub(super) fn holds_inside(&self, blob: &[u8]) -> bool {
        self.line.key.as_ref().is_ok_and(|key| key.bare() == blob)
    }

    /// True when its line is about `name`, or about `plain`, the same on SSH's own port.
    pub(super) fn speaks_of(&self, name: &HostName, plain: Option<&HostName>) -> bool {
        self.line.hosts.matches(name) || plain.is_some_and(|plain| self.line.hosts.matches(plain))
    }

    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.file.display(), self.number)
    }

    pub(super) fn known(&self) -> Verdict {
        Verdict::Known {
            file: self.file.to_path_buf(),
            line: self.number,
        }
    }

    pub(super) fn known_key(&self, key: &RawKey) -> KnownKey {
        KnownKey {
            algorithm: key.algorithm.clone(),
            fingerprint: fingerprint_of_blob(&key.blob),
            file: self.file.to_path_buf(),
            line: self.number,
        }
    }
}

#[cfg(test)]
mod tests;
