//! A key in the forms that people compare: `SHA256:…` and OpenSSH's picture.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PublicKey};
use sha2::{Digest, Sha256};

/// OpenSSH's fingerprint of a key, e.g. `SHA256:6ssET1Dm…`.
pub fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// The fingerprint of a key in wire format.
pub(super) fn fingerprint_of_blob(blob: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(blob)))
}

/// OpenSSH's short word for the key's kind, e.g. `ED25519`.
pub fn algorithm_word(key: &PublicKey) -> String {
    match key.algorithm() {
        Algorithm::Ed25519 => "ED25519".into(),
        Algorithm::Ecdsa { .. } => "ECDSA".into(),
        Algorithm::Rsa { .. } => "RSA".into(),
        Algorithm::Dsa => "DSA".into(),
        Algorithm::SkEcdsaSha2NistP256 => "ECDSA-SK".into(),
        Algorithm::SkEd25519 => "ED25519-SK".into(),
        other => other.as_str().to_owned(),
    }
}

/// OpenSSH's picture of a key (`ssh-keygen -lv`), eleven lines without a final line end.
pub fn randomart(key: &PublicKey) -> String {
    let word = algorithm_word(key);
    let title = match bits(key) {
        Some(bits) => format!("[{word} {bits}]"),
        None => format!("[{word}]"),
    };
    key.fingerprint(HashAlg::Sha256).to_randomart(&title)
}

/// The size of a key as OpenSSH counts it.
fn bits(key: &PublicKey) -> Option<u32> {
    match key.key_data() {
        KeyData::Rsa(rsa) => Some(rsa.key_size()),
        _ => match key.algorithm() {
            Algorithm::Ed25519 | Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256 => Some(256),
            Algorithm::Ecdsa { curve } => Some(match curve {
                EcdsaCurve::NistP256 => 256,
                EcdsaCurve::NistP384 => 384,
                EcdsaCurve::NistP521 => 521,
            }),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn fingerprint_and_picture_equal_those_of_ssh_keygen() {
        let dir = tempfile::tempdir().unwrap();
        for (kind, bits) in [
            ("ed25519", "256"),
            ("ecdsa", "256"),
            ("ecdsa", "384"),
            ("ecdsa", "521"),
            ("rsa", "2048"),
        ] {
            let path = dir.path().join(format!("{kind}{bits}"));
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", kind, "-b", bits, "-N", "", "-f"])
                .arg(&path)
                .status();
            if made.is_err() {
                println!("skipped: no ssh-keygen on this machine");
                return;
            }
            let public = path.with_extension("pub");
            let shown = Command::new("ssh-keygen")
                .arg("-lvf")
                .arg(&public)
                .output()
                .unwrap();
            let shown = String::from_utf8(shown.stdout).unwrap();
            let key = PublicKey::from_openssh(&std::fs::read_to_string(&public).unwrap()).unwrap();
            let (first, picture) = shown.split_once('\n').unwrap();
            assert_eq!(randomart(&key), picture.trim_end(), "{kind}");
            assert_eq!(first.split(' ').nth(1), Some(&*fingerprint(&key)));
            assert_eq!(
                fingerprint_of_blob(&key.to_bytes().unwrap()),
                fingerprint(&key)
            );
            assert!(first.ends_with(&format!("({})", algorithm_word(&key))));
        }
    }
}
