//! Key files: their public half without a passphrase where the format shows it, and the whole key when
//! it is needed.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::{Error as KeyError, PrivateKey, PublicKey, decode_secret_key};

/// No key is as long as this.
const MAX_KEY_BYTES: u64 = 1024 * 1024;

/// What a file of `IdentityFile` holds.
#[derive(Debug)]
pub(super) enum KeyFile {
    /// A private key; encrypted or not, its public half is known.
    Private(PublicKey),
    /// An encrypted private key that hides its public half, with no `.pub` beside it.
    Hidden,
    /// Only a public key: the private one is in the agent.
    Public(PublicKey),
}

/// Why a key file was passed over.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyFileError {
    #[error("no such file")]
    Missing,
    #[error("cannot be read: {0}")]
    Read(std::io::Error),
    #[error("can be read by others (mode {0:04o}); chmod 600 it")]
    Open(u32),
    #[error("is no key that clawline understands")]
    Unknown,
}

pub(super) fn read(path: &Path) -> Result<String, KeyFileError> {
    let file = std::fs::File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => KeyFileError::Missing,
        _ => KeyFileError::Read(error),
    })?;
    let mut text = String::new();
    file.take(MAX_KEY_BYTES)
        .read_to_string(&mut text)
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidData => KeyFileError::Unknown,
            _ => KeyFileError::Read(error),
        })?;
    Ok(text)
}

/// As in OpenSSH: a key of ours that others can read is not used.
#[cfg(unix)]
fn check_mode(path: &Path) -> Result<(), KeyFileError> {
    use std::os::unix::fs::MetadataExt;
    let Ok(meta) = std::fs::metadata(path) else {
        return Ok(());
    };
    let mode = meta.mode() & 0o777;
    if meta.uid() == nix::unistd::getuid().as_raw() && mode & 0o077 != 0 {
        return Err(KeyFileError::Open(mode));
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_mode(_path: &Path) -> Result<(), KeyFileError> {
    Ok(())
}

/// `path` with `suffix` after its name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Looks at a file of `IdentityFile`. Blocking.
pub(super) fn inspect(path: &Path) -> Result<KeyFile, KeyFileError> {
    let public_beside = || {
        read(&beside(path, ".pub"))
            .ok()
            .and_then(|text| PublicKey::from_openssh(text.trim()).ok())
    };
    let text = match read(path) {
        Ok(text) => text,
        // The private half may live in the agent alone.
        Err(KeyFileError::Missing) => {
            return public_beside()
                .map(KeyFile::Public)
                .ok_or(KeyFileError::Missing);
        }
        Err(error) => return Err(error),
    };
    if let Ok(public) = PublicKey::from_openssh(text.trim()) {
        return Ok(KeyFile::Public(public));
    }
    check_mode(path)?;
    if let Ok(key) = PrivateKey::from_openssh(&text) {
        return Ok(KeyFile::Private(key.public_key().clone()));
    }
    match decode_secret_key(&text, None) {
        Ok(key) => Ok(KeyFile::Private(key.public_key().clone())),
        Err(_) if is_encrypted(&text) => {
            Ok(public_beside().map_or(KeyFile::Hidden, KeyFile::Private))
        }
        Err(_) => Err(KeyFileError::Unknown),
    }
}

fn is_encrypted(text: &str) -> bool {
    text.contains("ENCRYPTED") || text.starts_with("PuTTY-User-Key-File-")
}

/// What came of decrypting a key.
#[derive(Debug)]
pub(super) enum Decrypted {
    Key(Arc<PrivateKey>),
    NeedsPassphrase,
    WrongPassphrase,
    Broken(KeyFileError),
}

/// Reads the private key. Blocking, and slow on purpose when encrypted.
pub(super) fn decrypt(path: &Path, passphrase: Option<&str>) -> Decrypted {
    let text = match read(path) {
        Ok(text) => text,
        Err(error) => return Decrypted::Broken(error),
    };
    match (decode_secret_key(&text, passphrase), passphrase) {
        (Ok(key), _) => Decrypted::Key(Arc::new(key)),
        (Err(KeyError::KeyIsEncrypted), None) => Decrypted::NeedsPassphrase,
        (Err(_), None) if is_encrypted(&text) => Decrypted::NeedsPassphrase,
        (Err(_), Some(_)) => Decrypted::WrongPassphrase,
        (Err(_), None) => Decrypted::Broken(KeyFileError::Unknown),
    }
}
