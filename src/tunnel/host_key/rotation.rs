//! What a server's announcement of its host keys would change, under the conditions of OpenSSH.

use std::collections::HashSet;
use std::path::PathBuf;

use russh::keys::PublicKey;

use super::edit::{Edit, EditError, edit};
use super::known_hosts::{KnownHosts, KnownHostsError};
use super::line::{Hosts, Marker};
use super::name::HostName;
use super::verdict::KnownKey;
use super::{LearnError, learn};
use crate::tunnel::spec::KnownHostsFiles;

/// Keys to add and keys to forget.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rotation {
    /// Announced and not on record; each has to be proved before it is stored.
    pub new: Vec<PublicKey>,
    /// On record and not announced.
    pub stale: Vec<KnownKey>,
}

/// What follows from an announcement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RotationPlan {
    /// Everything is on record already.
    Nothing,
    /// The file says more about this host than a program should change, e.g. by a pattern.
    Leave(&'static str),
    /// This would change.
    Change(Rotation),
}

/// Why a rotation was not stored.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// A key could not be added.
    #[error(transparent)]
    Learn(#[from] LearnError),
    /// A key could not be taken out.
    #[error(transparent)]
    Edit(#[from] EditError),
}

impl RotationPlan {
    /// Compares `announced` with the user's files. Nothing is planned where a line about the host has a
    /// marker or a pattern, or where one of the keys concerned stands under another name, too.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn make(
        files: &KnownHostsFiles,
        name: &HostName,
        announced: &[PublicKey],
    ) -> Result<Self, KnownHostsError> {
        let known = KnownHosts::load(&KnownHostsFiles {
            global: Vec::new(),
            ..files.clone()
        })?;
        let mut fresh = Vec::new();
        let mut blobs = HashSet::new();
        for key in announced {
            // A revoked key is none to learn, and none that vouches for a line either.
            let Ok(blob) = key.to_bytes() else { continue };
            if known.is_revoked(name, key) {
                continue;
            }
            if !blobs.insert(blob.clone()) {
                return Ok(Self::Leave("the server announced a key twice"));
            }
            fresh.push((blob, key));
        }
        if fresh.is_empty() {
            return Ok(Self::Nothing);
        }
        let mut stale = Vec::new();
        let mut stale_blobs = HashSet::new();
        let mut why_not = None;
        for entry in &known.entries {
            let Ok(key) = &entry.line.key else { continue };
            if !entry.line.hosts.matches(name) {
                if blobs.contains(&key.blob) {
                    why_not = Some("one of its keys is on record under another name");
                }
            } else if entry.line.marker != Marker::Host {
                why_not = Some("a line with a marker is about it");
            } else if is_pattern(&entry.line.hosts) {
                why_not = Some("a line with a pattern is about it");
            } else if blobs.contains(&key.blob) {
                fresh.retain(|(blob, _)| *blob != key.blob);
            } else {
                stale_blobs.insert(key.blob.clone());
                stale.push(entry.known_key(key));
            }
        }
        if fresh.is_empty() && stale.is_empty() {
            return Ok(Self::Nothing);
        }
        let elsewhere = known.entries.iter().any(|entry| {
            let key = entry.line.key.as_ref();
            key.is_ok_and(|key| stale_blobs.contains(&key.blob)) && !entry.line.hosts.matches(name)
        });
        if elsewhere {
            why_not = Some("a key that it no longer has is on record under another name");
        }
        Ok(match why_not {
            Some(why) => Self::Leave(why),
            None => Self::Change(Rotation {
                new: fresh.into_iter().map(|(_, key)| key.clone()).collect(),
                stale,
            }),
        })
    }
}

