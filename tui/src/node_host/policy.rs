//! What may run here without asking: a file of this user alone, changed only by whoever saw its latest
//! content, so that an old copy that is written back never brings a revoked entry back to life.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use clawline::owner_file;
use clawline::secret::Secret;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::command_text;

/// The file's name in the node's directory.
const FILE: &str = "exec-approvals.json";
/// Most entries.
const MAX_ENTRIES: usize = 1000;

/// What happens when a program is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// Nothing runs.
    Deny,
    /// A person is asked each time.
    #[default]
    Ask,
    /// What is on the list runs, a person is asked about the rest.
    Allowlist,
}

/// A command that may run without asking: exactly these words, this content of the program, in this
/// directory. What a program does depends on where it runs, and whoever asks chooses that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Entry {
    /// Names it for `disallow`.
    pub id: String,
    /// The words.
    pub argv: Vec<String>,
    /// The program, absolute and without links.
    pub exe: PathBuf,
    /// Of the program's content: an updated one is asked about again.
    pub sha256: String,
    /// Where it may run, without links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<PathBuf>,
    /// It may run anywhere.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub any_dir: bool,
    /// ms since the epoch.
    pub added_at_ms: i64,
    /// ms since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_at_ms: Option<i64>,
}

impl Entry {
    /// Whether it may run there. An entry without a place, of an earlier release, counts nowhere.
    pub fn counts_in(&self, cwd: &Path) -> bool {
        self.any_dir || self.cwd.as_deref() == Some(cwd)
    }

    /// Whether a new entry takes its place.
    pub fn is_replaced_by(&self, new: &Self) -> bool {
        let is_same_place = new.any_dir || self.cwd.is_none() || self.cwd == new.cwd;
        self.argv == new.argv && self.exe == new.exe && is_same_place
    }
}

/// The content of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Policy {
    version: u32,
    /// Rises with every change.
    pub revision: u64,
    /// What happens when a program is to run.
    #[serde(default)]
    pub mode: Mode,
    /// Commands that may run without asking.
    #[serde(default)]
    pub allow: Vec<Entry>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            version: 1,
            revision: 0,
            mode: Mode::Ask,
            allow: Vec::new(),
        }
    }
}

/// The content of the file at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// The content.
    pub policy: Policy,
    /// Of the text, in hex; to be shown by whoever replaces it.
    pub hash: String,
    /// Whether there is a file.
    pub exists: bool,
}

/// Why the file cannot be read or changed. While it cannot be read, nothing runs.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PolicyError {
    /// What the system says.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds something else.
    #[error("{} is broken: {why}; mend it or move it away", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Others can write or read it.
    #[error("{} is open to other users: chmod 600 it, then look at what it allows", path.display())]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// Somebody else changed it meanwhile.
    #[error("exec approvals changed since last load; re-run exec.approvals.get and retry")]
    Changed,
    /// The change cannot be made.
    #[error("{0}")]
    Refused(String),
}

/// The file.
#[derive(Debug, Clone)]
pub(crate) struct PolicyFile {
    path: PathBuf,
}

