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
pub struct TokenStore {
    path: Option<PathBuf>,
    tokens: Mutex<BTreeMap<String, Secret>>,
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
        Self {
            path: None,
            tokens: Mutex::default(),
        }
    }

    /// Tokens in `path`, written for `device_id`; a file of another device is ignored.
    pub fn open(path: PathBuf, device_id: &str) -> Self {
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
            tokens: Mutex::new(
                tokens
                    .into_iter()
                    .map(|(role, token)| (role, Secret::new(token)))
                    .collect(),
            ),
        }
    }

    /// The token of a role.
    pub fn get(&self, role: &str) -> Option<Secret> {
        self.lock().get(role).cloned()
    }

    /// Stores or, with `None`, forgets the token of a role.
    ///
    /// # Errors
    /// What the system says of the file; the token is then still used until the process ends.
    pub fn set(&self, device_id: &str, role: &str, token: Option<Secret>) -> io::Result<()> {
        let mut tokens = self.lock();
        let before = tokens.get(role).cloned();
        match token {
            Some(token) => tokens.insert(role.to_owned(), token),
            None => tokens.remove(role),
        };
        let Some(path) = &self.path else {
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

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Secret>> {
        self.tokens
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
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
    fn a_broken_file_counts_as_no_token() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("tokens.json");
        fs::write(&path, "{").expect("written");
        assert_eq!(TokenStore::open(path, "d").get("operator"), None);
    }
}
