//! What known_hosts says of an offered key, and the words for a refusal.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use russh::keys::PublicKey;

use super::fingerprint::{algorithm_word, fingerprint};
use super::name::HostName;
use crate::layer::{Layer, LayerError, Retry, printable};

/// A key that is on record for a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownKey {
    /// e.g. `ssh-ed25519`.
    pub algorithm: String,
    /// e.g. `SHA256:6ssET1Dm…`.
    pub fingerprint: String,
    /// Where it is recorded.
    pub file: PathBuf,
    /// The line there, from 1.
    pub line: usize,
}

/// The outcome of comparing an offered key with what is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The key is the one on record: go on.
    Known {
        /// Where it is recorded.
        file: PathBuf,
        /// The line there, from 1.
        line: usize,
    },
    /// An authority that is on record for this host vouches for the key: go on.
    Certified {
        /// Where the authority is recorded.
        file: PathBuf,
        /// The line there, from 1.
        line: usize,
        /// The certificate's id, in the authority's words.
        id: String,
    },
    /// Nothing is on record for this host: ask, or follow `StrictHostKeyChecking`.
    Unknown {
        /// Something worth knowing, e.g. that the same key is known under another name.
        note: Option<String>,
    },
    /// Only keys of other algorithms are on record. Refused, as by ssh: somebody in the middle could
    /// choose an algorithm to look unknown.
    OtherAlgorithm {
        /// The keys on record, at least one.
        known: Vec<KnownKey>,
    },
    /// Another key of the same algorithm is on record.
    Changed {
        /// Where it is recorded.
        file: PathBuf,
        /// The line there, from 1.
        line: usize,
        /// The fingerprint of the key on record.
        known_fingerprint: String,
    },
    /// The key, its certificate or the authority behind it is revoked; nothing overrides that.
    Revoked {
        /// Where it is marked.
        file: PathBuf,
        /// The line there, from 1; binary lists have none.
        line: Option<usize>,
    },
    /// The address that answered is on record with another key (`CheckHostIP`).
    AddressDiffers {
        /// The address.
        address: String,
        /// The keys on record for it, at least one.
        known: Vec<KnownKey>,
    },
    /// A line of `RevokedHostKeys` cannot be read, so nobody knows whether the key is revoked.
    RevocationsUnreadable {
        /// Where it stands.
        file: PathBuf,
        /// The line there, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// The only line for this host cannot be read, so nobody knows whether the key changed.
    Unreadable {
        /// Where it stands.
        file: PathBuf,
        /// The line there, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
}

/// The words for not going on with `key`, offered by `name`. `target` is what a person types to
/// reach the server.
///
/// For [`Verdict::Unknown`] they are those of a run in which nobody can be asked.
pub fn refusal(verdict: &Verdict, name: &HostName, target: &str, key: &PublicKey) -> LayerError {
    let offered = format!("{} {}", algorithm_word(key), fingerprint(key));
    let target = printable(target, 120);
    let (what, next) = match verdict {
        Verdict::Known { .. } | Verdict::Certified { .. } => (
            format!("the known host key of {name} was turned down ({offered})"),
            String::new(),
        ),
        Verdict::Unknown { note } => {
            let note = note.as_ref().map(|n| format!("; {n}")).unwrap_or_default();
            (
                format!("the host key of {name} is not known yet ({offered}){note}"),
                format!(
                    "run `clawline hosts add {target}` in a terminal, or add --accept-new-host-key"
                ),
            )
        }
        Verdict::OtherAlgorithm { known } => (
            format!(
                "{name} is known by another kind of host key: it offered {offered}, known {}",
                listed(known)
            ),
            trust(&target),
        ),
        Verdict::Changed {
            file,
            line,
            known_fingerprint,
        } => (
            format!(
                "the host key of {name} has changed: it offered {offered}, known is {known_fingerprint} ({}); \
                 somebody may be listening in",
                place(file, *line)
            ),
            trust(&target),
        ),
        Verdict::AddressDiffers { address, known } => (
            format!(
                "the key of {name} is known, but not for its address {address}: it offered {offered}, known there {} (CheckHostIP)",
                listed(known)
            ),
            format!(
                "if the address is now {name}'s, run `clawline hosts remove {address}` and connect again"
            ),
        ),
        Verdict::Revoked { file, line } => (
            format!(
                "the host key of {name} is revoked ({offered}, revoked in {}); \
                 whoever answers may have stolen it",
                line.map_or_else(|| file.display().to_string(), |line| place(file, line))
            ),
            format!(
                "ask who runs {name} for its new key; no option of clawline trusts a revoked one"
            ),
        ),
        Verdict::RevocationsUnreadable { file, line, why } => (
            format!(
                "nobody can say whether the host key of {name} ({offered}) is revoked: {}: {why}",
                place(file, *line)
            ),
            format!(
                "correct line {line} of {}: one public key a line",
                file.display()
            ),
        ),
        Verdict::Unreadable { file, line, why } => (
            format!(
                "the only known host key of {name} cannot be read ({}: {why}); it offered {offered}",
                place(file, *line)
            ),
            format!(
                "correct line {line} of {}, or {}",
                file.display(),
                trust(&target)
            ),
        ),
    };
    LayerError::new(Layer::HostKey, what)
        .next(next)
        .retry(Retry::Never)
}

/// Keys on record, each with its place.
fn listed(known: &[KnownKey]) -> String {
    let mut text = String::new();
    for (index, key) in known.iter().enumerate() {
        let joint = if index == 0 { "is" } else { "," };
        let place = place(&key.file, key.line);
        let _ = write!(
            text,
            "{joint} {} {} ({place})",
            key.algorithm, key.fingerprint
        );
    }
    text
}

fn place(file: &Path, line: usize) -> String {
    format!("{}:{line}", file.display())
}

fn trust(target: &str) -> String {
    format!(
        "if you expected this, compare the fingerprint with who runs it, then `clawline hosts trust {target}`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> PublicKey {
        PublicKey::from_openssh(
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti",
        )
        .unwrap()
    }

    #[test]
    fn each_refusal_has_its_own_words_and_a_way_out() {
        let file = PathBuf::from("/home/me/.ssh/known_hosts");
        let name = HostName::new("desktop", 2222);
        let offered = fingerprint(&key());
        let rows = [
            (
                Verdict::Unknown { note: None },
                "is not known yet",
                "run `clawline hosts add me@desktop:2222` in a terminal, or add --accept-new-host-key",
            ),
            (
                Verdict::OtherAlgorithm {
                    known: vec![KnownKey {
                        algorithm: "ssh-rsa".into(),
                        fingerprint: "SHA256:old".into(),
                        file: file.clone(),
                        line: 3,
                    }],
                },
                "known is ssh-rsa SHA256:old (/home/me/.ssh/known_hosts:3)",
                "then `clawline hosts trust me@desktop:2222`",
            ),
            (
                Verdict::Changed {
                    file: file.clone(),
                    line: 4,
                    known_fingerprint: "SHA256:old".into(),
                },
                "has changed: it offered ED25519 SHA256:",
                "then `clawline hosts trust me@desktop:2222`",
            ),
            (
                Verdict::Revoked {
                    file: file.clone(),
                    line: Some(5),
                },
                "is revoked",
                "ask who runs [desktop]:2222 for its new key",
            ),
            (
                Verdict::Unknown {
                    note: Some("its certificate does not count: it expired 3 h ago".into()),
                },
                "; its certificate does not count: it expired 3 h ago",
                "clawline hosts add me@desktop:2222",
            ),
            (
                Verdict::AddressDiffers {
                    address: "192.0.2.1".into(),
                    known: vec![KnownKey {
                        algorithm: "ssh-rsa".into(),
                        fingerprint: "SHA256:old".into(),
                        file: file.clone(),
                        line: 3,
                    }],
                },
                "is known, but not for its address 192.0.2.1",
                "clawline hosts remove 192.0.2.1",
            ),
            (
                Verdict::RevocationsUnreadable {
                    file: file.clone(),
                    line: 7,
                    why: "the key is cut off".into(),
                },
                "nobody can say whether",
                "correct line 7 of /home/me/.ssh/known_hosts",
            ),
            (
                Verdict::Unreadable {
                    file,
                    line: 6,
                    why: "the key is broken".into(),
                },
                "cannot be read (/home/me/.ssh/known_hosts:6: the key is broken)",
                "correct line 6",
            ),
        ];
        for (verdict, what, next) in rows {
            let error = refusal(&verdict, &name, "me@desktop:2222", &key());
            assert!(error.what.contains(what), "{}", error.what);
            assert!(error.what.contains(&offered), "{}", error.what);
            assert!(error.what.contains("[desktop]:2222"), "{}", error.what);
            assert!(error.next.contains(next), "{}", error.next);
            assert_eq!((error.layer, error.retry), (Layer::HostKey, Retry::Never));
        }
    }
}
