//! The list of keys to offer while it grows: no doubles, nothing that cannot be of use, and a note for
//! each key that is left out.

use std::path::PathBuf;
use std::time::SystemTime;

use russh::keys::{Certificate, PublicKey};

use crate::tunnel::spec::HopSpec;

use super::algorithm;
use super::candidates::{Candidate, Holder, is_security_key};
use super::certificate;
use super::key_file::KeyFile;
use super::shown;

/// Offers without doubles.
pub(super) struct Offers<'a> {
    hop: &'a HopSpec,
    list: Vec<Candidate>,
    notes: Vec<String>,
}

impl<'a> Offers<'a> {
    pub(super) fn of(hop: &'a HopSpec, notes: Vec<String>) -> Self {
        Self {
            hop,
            list: Vec::new(),
            notes,
        }
    }

    pub(super) fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Whether a certificate is worth offering; says why when it is not.
    pub(super) fn is_good(&mut self, cert: &Certificate, name: &str, now: SystemTime) -> bool {
        let hop = self.hop;
        if let Err(note) = certificate::check(cert, &format!("the {name}"), now) {
            self.note(note);
            return false;
        }
        let key = PublicKey::new(cert.public_key().clone(), "");
        if let Err(note) = algorithm::check(hop, &key, true, &format!("the {name}")) {
            self.note(note);
            return false;
        }
        if let Some(names) = certificate::other_names(cert, &hop.user) {
            self.note(format!("the {name} is for {names}, not for {}", hop.user));
        }
        true
    }

    pub(super) fn holds(&self, key: &PublicKey) -> bool {
        self.list.iter().any(|known| {
            known.certificate.is_none()
                && known.public.as_ref().map(PublicKey::key_data) == Some(key.key_data())
        })
    }

    /// False for a double.
    pub(super) fn push_certificate(
        &mut self,
        cert: &Certificate,
        holder: Holder,
        label: String,
    ) -> bool {
        let doubled = self
            .list
            .iter()
            .any(|known| known.certificate.as_ref() == Some(cert));
        if !doubled {
            self.list.push(Candidate {
                public: Some(PublicKey::new(cert.public_key().clone(), "")),
                certificate: Some(cert.clone()),
                holder,
                label,
            });
        }
        !doubled
    }

    /// False for a double, and for a key of a kind that may not be used.
    pub(super) fn push(
        &mut self,
        public: Option<PublicKey>,
        holder: Holder,
        label: String,
    ) -> bool {
        if let Some(key) = &public
            && let Err(note) = algorithm::check(self.hop, key, false, &label)
        {
            self.note(note);
            return false;
        }
        let doubled = match (&public, &holder) {
            (Some(key), _) => self.holds(key),
            (None, Holder::File(path)) => self
                .list
                .iter()
                .any(|known| matches!(&known.holder, Holder::File(held) if held == path)),
            (None, Holder::Agent(_)) => false,
        };
        if !doubled {
            self.list.push(Candidate {
                public,
                certificate: None,
                holder,
                label,
            });
        }
        !doubled
    }

    pub(super) fn push_files(&mut self, files: &[(PathBuf, bool, KeyFile)], named: bool) {
        for (path, is_named, file) in files {
            if *is_named != named {
                continue;
            }
            let public = match file {
                KeyFile::Private(key) if self.holds(key) => continue,
                KeyFile::Private(key) if is_security_key(key) => {
                    let path = shown(path);
                    self.note(format!(
                        "{path} is a security key; clawline uses it through the agent (ssh-add {path})"
                    ));
                    continue;
                }
                KeyFile::Private(key) => Some(key.clone()),
                KeyFile::Hidden => None,
                KeyFile::Public(key) => {
                    if named && !self.holds(key) {
                        let path = shown(path);
                        self.note(format!(
                            "{path} is a public key that the agent does not hold"
                        ));
                    }
                    continue;
                }
            };
            let label = format!("key {}", shown(path));
            self.push(public, Holder::File(path.clone()), label);
        }
    }

    pub(super) fn finish(
        mut self,
        budget: usize,
        mut kept_back: usize,
    ) -> (Vec<Candidate>, Vec<String>) {
        kept_back += self.list.len().saturating_sub(budget);
        self.list.truncate(budget);
        if kept_back > 0 {
            let how = if self.hop.identities_only {
                ""
            } else {
                "; name the right one with -i"
            };
            self.note(format!(
                "{kept_back} more keys were not offered, for servers end the sign-in after a few{how}"
            ));
        }
        (self.list, self.notes)
    }
}
