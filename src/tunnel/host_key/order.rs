//! Which host key algorithms a server is offered, by what is known of it.

use russh::keys::{Algorithm, EcdsaCurve, HashAlg};

use super::known_hosts::KnownHosts;
use super::line::Marker;
use super::name::HostName;

/// Host key algorithms that we speak, certificates aside, best first. SHA-1 signatures (`ssh-rsa`) are never among them.
pub const SUPPORTED_HOST_KEYS: [Algorithm; 6] = [
    Algorithm::Ed25519,
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP256,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP384,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP521,
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha512),
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha256),
    },
];

/// How the names of certificate algorithms end.
const CERTIFICATE: &str = "-cert-v01@openssh.com";

/// What a server is offered; certificates come before plain keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKeyOffer {
    /// The kinds of keys inside certificates, best first.
    pub certificates: Vec<Algorithm>,
    /// The kinds of plain keys, best first.
    pub keys: Vec<Algorithm>,
}

impl HostKeyOffer {
    /// True when nothing that we speak is allowed.
    pub fn is_empty(&self) -> bool {
        self.certificates.is_empty() && self.keys.is_empty()
    }
}

impl KnownHosts {
    /// What to offer: those algorithms first for which the host is known, so that a server with several
    /// keys shows the one that can be compared. `allowed` is `HostKeyAlgorithms`; names that we do not
    /// speak are left out, and `ssh-rsa` (SHA-1) always is.
    ///
    /// Certificates are asked for where one could matter: an authority is known for the host, or one
    /// could be revoked, or nothing but certificates is allowed.
    pub fn offer(&self, name: &HostName, allowed: Option<&[String]>) -> HostKeyOffer {
        let named = |wanted: &str| {
            SUPPORTED_HOST_KEYS
                .into_iter()
                .find(|a| a.as_str() == wanted)
        };
        let (mut keys, certificates) = match allowed {
            None => (SUPPORTED_HOST_KEYS.to_vec(), SUPPORTED_HOST_KEYS.to_vec()),
            Some(allowed) => (
                allowed.iter().filter_map(|name| named(name)).collect(),
                allowed
                    .iter()
                    .filter_map(|name| named(name.strip_suffix(CERTIFICATE)?))
                    .collect::<Vec<_>>(),
            ),
        };
        let known: Vec<&str> = self
            .of_host(name)
            .filter_map(|entry| entry.line.key.as_ref().ok())
            .map(|key| key.algorithm.as_str())
            .collect();
        // A stable sort keeps the order of preference on both sides.
        keys.sort_by_key(|algorithm| !known.contains(&key_kind(algorithm)));
        let wanted = keys.is_empty() || self.may_need_certificate(name);
        HostKeyOffer {
            certificates: if wanted { certificates } else { Vec::new() },
            keys,
        }
    }

    fn may_need_certificate(&self, name: &HostName) -> bool {
        let plain = name.on_default_port();
        !self.revocations.is_empty()
            || self.entries.iter().any(|entry| {
                entry.line.marker != Marker::Host && entry.speaks_of(name, plain.as_ref())
            })
    }
}

/// The kind of key behind a signature algorithm, as known_hosts names it.
fn key_kind(algorithm: &Algorithm) -> &str {
    match algorithm {
        Algorithm::Rsa { .. } => "ssh-rsa",
        other => other.as_str(),
    }
}
