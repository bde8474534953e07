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

/// The lists for this server. Strict key exchange is always offered. A `careful` offer leaves out what
/// can be tampered with where the server does not know strict key exchange (CVE-2023-48795).
pub(super) fn preferred(hop: &HopSpec, host_keys: HostKeyOffer, careful: bool) -> Preferred {
    let mut kex: Vec<kex::Name> = names(&hop.kex, &KEX);
    kex.extend([
        kex::EXTENSION_SUPPORT_AS_CLIENT,
        kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
    ]);
    let mut ciphers: Vec<cipher::Name> = names(&hop.ciphers, &algorithms::ciphers());
    if careful && ciphers.iter().any(|cipher| !needs_strict_kex(*cipher)) {
        ciphers.retain(|cipher| !needs_strict_kex(*cipher));
    }
    Preferred {
        kex: Cow::Owned(kex),
        host_key_certificates: Cow::Owned(host_keys.certificates),
        key: Cow::Owned(host_keys.keys),
        cipher: Cow::Owned(ciphers),
        mac: Cow::Owned(names::<mac::Name>(&hop.macs, &MACS)),
        compression: Cow::Borrowed(if hop.compression {
            // Only after sign-in, as ssh does it.
            &[compression::ZLIB_LEGACY, compression::NONE]
        } else {
            &[compression::NONE]
        }),
    }
}

/// True for ciphers that rely on strict key exchange: packets before the sign-in could be taken away
/// unnoticed. AES-GCM and AES-CTR count packets otherwise.
pub(super) fn needs_strict_kex(cipher: cipher::Name) -> bool {
    cipher == cipher::CHACHA20_POLY1305 || cipher.as_ref().ends_with("-cbc")
}

/// True when something is left of the lists for a server without strict key exchange.
pub(super) fn can_be_careful(hop: &HopSpec) -> bool {
    let ciphers: Vec<cipher::Name> = names(&hop.ciphers, &algorithms::ciphers());
    ciphers.iter().any(|cipher| !needs_strict_kex(*cipher))
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
        let offered = preferred(&hop, plain(), false);
        assert_eq!(*offered.cipher, [cipher::AES_256_CTR, cipher::AES_128_CBC]);
        assert_eq!(*offered.mac, [mac::HMAC_SHA1]);
        assert_eq!(offered.kex[0], kex::CURVE25519);
        assert!(
            offered
                .kex
                .contains(&kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT)
        );
        assert_eq!(offered.kex.len(), 3);
        let offered = preferred(&HopSpec::bare("h", 22, "me"), plain(), false);
        assert_eq!(offered.cipher.len(), 6);
        assert_eq!(offered.mac.len(), 4);
        assert_eq!(offered.kex[0], kex::MLKEM768X25519_SHA256);
    }

    #[test]
    fn a_careful_offer_stands_without_strict_key_exchange() {
        let offer = |ciphers: Option<Vec<String>>| {
            let hop = HopSpec {
                ciphers,
                compression: true,
                ..HopSpec::bare("h", 22, "me")
            };
            (can_be_careful(&hop), preferred(&hop, plain(), true))
        };
        let (can, offered) = offer(None);
        assert!(can && !offered.cipher.contains(&cipher::CHACHA20_POLY1305));
        assert_eq!(offered.cipher.len(), 5);
        assert_eq!(
            *offered.compression,
            [compression::ZLIB_LEGACY, compression::NONE]
        );
        // What the user asked for by name, and nothing else, stays.
        let (can, offered) = offer(Some(vec!["chacha20-poly1305@openssh.com".into()]));
        assert!(!can);
        assert_eq!(*offered.cipher, [cipher::CHACHA20_POLY1305]);
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
