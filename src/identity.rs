//! The device key: who this laptop (or node) is to a gateway, for good.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ed25519_dalek::{Signer as _, SigningKey};
use rand::RngExt as _;
use serde::{Deserialize, Serialize};

use crate::owner_file;
use crate::protocol::device_auth::{self, Payload, PayloadVersion};
use crate::secret::Secret;

/// An Ed25519 device key.
#[derive(Clone)]
pub struct Identity {
    key: SigningKey,
    id: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Identity").field(&self.id).finish()
    }
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else. It is never replaced by itself: that would be a new device.
    #[error("{} is not a device key: {why}; move it away to start as a new device", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// On disk: base64url of the 32 secret bytes.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    version: u32,
    device_id: String,
    secret_key: String,
}

impl Identity {
    /// A new key that is stored nowhere.
    pub fn generate() -> Self {
        Self::from_seed(rand::rng().random())
    }

    /// The key of these 32 bytes.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let key = SigningKey::from_bytes(&seed);
        let id = device_auth::device_id(&key.verifying_key());
        Self { key, id }
    }

    /// Loads the key at `path`, or creates it there (0600, in directories of 0700).
    ///
    /// # Errors
    /// [`IdentityError`]; a broken file is left as it is.
    pub fn load_or_create(path: &Path) -> Result<Self, IdentityError> {
        let io_error = |source| IdentityError::Io {
            path: path.to_owned(),
            source,
        };
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text).map_err(|why| IdentityError::Broken {
                path: path.to_owned(),
                why,
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let identity = Self::generate();
                let stored = Stored {
                    version: 1,
                    device_id: identity.id.clone(),
                    secret_key: device_auth::encode(identity.key.as_bytes()),
                };
                let text = serde_json::to_string(&stored).unwrap_or_default();
                match owner_file::create_new(path, &Secret::new(text)) {
                    // Another process was first: its key is the one.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        Self::load_or_create(path)
                    }
                    other => other.map(|()| identity).map_err(io_error),
                }
            }
            Err(error) => Err(io_error(error)),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let stored: Stored = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let seed = device_auth::decode(&stored.secret_key)
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
            .ok_or("the key is not 32 bytes of base64url")?;
        let identity = Self::from_seed(seed);
        if identity.id == stored.device_id {
            Ok(identity)
        } else {
            Err("the device id does not belong to the key".into())
        }
    }

    /// 64 hex digits.
    pub fn device_id(&self) -> &str {
        &self.id
    }

    /// base64url of the public key.
    pub fn public_key(&self) -> String {
        device_auth::encode(self.key.verifying_key().as_bytes())
    }

    /// base64url of the signature over a proof.
    pub fn sign(&self, payload: &Payload<'_>, version: PayloadVersion) -> String {
        let signature = self.key.sign(payload.text(version).as_bytes());
        device_auth::encode(&signature.to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_created_once_owner_only_and_found_again() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("identity/device.json");
        let first = Identity::load_or_create(&path).expect("created");
        let second = Identity::load_or_create(&path).expect("loaded");
        assert_eq!(first.device_id(), second.device_id());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = |p: &Path| fs::metadata(p).expect("there").permissions().mode() & 0o777;
            assert_eq!(mode(&path), 0o600);
            assert_eq!(mode(path.parent().expect("parent")), 0o700);
        }
    }

    #[test]
    fn a_broken_file_is_named_and_left_alone() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("device.json");
        for text in [
            "",
            "{}",
            r#"{"version":1,"deviceId":"00","secretKey":"AAAA"}"#,
        ] {
            fs::write(&path, text).expect("written");
            let error = Identity::load_or_create(&path).expect_err("refused");
            assert!(error.to_string().contains("device.json"), "{error}");
            assert_eq!(fs::read_to_string(&path).expect("there"), text);
        }
    }

    #[test]
    fn the_debug_output_does_not_hold_the_key() {
        let text = format!("{:?}", Identity::from_seed([7; 32]));
        assert!(!text.contains("07, 07") && !text.contains('7'.to_string().repeat(8).as_str()));
    }
}
