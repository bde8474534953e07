//! The files of known host keys, and what they say of a key that a server offers.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PublicKey};

use super::fingerprint::fingerprint_of_blob;
use super::line::{Line, Marker, RawKey};
use super::name::HostName;
use super::verdict::{KnownKey, Verdict};
use crate::layer::{Layer, LayerError, Retry};
use crate::tunnel::spec::KnownHostsFiles;
use crate::tunnel::user_file::read_bounded;

/// Largest file that is read; a list of every host of a large company stays below.
pub const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// How a key revocation list (`ssh-keygen -k`) begins.
const KRL_MAGIC: &[u8] = b"SSHKRL\n\0";

/// Most other names that a note lists.
const MAX_NAMES_IN_NOTE: usize = 3;

/// Host key algorithms that we speak, best first. SHA-1 signatures (`ssh-rsa`) are never among them.
pub const SUPPORTED_HOST_KEYS: [Algorithm; 6] = [
    Algorithm::Ed25519,
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP256,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP384,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP521,
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha512),
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha256),
    },
];

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
    /// A binary key revocation list.
    #[error("{} is a key revocation list (KRL), which is not read yet", file.display())]
    RevocationList {
        /// The file.
        file: PathBuf,
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
            Self::RevocationList { .. } => {
                "let RevokedHostKeys name a list of public keys, one a line".to_owned()
            }
        };
        LayerError::new(Layer::HostKey, self.to_string())
            .next(next)
            .retry(Retry::Never)
    }
}

/// A line and where it stands.
#[derive(Debug, Clone)]
struct Entry {
    line: Line,
    file: Arc<Path>,
    number: usize,
}

/// Everything that known_hosts files say.
#[derive(Debug, Clone, Default)]
pub struct KnownHosts {
    entries: Vec<Entry>,
    revoked: Vec<(RawKey, Arc<Path>, usize)>,
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
                Ok((bytes, _)) if bytes.starts_with(KRL_MAGIC) => {
                    return Err(KnownHostsError::RevocationList { file: file.clone() });
                }
                Ok((bytes, _)) => all.add_revoked(file, &bytes),
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

    /// Adds a list of public keys that no host may use.
    fn add_revoked(&mut self, file: &Path, bytes: &[u8]) {
        let file: Arc<Path> = file.into();
        for (number, text) in lines(bytes) {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            match RawKey::parse(text) {
                Ok(key) => self.revoked.push((key, Arc::clone(&file), number)),
                Err(why) => self.notice(&file, number, why),
            }
        }
    }

    fn notice(&mut self, file: &Path, number: usize, why: &str) {
        self.notices
            .push(format!("{}:{number}: skipped: {why}", file.display()));
    }

    /// Lines that were skipped, each with its file and number.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// What the files say of `key`, offered by the host `name`. The outcomes are those of OpenSSH, or
    /// stricter where a line is broken or a revocation could be missed. `ip` is the address that
    /// answered; it only adds to the note of an unknown host.
    pub fn check(&self, name: &HostName, ip: Option<IpAddr>, key: &PublicKey) -> Verdict {
        let Ok(blob) = key.to_bytes() else {
            return Verdict::Unknown { note: None };
        };
        let plain = name.on_default_port();
        if let Some(revoked) = self.find_revoked(name, plain.as_ref(), &blob) {
            return revoked;
        }
        let mut others = Vec::new();
        let mut broken = None;
        for entry in self.of_host(name) {
            match &entry.line.key {
                Ok(known) if known.blob == blob => return entry.known(),
                Ok(known) => others.push(entry.known_key(known)),
                Err(why) => broken = broken.or(Some((entry, *why))),
            }
        }
        let algorithm = key.algorithm();
        if let Some(same) = others.iter().find(|k| k.algorithm == algorithm.as_str()) {
            return Verdict::Changed {
                file: same.file.clone(),
                line: same.line,
                known_fingerprint: same.fingerprint.clone(),
            };
        }
        if !others.is_empty() {
            return Verdict::OtherAlgorithm { known: others };
        }
        if let Some(plain) = &plain {
            let same = self.of_host(plain).find(|entry| entry.holds(&blob));
            if let Some(entry) = same {
                return entry.known();
            }
        }
        if let Some((entry, why)) = broken {
            return Verdict::Unreadable {
                file: entry.file.to_path_buf(),
                line: entry.number,
                why: why.to_owned(),
            };
        }
        Verdict::Unknown {
            note: self.note(name, plain.as_ref(), ip, &blob),
        }
    }