impl PolicyFile {
    /// In the node's directory.
    pub fn below(node_dir: &Path) -> Self {
        Self {
            path: node_dir.join(FILE),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says now.
    ///
    /// # Errors
    /// [`PolicyError`], but a missing file is the default.
    pub fn read(&self) -> Result<Snapshot, PolicyError> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Snapshot {
                    policy: Policy::default(),
                    hash: hash(""),
                    exists: false,
                });
            }
            Err(error) => return Err(self.io(error)),
        };
        if owner_file::is_open_to_others(&self.path).map_err(|error| self.io(error))? {
            return Err(PolicyError::Open {
                path: self.path.clone(),
            });
        }
        let broken = |why: String| PolicyError::Broken {
            path: self.path.clone(),
            why,
        };
        let policy: Policy =
            serde_json::from_str(&text).map_err(|error| broken(error.to_string()))?;
        if policy.version != 1 {
            return Err(broken(format!("version {} is not known", policy.version)));
        }
        Ok(Snapshot {
            policy,
            hash: hash(&text),
            exists: true,
        })
    }

    /// Changes what it says now. With `base`, only when its text has this hash.
    ///
    /// # Errors
    /// [`PolicyError`]; the file is then as it was.
    pub fn change(
        &self,
        base: Option<&str>,
        change: impl FnOnce(&mut Policy) -> Result<(), PolicyError>,
    ) -> Result<Snapshot, PolicyError> {
        let _alone = self.lock()?;
        let mut now = self.read()?;
        if base.is_some_and(|base| base != now.hash) {
            return Err(PolicyError::Changed);
        }
        let before = now.policy.clone();
        change(&mut now.policy)?;
        if now.policy == before {
            return Ok(now);
        }
        if now.policy.allow.len() > MAX_ENTRIES {
            let why = format!("more than {MAX_ENTRIES} commands on the list");
            return Err(PolicyError::Refused(why));
        }
        now.policy.revision = before.revision + 1;
        let mut text = serde_json::to_string_pretty(&now.policy).unwrap_or_default();
        text.push('\n');
        owner_file::replace(&self.path, &Secret::new(text.clone()))
            .map_err(|error| self.io(error))?;
        Ok(Snapshot {
            hash: hash(&text),
            exists: true,
            ..now
        })
    }

    /// Notes that an entry was used. One that was revoked meanwhile stays revoked.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn touch(&self, id: &str, now_ms: i64) -> Result<(), PolicyError> {
        self.change(None, |policy| {
            if let Some(entry) = policy.allow.iter_mut().find(|entry| entry.id == id) {
                entry.used_at_ms = Some(now_ms);
            }
            Ok(())
        })
        .map(drop)
    }

    fn lock(&self) -> Result<Flock<File>, PolicyError> {
        let path = self.path.with_extension("lock");
        if let Some(parent) = path.parent() {
            owner_file::create_dir(parent).map_err(|error| self.io(error))?;
        }
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        let file = file.map_err(|error| self.io(error))?;
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| self.io(errno.into()))
    }

    fn io(&self, source: io::Error) -> PolicyError {
        PolicyError::Io {
            path: self.path.clone(),
            source,
        }
    }
}

fn hash(text: &str) -> String {
    command_text::hex(&Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn file() -> (tempfile::TempDir, PolicyFile) {
        let dir = tempfile::tempdir().unwrap();
        let file = PolicyFile::below(&dir.path().join("node"));
        (dir, file)
    }

    fn entry(id: &str) -> Entry {
        Entry {
            id: id.into(),
            argv: vec!["uptime".into()],
            exe: "/usr/bin/uptime".into(),
            sha256: "00".into(),
            cwd: Some("/".into()),
            any_dir: false,
            added_at_ms: 1,
            used_at_ms: None,
        }
    }

    fn add(file: &PolicyFile, id: &str) -> Snapshot {
        let change = |policy: &mut Policy| {
            policy.allow.push(entry(id));
            Ok(())
        };
        file.change(None, change).unwrap()
    }

    #[test]
    fn a_revoked_entry_stays_revoked_whatever_an_old_copy_says() {
        let (_dir, file) = file();
        let old = add(&file, "a");
        file.change(None, |policy| {
            policy.allow.clear();
            Ok(())
        })
        .unwrap();
        // A run that began before notes that it used the entry.
        file.touch("a", 5).unwrap();
        assert_eq!(file.read().unwrap().policy.allow, []);
        // Somebody writes the old copy back.
        let written = file.change(Some(&old.hash), |policy| {
            *policy = old.policy.clone();
            Ok(())
        });
        assert!(matches!(written, Err(PolicyError::Changed)));
        assert_eq!(file.read().unwrap().policy.allow, []);
    }

    #[test]
    fn changes_from_many_sides_are_all_there() {
        let (_dir, file) = file();
        std::thread::scope(|scope| {
            for side in 0..4 {
                let file = &file;
                scope.spawn(move || (0..10).for_each(|n| drop(add(file, &format!("{side}.{n}")))));
            }
        });
        let policy = file.read().unwrap().policy;
        assert_eq!((policy.allow.len(), policy.revision), (40, 40));
    }

    #[test]
    fn it_is_for_its_owner_alone_and_a_broken_one_allows_nothing() {
        let (_dir, file) = file();
        assert_eq!(file.read().unwrap().policy, Policy::default());
        add(&file, "a");
        let mode = |mode| {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
        };
        assert_eq!(
            fs::metadata(file.path()).unwrap().permissions().mode() & 0o777,
            0o600
        );
        mode(0o644);
        assert!(matches!(file.read(), Err(PolicyError::Open { .. })));
        mode(0o600);
        for text in [
            "",
            "{}",
            r#"{"version":2,"revision":1}"#,
            r#"{"version":1,"revision":1,"x":1}"#,
        ] {
            fs::write(file.path(), text).unwrap();
            assert!(
                matches!(file.read(), Err(PolicyError::Broken { .. })),
                "{text}"
            );
            let changed = file.change(None, |_| Ok(()));
            assert!(changed.is_err());
            assert_eq!(fs::read_to_string(file.path()).unwrap(), text);
        }
    }
}
