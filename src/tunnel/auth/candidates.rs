//! Which keys are offered, in which order, and how many: a server ends the sign-in after a handful.

use std::path::PathBuf;
use std::time::SystemTime;

use russh::MethodKind;
use russh::keys::agent::AgentIdentity;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, Certificate, HashAlg, PublicKey};

use crate::tunnel::spec::HopSpec;

use super::certificate;
use super::key_file::{self, KeyFile, KeyFileError};
use super::offers::Offers;
use super::shown;

/// OpenSSH's servers end a sign-in at the sixth failure.
const MAX_FAILURES: usize = 6;
/// How many keys of the agent are offered that nothing names: each costs one of the tries.
const MAX_UNNAMED: usize = 3;

/// Where the private half is.
#[derive(Debug, Clone)]
pub(super) enum Holder {
    /// In the agent, under this identity.
    Agent(Box<AgentIdentity>),
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
            // A key of the agent without a comment goes by its fingerprint.
            Some(_) if self.label.contains("SHA256:") => self.label.clone(),
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

/// The files in which certificates are looked for, and whether they were named: beside the key files
/// only when none is, as ssh does.
pub(super) fn certificate_files(hop: &HopSpec) -> Vec<(PathBuf, bool)> {
    if hop.certificate_files.is_empty() {
        let beside = |path| (key_file::beside(path, "-cert.pub"), false);
        let keys = hop.identity_files.iter();
        keys.map(|identity| beside(&identity.path)).collect()
    } else {
        let named = hop.certificate_files.iter();
        named.map(|path| (path.clone(), true)).collect()
    }
}

/// Reads a hop's key files and certificates. Blocking.
pub(super) fn read_files(hop: &HopSpec) -> Files {
    let mut files = Files::default();
    for identity in &hop.identity_files {
        match key_file::inspect(&identity.path) {
            Ok(key) => files
                .keys
                .push((identity.path.clone(), identity.named, key)),
            Err(KeyFileError::Missing) if !identity.named => {}
            Err(error) => files
                .notes
                .push(format!("{} {error}", shown(&identity.path))),
        }
    }
    for (path, named) in certificate_files(hop) {
        match certificate::read(&path) {
            Ok(Some(certificate)) => files.certificates.push((path, certificate)),
            Ok(None) if !named => {}
            Ok(None) => {
                let note = format!("the certificate {} does not exist", shown(&path));
                files.notes.push(note);
            }
            Err(note) => files.notes.push(note),
        }
    }
    files
}

/// How many keys may be offered to a server that takes these methods: where a password or questions
/// could follow, one try is left for them.
pub(super) fn budget(allowed: &russh::MethodSet) -> usize {
    let others = [MethodKind::Password, MethodKind::KeyboardInteractive];
    if others.iter().any(|method| allowed.contains(method)) {
        MAX_FAILURES - 1
    } else {
        MAX_FAILURES
    }
}

/// Orders the offers: certificates, then files that the agent holds, then files that were named, then
/// a few of the agent's other keys (unless `IdentitiesOnly`), then the default files. What cannot be
/// of use is left out, with a note.
pub(super) fn order(
    hop: &HopSpec,
    files: Files,
    agent: &[AgentIdentity],
    budget: usize,
    now: SystemTime,
) -> (Vec<Candidate>, Vec<String>) {
    let mut offers = Offers::of(hop, files.notes);
    for (path, certificate) in &files.certificates {
        let name = format!("certificate {}", shown(path));
        if !offers.is_good(certificate, &name, now) {
            continue;
        }
        match holder_of(certificate, &files.keys, agent) {
            Some(holder) => {
                offers.push_certificate(certificate, holder, name);
            }
            None => offers.note(format!("the {name} has no private key beside it")),
        }
    }
    let is_named = |key: &KeyData| {
        let public = |file: &KeyFile| match file {
            KeyFile::Private(public) | KeyFile::Public(public) => public.key_data() == key,
            KeyFile::Hidden => false,
        };
        files.keys.iter().any(|(_, _, file)| public(file))
    };
    let mut unnamed = 0;
    let mut kept_back = 0;
    for identity in agent {
        if let AgentIdentity::Certificate {
            certificate,
            comment,
        } = identity
        {
            let named = is_named(certificate.public_key());
            if hop.identities_only && !named {
                continue;
            }
            let key = PublicKey::new(certificate.public_key().clone(), "");
            let name = format!("agent certificate {}", agent_name(comment, &key));
            if !offers.is_good(certificate, &name, now) {
                continue;
            }
            if !named && unnamed == MAX_UNNAMED {
                kept_back += 1;
                continue;
            }
            let holder = Holder::Agent(Box::new(identity.clone()));
            if offers.push_certificate(certificate, holder, name) && !named {
                unnamed += 1;
            }
        }
    }
    for (path, _, file) in &files.keys {
        if let KeyFile::Private(key) | KeyFile::Public(key) = file
            && let Some(identity) = in_agent(key, agent)
        {
            let holder = Holder::Agent(Box::new(identity.clone()));
            offers.push(
                Some(key.clone()),
                holder,
                format!("agent key {}", shown(path)),
            );
        }
    }
    offers.push_files(&files.keys, true);
    for identity in agent {
        if let AgentIdentity::PublicKey { key, comment } = identity
            && !hop.identities_only
            && !offers.holds(key)
            && can_sign(key)
        {
            if unnamed == MAX_UNNAMED {
                kept_back += 1;
                continue;
            }
            let holder = Holder::Agent(Box::new(identity.clone()));
            let label = format!("agent key {}", agent_name(comment, key));
            if offers.push(Some(key.clone()), holder, label) {
                unnamed += 1;
            }
        }
    }
    offers.push_files(&files.keys, false);
    offers.finish(budget, kept_back)
}

/// Who can sign for a certificate: the agent with the same certificate or its key, else a key file.
fn holder_of(
    certificate: &Certificate,
    files: &[(PathBuf, bool, KeyFile)],
    agent: &[AgentIdentity],
) -> Option<Holder> {
    let key = certificate.public_key();
    let same = agent.iter().find(|identity| {
        matches!(identity, AgentIdentity::Certificate { certificate: held, .. } if held == certificate)
    });
    let plain = agent.iter().find(|identity| {
        matches!(identity, AgentIdentity::PublicKey { key: held, .. } if held.key_data() == key)
    });
    if let Some(identity) = plain.or(same) {
        return Some(Holder::Agent(Box::new(identity.clone())));
    }
    let is_private =
        |file: &KeyFile| matches!(file, KeyFile::Private(public) if public.key_data() == key);
    let (path, ..) = files.iter().find(|(_, _, file)| is_private(file))?;
    Some(Holder::File(path.clone()))
}

fn in_agent<'a>(key: &PublicKey, agent: &'a [AgentIdentity]) -> Option<&'a AgentIdentity> {
    agent.iter().find(|identity| {
        matches!(identity, AgentIdentity::PublicKey { key: held, .. } if held.key_data() == key.key_data())
    })
}