impl Rotation {
    /// Stores it: new keys in the first file, and stale ones taken out wherever they stand. A file of
    /// which something is taken out stays beside it as `NAME.old`, as with ssh.
    ///
    /// # Errors
    /// When a file cannot be changed; what was changed before stays changed.
    pub fn store(
        &self,
        files: &[PathBuf],
        name: &HostName,
        hash: bool,
    ) -> Result<(), RotationError> {
        if let Some(file) = files.first() {
            for key in &self.new {
                learn(file, name, key, hash)?;
            }
        }
        for file in files {
            let stale: HashSet<&str> = self
                .stale
                .iter()
                .filter(|key| key.file == *file)
                .map(|key| key.fingerprint.as_str())
                .collect();
            if stale.is_empty() {
                continue;
            }
            let takes = |_: usize, key: Option<&str>| key.is_some_and(|key| stale.contains(key));
            let asked = Edit {
                keep_old: true,
                ..Edit::of(name, &takes)
            };
            edit(file, &asked)?;
        }
        Ok(())
    }
}

fn is_pattern(hosts: &Hosts) -> bool {
    match hosts {
        Hosts::Patterns(patterns) => patterns.iter().any(|p| p.contains(['*', '?', '!'])),
        Hosts::Hashed { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use russh::keys::ssh_key::public::{Ed25519PublicKey, KeyData};

    use super::*;

    fn key(seed: u8) -> PublicKey {
        PublicKey::from(KeyData::from(Ed25519PublicKey([seed; 32])))
    }

    fn text(seed: u8) -> String {
        let blob = STANDARD.encode(key(seed).to_bytes().unwrap());
        format!("ssh-ed25519 {blob}")
    }

    fn files(path: &Path) -> KnownHostsFiles {
        KnownHostsFiles {
            user: vec![path.to_owned()],
            ..KnownHostsFiles::default()
        }
    }

    /// Keys 1 and 2 are announced for h: what would be added and removed.
    fn plan(content: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kh");
        std::fs::write(&path, content).unwrap();
        let announced = [key(1), key(2)];
        match RotationPlan::make(&files(&path), &HostName::new("h", 22), &announced).unwrap() {
            RotationPlan::Nothing => "nothing".into(),
            RotationPlan::Leave(_) => "leave".into(),
            RotationPlan::Change(Rotation { new, stale }) => {
                format!("+{} -{}", new.len(), stale.len())
            }
        }
    }

    #[test]
    fn changes_are_planned_where_ssh_makes_them() {
        let (one, two, old) = (text(1), text(2), text(3));
        for (content, expected) in [
            (format!("h {one}\n"), "+1 -0"),
            (format!("h,x {one}\n"), "+1 -0"),
            (format!("h {one}\nh {two}\n"), "nothing"),
            (format!("h {one}\nh {old}\n"), "+1 -1"),
            (format!("h {one}\nh {two}\nx,h {old}\n"), "+0 -1"),
            (format!("h {one}\nh {old}\nx {old}\n"), "leave"),
            (format!("h {one}\nx {two}\n"), "leave"),
            (format!("h {one}\n? {old}\n"), "leave"),
            (format!("h {one}\n@revoked h {old}\n"), "leave"),
            (format!("h {one}\n@cert-authority * {old}\n"), "leave"),
            (format!("h {one}\n@revoked x {old}\n"), "+1 -0"),
            (format!("h {one}\n@revoked h {two}\n"), "nothing"),
        ] {
            assert_eq!(plan(&content), expected, "{content}");
        }
    }

    #[test]
    fn a_rotation_changes_its_lines_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kh");
        let (one, two, old) = (text(1), text(2), text(3));
        std::fs::write(
            &path,
            format!("# mine\nh {one} x\nh {old}\ny,h {old}\nz {old}"),
        )
        .unwrap();
        let name = HostName::new("h", 22);
        let rotation = Rotation {
            new: vec![key(2)],
            stale: vec![KnownKey {
                algorithm: "ssh-ed25519".into(),
                fingerprint: crate::tunnel::host_key::fingerprint(&key(3)),
                file: path.clone(),
                line: 3,
            }],
        };
        rotation.store(&files(&path).user, &name, false).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            format!("# mine\nh {one} x\ny {old}\nz {old}\nh {two}\n")
        );
    }
}
