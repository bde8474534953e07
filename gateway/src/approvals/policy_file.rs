//! The standing policy of the gateway's own host, in an owner-only file. This gateway runs no commands
//! itself: it keeps the policy for clients that read and write it.

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use clawline::bounded_file;
use clawline::owner_file;
use clawline::protocol::methods::approvals::ExecApprovalsSnapshot;
use clawline::secret::Secret;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The file inside the state directory.
pub(crate) const FILE: &str = "exec-approvals.json";
/// Largest content, in bytes.
const MAX_SIZE: usize = 256 * 1024;
/// Largest file that is read, in bytes: what people wrote there may be longer by its spaces.
const MAX_FILE: u64 = 1024 * 1024;

/// Why the policy cannot be had, or not be replaced.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PolicyError {
    #[error("exec approvals changed since last load; re-run exec.approvals.get and retry")]
    Changed,
    #[error("invalid exec.approvals.set params: {0}")]
    Bad(&'static str),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is no policy: {detail}; repair or remove it", path.display())]
    Broken { path: PathBuf, detail: String },
}

/// The policy's file. Its methods block for as long as a small file takes.
pub(crate) struct PolicyFile {
    path: PathBuf,
    /// Between the look at the old content and the new one nobody else writes.
    gate: Mutex<()>,
}

impl PolicyFile {
    pub(crate) fn new(state_dir: &std::path::Path) -> Self {
        Self {
            path: state_dir.join(FILE),
            gate: Mutex::default(),
        }
    }

    /// The policy now; an empty one where there is no file.
    pub(crate) fn get(&self) -> Result<ExecApprovalsSnapshot, PolicyError> {
        let text = match bounded_file::read_text(&self.path, MAX_FILE) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(self.io(source)),
        };
        let exists = text.is_some();
        let mut file = match text {
            Some(text) => serde_json::from_str(&text).map_err(|error| PolicyError::Broken {
                path: self.path.clone(),
                detail: error.to_string(),
            })?,
            None => json!({"version": 1, "defaults": {}, "agents": {}}),
        };
        let digest = Sha256::digest(file.to_string().as_bytes());
        // What clients of a socket show each other is nobody else's.
        if let Some(socket) = file.get_mut("socket").and_then(Value::as_object_mut) {
            socket.remove("token");
        }
        Ok(ExecApprovalsSnapshot {
            path: self.path.display().to_string(),
            exists,
            hash: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
            file,
            resolved_defaults: None,
        })
    }

    /// Replaces the policy that has this hash.
    pub(crate) fn set(
        &self,
        file: &Value,
        base_hash: Option<&str>,
    ) -> Result<ExecApprovalsSnapshot, PolicyError> {
        if file["version"] != 1 {
            return Err(PolicyError::Bad("file.version: 1 is needed"));
        }
        let is_object = |name: &str| file.get(name).is_none_or(Value::is_object);
        if !["defaults", "agents", "socket"].into_iter().all(is_object) {
            return Err(PolicyError::Bad(
                "file: defaults, agents and socket are objects",
            ));
        }
        let text = file.to_string();
        if text.len() > MAX_SIZE {
            return Err(PolicyError::Bad("file: at most 256 KiB are taken"));
        }
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.get()?;
        let is_shown = base_hash == Some(before.hash.as_str());
        if !is_shown && (before.exists || base_hash.is_some()) {
            return Err(PolicyError::Changed);
        }
        owner_file::replace(&self.path, &Secret::new(text)).map_err(|source| self.io(source))?;
        self.get()
    }

    fn io(&self, source: io::Error) -> PolicyError {
        PolicyError::Io {
            path: self.path.clone(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_policy_that_was_seen_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let policy = PolicyFile::new(dir.path());
        let before = policy.get().unwrap();
        assert!(!before.exists);
        let file = json!({"version": 1, "defaults": {"ask": "always"}, "socket": {"path": "p", "token": "t"}});
        let stored = policy.set(&file, Some(&before.hash)).unwrap();
        assert!(stored.exists);
        assert_eq!(
            stored.file["socket"],
            json!({"path": "p"}),
            "no secret comes back"
        );
        assert!(!owner_file::is_open_to_others(&dir.path().join(FILE)).unwrap());
        for hash in [Some("bad"), Some(before.hash.as_str()), None] {
            let refused = policy.set(&json!({"version": 1}), hash);
            assert!(matches!(refused, Err(PolicyError::Changed)), "{hash:?}");
        }
        policy
            .set(&json!({"version": 1}), Some(&stored.hash))
            .unwrap();
        let refused = policy.set(&json!({"version": 2}), None);
        assert!(matches!(refused, Err(PolicyError::Bad(_))));
    }
}