/// Whether it is a key of a kind that servers still take and that we know how to ask for.
fn can_sign(key: &PublicKey) -> bool {
    !matches!(key.algorithm(), Algorithm::Dsa | Algorithm::Other(_))
}

/// Whether the private half is in a device that only the agent can talk to.
pub(super) fn is_security_key(key: &PublicKey) -> bool {
    matches!(
        key.algorithm(),
        Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256
    )
}

fn agent_name(comment: &str, key: &PublicKey) -> String {
    if comment.is_empty() {
        key.fingerprint(HashAlg::Sha256).to_string()
    } else {
        crate::layer::printable(comment, 60)
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
        let (offers, _) = order(hop, files, agent, 5, SystemTime::now());
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
        assert_eq!(
            labels(&hop, files(), &agent),
            [
                "agent key /k/id",
                "agent key 0",
                "agent key 1",
                "agent key 2"
            ]
        );
        hop.identities_only = true;
        assert_eq!(labels(&hop, files(), &agent), ["agent key /k/id"]);
    }

    #[test]
    fn a_security_key_is_used_through_the_agent_alone() {
        let public = PublicKey::from_openssh(
            "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAICFo/k5LU8863u66YC9\
             eUO2170QduohPURkQnbLa/dczAAAABHNzaDo= test",
        )
        .unwrap();
        assert!(is_security_key(&public));
        let files = || Files {
            keys: vec![("/k/sk".into(), true, KeyFile::Private(public.clone()))],
            ..Files::default()
        };
        let hop = HopSpec::bare("desktop", 22, "me");
        let (offers, notes) = order(&hop, files(), &[], 5, SystemTime::now());
        assert!(offers.is_empty());
        assert!(notes[0].contains("ssh-add /k/sk"), "{notes:?}");
        let agent = [AgentIdentity::PublicKey {
            key: public.clone(),
            comment: "touch".into(),
        }];
        assert_eq!(labels(&hop, files(), &agent), ["agent key /k/sk"]);
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
