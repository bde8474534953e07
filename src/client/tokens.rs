//! Device tokens that a gateway gave us, one file a gateway, one token a role.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::owner_file;
use crate::secret::Secret;

/// The tokens of one gateway.
///
/// The file hangs on the gateway's id, so that a token is never shown to another gateway. A broken or
/// missing file counts as "no token": the shared secret or a new pairing brings one back.
#[derive(Debug)]
pub struct TokenStore(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    /// `None` for tokens that end with the process.
    path: Option<PathBuf>,
    tokens: BTreeMap<String, Secret>,
    /// Tokens are kept and never handed out.
    only_kept: bool,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    version: u32,
    #[serde(default)]
    device_id: String,
    #[serde(default)]
    tokens: BTreeMap<String, String>,
}

impl TokenStore {
    /// Tokens that end with the process.
    pub fn in_memory() -> Self {
        Self(Mutex::default())
    }

    /// Tokens in `path`, written for `device_id`; a file of another device is ignored.
    pub fn open(path: PathBuf, device_id: &str) -> Self {
        Self(Mutex::new(Held::load(path, device_id)))
    }

    /// Turns to the file of another gateway. A dialer does this before it returns a stream to a gateway
    /// that it found under another id than before, so that no token goes to the wrong one.
    pub fn point_at(&self, path: PathBuf, device_id: &str) {
        let mut held = self.lock();
        if held.path.as_ref() != Some(&path) {
            *held = Held {
                only_kept: held.only_kept,
                ..Held::load(path, device_id)
            };
        }
    }

    /// Keeps new tokens for the next time and hands none out: for somebody who typed a secret, which is
    /// then right or wrong.
    #[must_use]
    pub fn only_kept(self) -> Self {
        self.lock().only_kept = true;
        self
    }

    /// The token of a role.
    pub fn get(&self, role: &str) -> Option<Secret> {
        let held = self.lock();
        if held.only_kept {
            return None;
        }
        held.tokens.get(role).cloned()
    }

    /// Stores or, with `None`, forgets the token of a role.
    ///
    /// # Errors
    /// What the system says of the file; the token is then still used until the process ends.
    pub fn set(&self, device_id: &str, role: &str, token: Option<Secret>) -> io::Result<()> {
        let mut held = self.lock();
        let Held { path, tokens, .. } = &mut *held;
        let before = tokens.get(role).cloned();
        match token {
            Some(token) => tokens.insert(role.to_owned(), token),
            None => tokens.remove(role),
        };
        let Some(path) = path else {
            return Ok(());
        };
        if tokens.get(role) == before.as_ref() {
            return Ok(());
        }
        let stored = Stored {
            version: 1,
            device_id: device_id.to_owned(),
            tokens: tokens
                .iter()
                .map(|(role, token)| (role.clone(), token.expose().to_owned()))
                .collect(),
        };
        let text = serde_json::to_string(&stored).unwrap_or_default();
        owner_file::replace(path, &Secret::new(text))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Held> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Held {
    fn load(path: PathBuf, device_id: &str) -> Self {
        let stored: Stored = fs::read_to_string(&path)
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default();
        let tokens = if stored.device_id == device_id {
            stored.tokens
        } else {
            BTreeMap::new()
        };
        Self {
            path: Some(path),
            tokens: tokens
                .into_iter()
                .map(|(role, token)| (role, Secret::new(token)))
                .collect(),
            only_kept: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_the_process_and_belongs_to_its_device() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("gateways/g/tokens.json");
        let store = TokenStore::open(path.clone(), "dev1");
        store
            .set("dev1", "operator", Some(Secret::new("t")))
            .expect("written");
        let again = TokenStore::open(path.clone(), "dev1");
        assert_eq!(again.get("operator"), Some(Secret::new("t")));
        assert_eq!(TokenStore::open(path.clone(), "dev2").get("operator"), None);
        again.set("dev1", "operator", None).expect("written");
        assert_eq!(TokenStore::open(path, "dev1").get("operator"), None);
    }

    #[test]
    fn a_token_does_not_follow_to_another_gateway() {
        let dir = tempfile::tempdir().expect("directory");
        let (one, two) = (
            dir.path().join("1/tokens.json"),
            dir.path().join("2/tokens.json"),
        );
        let store = TokenStore::open(one.clone(), "dev");
        store
            .set("dev", "operator", Some(Secret::new("t")))
            .expect("written");
        store.point_at(two, "dev");
        assert_eq!(store.get("operator"), None);
        store.point_at(one, "dev");
        assert_eq!(store.get("operator"), Some(Secret::new("t")));
    }

    #[test]
    fn a_store_that_only_keeps_hands_nothing_out() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("tokens.json");
        let store = TokenStore::open(path.clone(), "dev").only_kept();
        store
            .set("dev", "operator", Some(Secret::new("t")))
            .expect("written");
        assert_eq!(store.get("operator"), None);
        let later = TokenStore::open(path, "dev");
        assert_eq!(later.get("operator"), Some(Secret::new("t")));
    }

    #[test]
    fn a_broken_file_counts_as_no_token() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("tokens.json");
        fs::write(&path, "{").expect("written");
        assert_eq!(TokenStore::open(path, "d").get("operator"), None);
    }
}
