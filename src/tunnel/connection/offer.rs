//! Which algorithms a server is offered, and when session keys are renewed.

use std::borrow::Cow;
use std::time::Duration;

use russh::{Limits, Preferred, cipher, compression, kex, mac};

use crate::tunnel::algorithms::{self, Algorithms, KEX, MACS};
use crate::tunnel::host_key::HostKeyOffer;
use crate::tunnel::spec::{HopSpec, RekeyLimit};

/// The most that may be sent or received under one key; russh allows no more.
const REKEY_BYTES: u64 = 1 << 30;
/// The least; below, a connection would do little else.
const LEAST_REKEY_BYTES: u64 = 1 << 20;
/// How long one key is used when `RekeyLimit` does not say.
const REKEY_TIME: Duration = Duration::from_secs(60 * 60);
/// The shortest time.
const LEAST_REKEY_TIME: Duration = Duration::from_secs(10);

/// The lists for this server. Strict key exchange is always offered.
pub(super) fn preferred(hop: &HopSpec, host_keys: HostKeyOffer) -> Preferred {
    let mut kex: Vec<kex::Name> = names(&hop.kex, &KEX);
    kex.extend([
        kex::EXTENSION_SUPPORT_AS_CLIENT,
        kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
    ]);
    Preferred {
        kex: Cow::Owned(kex),
        host_key_certificates: Cow::Owned(host_keys.certificates),
        key: Cow::Owned(host_keys.keys),
        cipher: Cow::Owned(names::<cipher::Name>(&hop.ciphers, &algorithms::ciphers())),
        mac: Cow::Owned(names::<mac::Name>(&hop.macs, &MACS)),
        compression: Cow::Borrowed(&[compression::NONE]),
    }
}

/// `RekeyLimit` within what russh takes.
pub(super) fn limits(limit: RekeyLimit) -> Limits {
    let bytes = limit
        .bytes
        .unwrap_or(REKEY_BYTES)
        .clamp(LEAST_REKEY_BYTES, REKEY_BYTES);
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX >> 2);
    let time = limit.time.unwrap_or(REKEY_TIME).max(LEAST_REKEY_TIME);
    Limits::new(bytes, bytes, time)
}

/// The list of ssh_config, else ours, as russh's names.
fn names<N>(said: &Option<Vec<String>>, ours: &Algorithms) -> Vec<N>
where
    N: for<'a> TryFrom<&'a str>,
{
    match said {
        Some(said) => said.iter().filter_map(|n| N::try_from(n).ok()).collect(),
        None => ours
            .default
            .iter()
            .filter_map(|n| N::try_from(n).ok())
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use russh::keys::Algorithm;

    use super::*;

    fn plain() -> HostKeyOffer {
        HostKeyOffer {
            certificates: Vec::new(),
            keys: vec![Algorithm::Ed25519],
        }
    }

    #[test]
    fn what_ssh_config_lists_is_offered_and_nothing_else() {
        let hop = HopSpec {
            ciphers: Some(vec!["aes256-ctr".into(), "aes128-cbc".into()]),
            macs: Some(vec!["hmac-sha1".into()]),
            kex: Some(vec!["curve25519-sha256".into()]),
            ..HopSpec::bare("h", 22, "me")
        };
        let offered = preferred(&hop, plain());
        assert_eq!(*offered.cipher, [cipher::AES_256_CTR, cipher::AES_128_CBC]);
        assert_eq!(*offered.mac, [mac::HMAC_SHA1]);
        assert_eq!(offered.kex[0], kex::CURVE25519);
        assert!(
            offered
                .kex
                .contains(&kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT)
        );
        assert_eq!(offered.kex.len(), 3);
        let offered = preferred(&HopSpec::bare("h", 22, "me"), plain());
        assert_eq!(offered.cipher.len(), 6);
        assert_eq!(offered.mac.len(), 4);
        assert_eq!(offered.kex[0], kex::MLKEM768X25519_SHA256);
    }

    #[test]
    fn keys_are_renewed_when_asked_but_not_all_the_time() {
        let rekey = |bytes, seconds: Option<u64>| {
            let time = seconds.map(Duration::from_secs);
            let limits = limits(RekeyLimit { bytes, time });
            (limits.rekey_write_limit, limits.rekey_time_limit.as_secs())
        };
        assert_eq!(rekey(None, None), (1 << 30, 3600));
        assert_eq!(rekey(Some(64 << 20), Some(60)), (64 << 20, 60));
        assert_eq!(rekey(Some(16), Some(1)), (1 << 20, 10));
        assert_eq!(rekey(Some(1 << 40), None), (1 << 30, 3600));
    }
}
