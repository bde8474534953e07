//! Which keys are offered, in which order, and how many: a server ends the sign-in after a handful.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use russh::keys::agent::AgentIdentity;
use russh::keys::{Certificate, HashAlg, PublicKey};

use crate::tunnel::spec::HopSpec;

use super::key_file::{self, KeyFile, KeyFileError};
use super::shown;

/// OpenSSH's servers end a sign-in at the sixth failure; one try is left for a password.
const MAX_OFFERS: usize = 5;

/// Where the private half is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Holder {
    Agent,
    File(PathBuf),
}

/// A key to offer.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    /// `None` for a file that shows its public half only once decrypted.
    pub(super) public: Option<PublicKey>,
    pub(super) certificate: Option<Certificate>,
    pub(super) holder: Holder,
    /// For messages: `key ~/.ssh/id_ed25519`, `agent key me@laptop`.
    pub(super) label: String,
}

impl Candidate {
    /// With the fingerprint, for the list of what was tried.
    pub(super) fn described(&self) -> String {
        match &self.public {
            Some(key) => format!("{} {}", self.label, key.fingerprint(HashAlg::Sha256)),
            None => self.label.clone(),
        }
    }
}

/// The keys that files hold.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) keys: Vec<(PathBuf, bool, KeyFile)>,
    pub(super) certificates: Vec<(PathBuf, Certificate)>,
    /// What a person should hear if nothing works.
    pub(super) notes: Vec<String>,
}

/// Reads a hop's key files and certificates. Blocking.
pub(super) fn read_files(hop: &HopSpec) -> Files {
    let mut files = Files::default();
    let mut certificates: Vec<(PathBuf, bool)> = Vec::new();
    for identity in &hop.identity_files {
        match key_file::inspect(&identity.path) {
            Ok(key) => files
                .keys
                .push((identity.path.clone(), identity.named, key)),
            Err(KeyFileError::Missing) if !identity.named => continue,
            Err(error) => files
                .notes
                .push(format!("{} {error}", shown(&identity.path))),
        }
        certificates.push((key_file::beside(&identity.path, "-cert.pub"), false));
    }
    certificates.extend(
        hop.certificate_files
            .iter()
            .map(|path| (path.clone(), true)),
    );
    for (path, named) in certificates {
        match read_certificate(&path, SystemTime::now()) {
            Ok(certificate) => files.certificates.push((path, certificate)),
            Err(None) if !named => {}
            Err(None) => files
                .notes
                .push(format!("{} is no certificate", shown(&path))),
            Err(Some(note)) => files.notes.push(note),
        }
    }
    files
}

/// `Err(None)` when there is none, a note when it is of no use now.
fn read_certificate(path: &Path, now: SystemTime) -> Result<Certificate, Option<String>> {
    let certificate = Certificate::read_file(path).map_err(|_| None)?;
    match certificate.valid_before_time() {
        Some(end) if end <= now => {
            let hours = now.duration_since(end).unwrap_or_default().as_secs() / 3600;
            Err(Some(format!(
                "the certificate {} expired {hours} h ago",
                shown(path)
            )))
        }
        _ => Ok(certificate),
    }
}

/// Orders the offers: certificates, then files that the agent holds, then files that were named, then
/// the agent's other keys (unless `IdentitiesOnly`), then the default files.
pub(super) fn order(
    hop: &HopSpec,
    files: Files,
    agent: &[AgentIdentity],
) -> (Vec<Candidate>, Vec<String>) {
    let mut offers = Offers::default();
    let in_agent = |key: &PublicKey| {
        agent.iter().find(|identity| {
            matches!(identity, AgentIdentity::PublicKey { key: held, .. } if held.key_data() == key.key_data())
        })
    };
    for (path, certificate) in files.certificates {
        let key = PublicKey::new(certificate.public_key().clone(), "");
        let file = files.keys.iter().find(|(_, _, file)| {
            matches!(file, KeyFile::Private(public) if public.key_data() == key.key_data())
        });
        let holder = match (in_agent(&key), file) {
            (Some(_), _) => Holder::Agent,
            (None, Some((path, ..))) => Holder::File(path.clone()),
            (None, None) => continue,
        };
        let label = format!("certificate {}", shown(&path));
        offers.push(Some(key), Some(certificate), holder, label);
    }
    for identity in agent {
        if let AgentIdentity::Certificate {
            certificate,
            comment,
        } = identity
            && !hop.identities_only
        {
            let key = PublicKey::new(certificate.public_key().clone(), "");
            let label = format!("agent certificate {}", agent_name(comment, &key));
            offers.push(Some(key), Some(certificate.clone()), Holder::Agent, label);
        }
    }
    for (path, _, file) in &files.keys {
        if let KeyFile::Private(key) | KeyFile::Public(key) = file
            && in_agent(key).is_some()
        {
            let label = format!("agent key {}", shown(path));
            offers.push(Some(key.clone()), None, Holder::Agent, label);
        }
    }
    let from_file = |offers: &mut Offers, wanted: bool| {
        for (path, named, file) in &files.keys {
            let public = match file {
                KeyFile::Private(key) => Some(key.clone()),
                KeyFile::Hidden => None,
                KeyFile::Public(_) => continue,
            };
            if *named == wanted {
                let label = format!("key {}", shown(path));
                offers.push(public, None, Holder::File(path.clone()), label);
            }
        }
    };
    from_file(&mut offers, true);
    if !hop.identities_only {
        for identity in agent {
            if let AgentIdentity::PublicKey { key, comment } = identity {
                let label = format!("agent key {}", agent_name(comment, key));
                offers.push(Some(key.clone()), None, Holder::Agent, label);
            }
        }
    }
    from_file(&mut offers, false);

    let mut notes = files.notes;
    let left_out = offers.0.len().saturating_sub(MAX_OFFERS);
    if left_out > 0 {
        offers.0.truncate(MAX_OFFERS);
        notes.push(format!(
            "{left_out} more keys were not offered, for servers end the sign-in after a few"
        ));
    }
    (offers.0, notes)
}

