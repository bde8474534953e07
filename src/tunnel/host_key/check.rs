//! What the files say of a key that a server shows.

use std::net::IpAddr;

use russh::keys::{Certificate, PublicKey};

use super::certificate::{self, CertificateError, CertificateRules};
use super::known_hosts::KnownHosts;
use super::line::Marker;
use super::name::HostName;
use super::offer::Blobs;
use super::revoked::Finding;
use super::verdict::{KnownKey, Verdict};

/// Most other names that a note lists.
const MAX_NAMES_IN_NOTE: usize = 3;

impl KnownHosts {
    /// What the files say of `certificate`, shown by the host `name`: certified or revoked. An error
    /// says why it does not count; the key in it is to be judged by [`KnownHosts::check`] then.
    pub fn check_certificate(
        &self,
        name: &HostName,
        certificate: &Certificate,
        rules: &CertificateRules,
    ) -> Result<Verdict, CertificateError> {
        let shown = Blobs::of_certificate(certificate).ok_or(CertificateError::Signature)?;
        if let Some(revoked) = self.find_revoked(name, &shown) {
            return Ok(revoked);
        }
        let authority = shown.certificate.as_ref().map(|stamp| &stamp.authority);
        let line = self
            .authorities(name)
            .find(|entry| authority.is_some_and(|authority| entry.holds_inside(authority)))
            .ok_or(CertificateError::Authority)?;
        certificate::check(certificate, name, rules)?;
        Ok(Verdict::Certified {
            file: line.file.to_path_buf(),
            line: line.number,
            id: certificate.key_id().to_owned(),
        })
    }

    /// What the files say of `key`, offered by the host `name`. The outcomes are those of OpenSSH, or
    /// stricter where a line is broken or a revocation could be missed. `ip` is the address that
    /// answered; it only adds to the note of an unknown host.
    pub fn check(&self, name: &HostName, ip: Option<IpAddr>, key: &PublicKey) -> Verdict {
        let Some(shown) = Blobs::of_key(key) else {
            return Verdict::Unknown { note: None };
        };
        if let Some(revoked) = self.find_revoked(name, &shown) {
            return revoked;
        }
        let plain = name.on_default_port();
        let blob = shown.key;
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

    /// The other keys on record for the address that answered (`CheckHostIP`); `None` when there is none,
    /// or this key is among them.
    pub fn keys_at_address(&self, address: &HostName, key: &PublicKey) -> Option<Vec<KnownKey>> {
        let blob = key.to_bytes().ok()?;
        let mut others = Vec::new();
        for entry in self.of_host(address) {
            match &entry.line.key {
                Ok(known) if known.blob == blob => return None,
                Ok(known) => others.push(entry.known_key(known)),
                Err(_) => {}
            }
        }
        (!others.is_empty()).then_some(others)
    }

    /// True when one of `files` has the key for this very name and port.
    pub fn is_known_exactly(
        &self,
        name: &HostName,
        key: &PublicKey,
        files: &[std::path::PathBuf],
    ) -> bool {
        key.to_bytes().is_ok_and(|blob| {
            self.of_host(name)
                .any(|entry| entry.holds(&blob) && files.iter().any(|file| **file == *entry.file))
        })
    }

    /// True when a key must not be used for `name`.
    pub(super) fn is_revoked(&self, name: &HostName, key: &PublicKey) -> bool {
        Blobs::of_key(key).is_none_or(|shown| self.find_revoked(name, &shown).is_some())
    }

    fn find_revoked(&self, name: &HostName, shown: &Blobs) -> Option<Verdict> {
        let plain = name.on_default_port();
        let marked = || {
            self.entries.iter().find(|entry| {
                entry.line.marker == Marker::Revoked
                    && entry
                        .line
                        .key
                        .as_ref()
                        .is_ok_and(|key| shown.includes(key.bare()))
                    && entry.speaks_of(name, plain.as_ref())
            })
        };
        match self.revocations.find(shown) {
            Some(Finding::Revoked(file, line)) => Some(Verdict::Revoked {
                file: file.to_path_buf(),
                line,
            }),
            Some(Finding::Broken(file, line, why)) => Some(Verdict::RevocationsUnreadable {
                file: file.to_path_buf(),
                line,
                why: why.to_owned(),
            }),
            None => marked().map(|entry| Verdict::Revoked {
                file: entry.file.to_path_buf(),
                line: Some(entry.number),
            }),
        }
    }

    /// What else is worth knowing about a key of an unknown host.
    fn note(
        &self,
        name: &HostName,
        plain: Option<&HostName>,
        ip: Option<IpAddr>,
        blob: &[u8],
    ) -> Option<String> {
        let mut notes: Vec<String> = name.note().into_iter().collect();
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
        if let Some(entry) = self.authorities(name).next() {
            notes.push(format!(
                "a certificate authority is known for this host ({})",
                entry.place()
            ));
        }
        (!notes.is_empty()).then(|| notes.join("; "))
    }
}