    /// Host key algorithms to offer, those first for which the host is known, so that a server with
    /// several keys shows the one that can be compared. `allowed` is `HostKeyAlgorithms`; names that
    /// we do not speak are left out, and `ssh-rsa` (SHA-1) always is.
    pub fn preferred_algorithms(
        &self,
        name: &HostName,
        allowed: Option<&[String]>,
    ) -> Vec<Algorithm> {
        let mut offered: Vec<Algorithm> = match allowed {
            None => SUPPORTED_HOST_KEYS.to_vec(),
            Some(allowed) => allowed
                .iter()
                .filter_map(|name| SUPPORTED_HOST_KEYS.into_iter().find(|a| a.as_str() == name))
                .collect(),
        };
        let known: Vec<&str> = self
            .of_host(name)
            .filter_map(|entry| entry.line.key.as_ref().ok())
            .map(|key| key.algorithm.as_str())
            .collect();
        // A stable sort keeps the order of preference on both sides.
        offered.sort_by_key(|algorithm| !known.contains(&key_kind(algorithm)));
        offered
    }

    /// The lines with plain keys of a host.
    fn of_host(&self, name: &HostName) -> impl Iterator<Item = &Entry> {
        self.entries
            .iter()
            .filter(|entry| entry.line.marker == Marker::Host && entry.line.hosts.matches(name))
    }

    fn find_revoked(
        &self,
        name: &HostName,
        plain: Option<&HostName>,
        blob: &[u8],
    ) -> Option<Verdict> {
        let listed = self.revoked.iter().find(|(key, ..)| key.blob == blob);
        let marked = || {
            self.entries.iter().find(|entry| {
                entry.line.marker == Marker::Revoked
                    && entry.holds(blob)
                    && (entry.line.hosts.matches(name)
                        || plain.is_some_and(|plain| entry.line.hosts.matches(plain)))
            })
        };
        let (file, line) = match listed {
            Some((_, file, line)) => (file, *line),
            None => marked().map(|entry| (&entry.file, entry.number))?,
        };
        Some(Verdict::Revoked {
            file: file.to_path_buf(),
            line,
        })
    }

    /// What else is worth knowing about a key of an unknown host.
    fn note(
        &self,
        name: &HostName,
        plain: Option<&HostName>,
        ip: Option<IpAddr>,
        blob: &[u8],
    ) -> Option<String> {
        let mut notes = Vec::new();
        let elsewhere: Vec<String> = self
            .entries
            .iter()
            .filter(|entry| entry.line.marker == Marker::Host && entry.holds(blob))
            .take(MAX_NAMES_IN_NOTE)
            .map(|entry| format!("{} ({})", entry.line.hosts.shown(), entry.place()))
            .collect();
        if !elsewhere.is_empty() {
            notes.push(format!(
                "the same key is known as {}",
                elsewhere.join(" and as ")
            ));
        }
        let address = ip.map(|ip| HostName::new(&ip.to_string(), 22));
        for other in plain.into_iter().chain(&address) {
            let known = self.of_host(other).find(|entry| !entry.holds(blob));
            if let Some(entry) = known {
                notes.push(format!(
                    "another key is known for {other} ({})",
                    entry.place()
                ));
            }
        }
        let authority = self.entries.iter().find(|entry| {
            entry.line.marker == Marker::CertAuthority && entry.line.hosts.matches(name)
        });
        if let Some(entry) = authority {
            notes.push(format!(
                "a certificate authority is known for this host ({}), but the server showed a plain key",
                entry.place()
            ));
        }
        (!notes.is_empty()).then(|| notes.join("; "))
    }
}

impl Entry {
    fn holds(&self, blob: &[u8]) -> bool {
        self.line.key.as_ref().is_ok_and(|key| key.blob == blob)
    }

    fn place(&self) -> String {
        format!("{}:{}", self.file.display(), self.number)
    }

    fn known(&self) -> Verdict {
        Verdict::Known {
            file: self.file.to_path_buf(),
            line: self.number,
        }
    }

    fn known_key(&self, key: &RawKey) -> KnownKey {
        KnownKey {
            algorithm: key.algorithm.clone(),
            fingerprint: fingerprint_of_blob(&key.blob),
            file: self.file.to_path_buf(),
            line: self.number,
        }
    }
}

/// The kind of key behind a signature algorithm, as known_hosts names it.
fn key_kind(algorithm: &Algorithm) -> &str {
    match algorithm {
        Algorithm::Rsa { .. } => "ssh-rsa",
        other => other.as_str(),
    }
}

/// Lines with their numbers from 1. Bytes that are not UTF-8 harm only the word they stand in.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, String)> {
    bytes
        .split(|byte| *byte == b'\n')
        .enumerate()
        .map(|(index, line)| (index + 1, String::from_utf8_lossy(line).into_owned()))
}

#[cfg(test)]
mod tests;
