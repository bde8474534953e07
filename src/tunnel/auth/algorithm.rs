//! Which kinds of keys may be used: `PubkeyAcceptedAlgorithms` and `RequiredRSASize`.

use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, HashAlg, PublicKey};

use crate::tunnel::algorithms::PUBLIC_KEYS;
use crate::tunnel::spec::HopSpec;

/// Whether a key may be used for this server, by itself or under a certificate.
///
/// # Errors
/// A note for the message.
pub(super) fn check(
    hop: &HopSpec,
    key: &PublicKey,
    certified: bool,
    name: &str,
) -> Result<(), String> {
    if let KeyData::Rsa(rsa) = key.key_data()
        && rsa.key_size() < hop.required_rsa_size
    {
        return Err(format!(
            "{name} has {} bits and RequiredRSASize asks for {}",
            rsa.key_size(),
            hop.required_rsa_size
        ));
    }
    let allowed = match key.algorithm() {
        Algorithm::Rsa { .. } => !rsa_hashes(hop, certified).is_empty(),
        other => is_allowed(hop, &other, certified),
    };
    if allowed {
        return Ok(());
    }
    Err(format!(
        "{name} is of a kind that PubkeyAcceptedAlgorithms leaves out ({})",
        key.algorithm()
    ))
}

/// The hashes that an RSA key may sign with, best first; `None` is SHA-1.
pub(super) fn rsa_hashes(hop: &HopSpec, certified: bool) -> Vec<Option<HashAlg>> {
    [Some(HashAlg::Sha512), Some(HashAlg::Sha256), None]
        .into_iter()
        .filter(|hash| is_allowed(hop, &Algorithm::Rsa { hash: *hash }, certified))
        .collect()
}

/// The hash for a server whose best is `best`; `None` when there is none in common.
pub(super) fn choose(
    allowed: &[Option<HashAlg>],
    best: Option<HashAlg>,
) -> Option<Option<HashAlg>> {
    let takes = |hash: &Option<HashAlg>| match best {
        Some(HashAlg::Sha512) => hash.is_some(),
        best => *hash == best,
    };
    allowed.iter().copied().find(takes)
}

fn is_allowed(hop: &HopSpec, algorithm: &Algorithm, certified: bool) -> bool {
    let name = if certified {
        algorithm.to_certificate_type()
    } else {
        algorithm.to_string()
    };
    match &hop.pubkey_algorithms {
        Some(list) => list.contains(&name),
        None => PUBLIC_KEYS.default.contains(&name.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use russh::keys::PrivateKey;

    use super::*;
    use crate::loopback_ssh::fresh_key;

    fn hop(list: Option<&[&str]>) -> HopSpec {
        HopSpec {
            pubkey_algorithms: list.map(|list| list.iter().map(|n| (*n).to_owned()).collect()),
            ..HopSpec::bare("desktop", 22, "me")
        }
    }

    fn rsa() -> PublicKey {
        let key = PrivateKey::from_openssh(include_str!("../../../tests/data/ssh/rsa")).unwrap();
        key.public_key().clone()
    }

    #[test]
    fn a_list_leaves_kinds_out_and_silence_takes_all_that_is_safe() {
        let key = fresh_key().unwrap().public_key().clone();
        assert_eq!(check(&hop(None), &key, false, "key x"), Ok(()));
        assert_eq!(check(&hop(None), &key, true, "key x"), Ok(()));
        assert_eq!(check(&hop(None), &rsa(), false, "key x"), Ok(()));
        let only = hop(Some(&["rsa-sha2-256", "ssh-ed25519"]));
        assert_eq!(check(&only, &key, false, "key x"), Ok(()));
        assert!(check(&only, &key, true, "certificate x").is_err());
        let only = hop(Some(&["rsa-sha2-256"]));
        assert_eq!(
            check(&only, &key, false, "key x").unwrap_err(),
            "key x is of a kind that PubkeyAcceptedAlgorithms leaves out (ssh-ed25519)"
        );
    }

    #[test]
    fn a_short_rsa_key_is_named_with_its_length() {
        let mut hop = hop(None);
        hop.required_rsa_size = 16_384;
        let note = check(&hop, &rsa(), false, "key x").unwrap_err();
        assert!(note.contains("RequiredRSASize asks for 16384"), "{note}");
    }

    #[test]
    fn rsa_signs_with_the_best_hash_that_both_sides_take() {
        let (sha1, sha256, sha512) = (None, Some(HashAlg::Sha256), Some(HashAlg::Sha512));
        let ours = rsa_hashes(&hop(None), false);
        assert_eq!(ours, [sha512, sha256]);
        assert_eq!(choose(&ours, sha512), Some(sha512));
        assert_eq!(choose(&ours, sha256), Some(sha256));
        assert_eq!(choose(&ours, sha1), None);
        let ours = rsa_hashes(&hop(Some(&["rsa-sha2-256"])), false);
        assert_eq!(choose(&ours, sha512), Some(sha256));
        let ours = rsa_hashes(&hop(Some(&["rsa-sha2-512-cert-v01@openssh.com"])), true);
        assert_eq!(ours, [sha512]);
        let ours = rsa_hashes(&hop(Some(&["ssh-rsa"])), false);
        assert_eq!(choose(&ours, sha1), Some(sha1));
    }
}
