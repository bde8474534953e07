//! The shared token in its owner-only file, and the tokens of paired devices.

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clawline::bounded_file;
use clawline::owner_file;
use clawline::protocol::scope::Role;
use clawline::secret::Secret;
use clawline::secret_text::{self, Kind, NoSecret};
use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::RngExt as _;
use sha2::Sha256;

/// Bytes of randomness in a token.
const KEY_BYTES: usize = 32;
/// Longest secret file that is read, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// The file cannot be read or created.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others could have read it.
    #[error("{} can be read by other users; run chmod 600 on it, and change the secret", path.display())]
    OpenToOthers {
        /// The file.
        path: PathBuf,
    },
    /// There is nothing in it.
    #[error("{} is empty; remove it and a new one is made", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// More than a token is in it.
    #[error("{} {why}", path.display())]
    NoToken {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: NoSecret,
    },
}

/// Reads an owner-only secret file. Its last line may end with a line break, as lines do.
///
/// # Errors
/// [`SecretFileError`]; a file that others may read is refused.
pub fn read(path: &Path) -> Result<Secret, SecretFileError> {
    let io_error = |source| SecretFileError::Io {
        path: path.to_owned(),
        source,
    };
    let text = Secret::new(bounded_file::read_text(path, MAX_FILE).map_err(io_error)?);
    if owner_file::is_open_to_others(path).map_err(io_error)? {
        return Err(SecretFileError::OpenToOthers {
            path: path.to_owned(),
        });
    }
    let path = || path.to_owned();
    match secret_text::read(text.expose(), Kind::Token) {
        Ok(handed) => Ok(handed.secret),
        Err(NoSecret::Empty) => Err(SecretFileError::Empty { path: path() }),
        Err(why) => Err(SecretFileError::NoToken { path: path(), why }),
    }
}

/// Reads an owner-only secret file, or makes it with fresh randomness.
///
/// # Errors
/// [`SecretFileError`].
pub fn read_or_create(path: &Path) -> Result<Secret, SecretFileError> {
    match read(path) {
        Err(SecretFileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            let fresh = fresh();
            match owner_file::create_new(path, &fresh) {
                Ok(()) => Ok(fresh),
                // Another process was first: its secret is the one.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read(path),
                Err(source) => Err(SecretFileError::Io {
                    path: path.to_owned(),
                    source,
                }),
            }
        }
        other => other,
    }
}

/// A new shared token: 256 bits, 43 characters of base64url. None begins with a hyphen, which command
/// lines take for an option.
pub fn fresh() -> Secret {
    loop {
        let bytes: [u8; KEY_BYTES] = rand::rng().random();
        let text = URL_SAFE_NO_PAD.encode(bytes);
        if !text.starts_with('-') {
            return Secret::new(text);
        }
    }
}

/// Makes and checks device tokens; the store keeps only their generation.
#[derive(Debug, Clone)]
pub struct DeviceTokens {
    key: Secret,
}

impl DeviceTokens {
    /// From the gateway's own secret, which lies in its store.
    pub fn new(gateway_secret: Secret) -> Self {
        Self {
            key: gateway_secret,
        }
    }

    /// Names this gateway in setup codes.
    pub fn gateway_tag(&self) -> String {
        super::setup_code::gateway_tag(&self.key)
    }

    /// The token of a device in a role, of this generation: 43 characters of base64url.
    pub fn token(&self, device_id: &str, role: Role, generation: i64) -> Secret {
        // HMAC takes keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.key.expose().as_bytes()) else {
            return Secret::default();
        };
        mac.update(format!("{device_id}|{role}|{generation}").as_bytes());
        Secret::new(URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_token_is_taken_for_an_option() {
        // One in 64 would be, without a look.
        for _ in 0..2000 {
            assert!(!fresh().expose().starts_with('-'));
        }
    }

    #[test]
    fn a_token_file_is_made_once_and_refused_when_others_can_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let first = read_or_create(&path).unwrap();
        assert_eq!(read_or_create(&path).unwrap(), first);
        assert_eq!(first.expose().len(), 43);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            read_or_create(&path),
            Err(SecretFileError::OpenToOthers { .. })
        ));
    }

    #[test]
    fn the_line_break_of_a_token_file_is_none_of_the_token_and_other_white_space_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let said = |name: &str, text: &str| {
            let path = dir.path().join(name);
            owner_file::create_new(&path, &Secret::new(text)).unwrap();
            read(&path).map_err(|error| error.to_string())
        };
        for (name, text) in [
            ("a", "one-token"),
            ("b", "one-token\n"),
            ("c", "one-token\r\n"),
        ] {
            assert_eq!(said(name, text), Ok(Secret::new("one-token")), "{text:?}");
        }
        for (name, text, words) in [
            ("d", " one-token\n", "starts or ends with white space"),
            ("e", "one-token\n\n", "starts or ends with white space"),
            ("f", "one token\n", "has white space in it"),
            ("g", "one-token\nanother\n", "has white space in it"),
            ("h", "\u{feff}one-token\n", "cannot be seen"),
            ("i", "\n", "is empty"),
        ] {
            let refused = said(name, text).unwrap_err();
            assert!(refused.contains(words), "{text:?}: {refused}");
            assert!(!refused.contains("one-token"), "{refused}");
        }
    }

    #[test]
    fn a_device_token_depends_on_device_role_generation_and_gateway() {
        let tokens = DeviceTokens {
            key: Secret::new("k"),
        };
        let other = DeviceTokens {
            key: Secret::new("l"),
        };
        let base = tokens.token("d", Role::Operator, 1);
        assert_eq!(base.expose().len(), 43);
        assert_eq!(base, tokens.token("d", Role::Operator, 1));
        for different in [
            tokens.token("e", Role::Operator, 1),
            tokens.token("d", Role::Node, 1),
            tokens.token("d", Role::Operator, 2),
            other.token("d", Role::Operator, 1),
        ] {
            assert_ne!(base, different);
        }
    }
}