fn agent_name(comment: &str, key: &PublicKey) -> String {
    if comment.is_empty() {
        key.fingerprint(HashAlg::Sha256).to_string()
    } else {
        crate::layer::printable(comment, 60)
    }
}

/// Offers without doubles.
#[derive(Default)]
struct Offers(Vec<Candidate>);

impl Offers {
    fn push(
        &mut self,
        public: Option<PublicKey>,
        certificate: Option<Certificate>,
        holder: Holder,
        label: String,
    ) {
        let same_key = |known: &Candidate| match (&known.public, &public) {
            (Some(known), Some(new)) => known.key_data() == new.key_data(),
            _ => known.holder == holder,
        };
        let doubled = self
            .0
            .iter()
            .any(|known| same_key(known) && known.certificate.is_some() == certificate.is_some());
        if !doubled {
            self.0.push(Candidate {
                public,
                certificate,
                holder,
                label,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loopback_ssh::fresh_key;
    use crate::tunnel::spec::IdentityFile;

    fn identity(comment: &str) -> AgentIdentity {
        AgentIdentity::PublicKey {
            key: fresh_key().unwrap().public_key().clone(),
            comment: comment.into(),
        }
    }

    fn key_of(identity: &AgentIdentity) -> PublicKey {
        identity.public_key().into_owned()
    }

    fn labels(hop: &HopSpec, files: Files, agent: &[AgentIdentity]) -> Vec<String> {
        let (offers, _) = order(hop, files, agent);
        offers.into_iter().map(|offer| offer.label).collect()
    }

    fn private() -> KeyFile {
        KeyFile::Private(fresh_key().unwrap().public_key().clone())
    }

    #[test]
    fn a_named_file_comes_before_other_keys_of_the_agent_and_defaults_come_last() {
        let agent = [identity("one"), identity("work"), identity("two")];
        let files = Files {
            keys: vec![
                ("/k/default".into(), false, private()),
                ("/k/named".into(), true, private()),
                ("/k/work".into(), true, KeyFile::Public(key_of(&agent[1]))),
            ],
            ..Files::default()
        };
        let hop = HopSpec::bare("desktop", 22, "me");
        assert_eq!(
            labels(&hop, files, &agent),
            [
                "agent key /k/work",
                "key /k/named",
                "agent key one",
                "agent key two",
                "key /k/default"
            ]
        );
    }

    #[test]
    fn identities_only_keeps_the_other_keys_of_a_full_agent_back() {
        let agent: Vec<_> = (0..20).map(|n| identity(&n.to_string())).collect();
        let files = || Files {
            keys: vec![("/k/id".into(), true, KeyFile::Public(key_of(&agent[13])))],
            ..Files::default()
        };
        let mut hop = HopSpec::bare("desktop", 22, "me");
        assert_eq!(labels(&hop, files(), &agent).len(), MAX_OFFERS);
        hop.identities_only = true;
        assert_eq!(labels(&hop, files(), &agent), ["agent key /k/id"]);
    }

    #[test]
    fn a_missing_default_is_no_news_and_a_missing_named_file_is() {
        let mut hop = HopSpec::bare("desktop", 22, "me");
        hop.identity_files = [("/no/default", false), ("/no/named", true)]
            .map(|(path, named)| IdentityFile {
                path: path.into(),
                named,
            })
            .into();
        assert_eq!(read_files(&hop).notes, ["/no/named no such file"]);
    }
}
