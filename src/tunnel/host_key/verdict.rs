//! What known_hosts says of an offered key, and the words for a refusal.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use russh::keys::PublicKey;

use super::fingerprint::{algorithm_word, fingerprint};
use super::name::HostName;
use crate::layer::{Layer, LayerError, Retry};

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
    /// The key is marked as revoked; nothing overrides that.
    Revoked {
        /// Where it is marked.
        file: PathBuf,
        /// The line there, from 1.
        line: usize,
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

/// The words for not going on with `key`, offered by `name`.
///
/// For [`Verdict::Unknown`] they are those of a run in which nobody can be asked.
pub fn refusal(verdict: &Verdict, name: &HostName, key: &PublicKey) -> LayerError {
    let (word, offered) = (algorithm_word(key), fingerprint(key));
    let (what, next) = match verdict {
        Verdict::Known { .. } => (
            format!("the known host key of {name} was turned down ({word} {offered})"),
            String::new(),
        ),
        Verdict::Unknown { .. } => (
            format!("the host key of {name} is not known yet ({word} {offered})"),
            format!(
                "run `clawline {}` once in a terminal, or add --accept-new-host-key",
                name.typed()
            ),
        ),
        Verdict::OtherAlgorithm { known } => {
            let mut what = format!(
                "{name} is known by another kind of host key: it offered {word} {offered}, known"
            );
            let mut lines = String::new();
            for (index, key) in known.iter().enumerate() {
                let joint = if index == 0 { " is" } else { "," };
                let place = place(&key.file, key.line);
                let _ = write!(
                    what,
                    "{joint} {} {} ({place})",
                    key.algorithm, key.fingerprint
                );
                let joint = if index == 0 { "" } else { " and " };
                let _ = write!(lines, "{joint}line {} of {}", key.line, key.file.display());
            }
            (
                what,
                format!("if you expected this, remove {lines} and connect again"),
            )
        }
        Verdict::Changed {
            file,
            line,
            known_fingerprint,
        } => (
            format!(
                "the host key of {name} has changed: it offered {word} {offered}, known is {known_fingerprint} ({}); \
                 somebody may be listening in",
                place(file, *line)
            ),
            remove(*line, file),
        ),
        Verdict::Revoked { file, line } => (
            format!(
                "the host key of {name} is revoked ({word} {offered}, revoked in {}); \
                 whoever answers may have stolen it",
                place(file, *line)
            ),
            format!(
                "ask who runs {name} for its new key; only if the revocation is a mistake, remove line {line} of {}",
                file.display()
            ),
        ),
        Verdict::Unreadable { file, line, why } => (
            format!(
                "the only known host key of {name} cannot be read ({}: {why}); it offered {word} {offered}",
                place(file, *line)
            ),
            format!(
                "correct or remove line {line} of {}, then connect again",
                file.display()
            ),
        ),
    };
    LayerError::new(Layer::HostKey, what)
        .next(next)
        .retry(Retry::Never)
}

fn place(file: &Path, line: usize) -> String {
    format!("{}:{line}", file.display())
}

fn remove(line: usize, file: &Path) -> String {
    format!(
        "if you expected this, remove line {line} of {} and connect again",
        file.display()
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
                "run `clawline desktop:2222` once in a terminal, or add --accept-new-host-key",
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
                "remove line 3 of /home/me/.ssh/known_hosts",
            ),
            (
                Verdict::Changed {
                    file: file.clone(),
                    line: 4,
                    known_fingerprint: "SHA256:old".into(),
                },
                "has changed: it offered ED25519 SHA256:",
                "remove line 4 of /home/me/.ssh/known_hosts and connect again",
            ),
            (
                Verdict::Revoked {
                    file: file.clone(),
                    line: 5,
                },
                "is revoked",
                "ask who runs [desktop]:2222 for its new key",
            ),
            (
                Verdict::Unreadable {
                    file,
                    line: 6,
                    why: "the key is broken".into(),
                },
                "cannot be read (/home/me/.ssh/known_hosts:6: the key is broken)",
                "correct or remove line 6",
            ),
        ];
        for (verdict, what, next) in rows {
            let error = refusal(&verdict, &name, &key());
            assert!(error.what.contains(what), "{}", error.what);
            assert!(error.what.contains(&offered), "{}", error.what);
            assert!(error.what.contains("[desktop]:2222"), "{}", error.what);
            assert!(error.next.contains(next), "{}", error.next);
            assert_eq!((error.layer, error.retry), (Layer::HostKey, Retry::Never));
        }
    }
}
