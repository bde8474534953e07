//! A device's proof that it holds its key, checked in the order of PROTOCOL.md §3.3.

use clawline::protocol::Protocol;
use clawline::protocol::device_auth::{self, Payload, PayloadVersion};
use clawline::protocol::hello::{ConnectParams, DeviceProof};
use clawline::protocol::limits;

use crate::policy::Policy;

/// What is wrong with a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofFault {
    /// The id is not the hash of the key, or there is no such key.
    #[error("device identity mismatch")]
    IdMismatch,
    /// Signed too long ago, or in the future.
    #[error("device signature expired")]
    Expired,
    /// No nonce was signed.
    #[error("device nonce required")]
    NonceRequired,
    /// The nonce of another connection.
    #[error("device nonce mismatch")]
    NonceMismatch,
    /// Not this key's signature over these fields.
    #[error("device signature invalid")]
    SignatureInvalid,
}

impl ProofFault {
    /// Version 4's `details.code` and `details.reason`.
    pub fn details(self) -> (&'static str, &'static str) {
        match self {
            Self::IdMismatch => ("DEVICE_AUTH_DEVICE_ID_MISMATCH", "device-id-mismatch"),
            Self::Expired => ("DEVICE_AUTH_SIGNATURE_EXPIRED", "device-signature-stale"),
            Self::NonceRequired => ("DEVICE_AUTH_NONCE_REQUIRED", "device-nonce-missing"),
            Self::NonceMismatch => ("DEVICE_AUTH_NONCE_MISMATCH", "device-nonce-mismatch"),
            Self::SignatureInvalid => ("DEVICE_AUTH_SIGNATURE_INVALID", "device-signature"),
        }
    }
}

/// What a proof is checked against.
#[derive(Debug, Clone, Copy)]
pub struct Against<'a> {
    /// The version of the connection.
    pub version: Protocol,
    /// The challenge of this connection.
    pub nonce: &'a str,
    /// ms since the epoch.
    pub now: i64,
    /// Whether a signature without nonce may pass.
    pub payload_v1: bool,
    /// Which checks are made.
    pub policy: &'a Policy,
}

/// Checks the device of a connect; the device id in it is proven when this is `Ok`.
///
/// # Errors
/// The first [`ProofFault`].
pub fn check(
    params: &ConnectParams,
    device: &DeviceProof,
    against: Against<'_>,
) -> Result<(), ProofFault> {
    let key = device_auth::parse_public_key(&device.public_key).ok_or(ProofFault::IdMismatch)?;
    if against.policy.device_id && device_auth::device_id(&key) != device.id {
        return Err(ProofFault::IdMismatch);
    }
    let skew = match against.version {
        Protocol::V3 => limits::SIGNATURE_SKEW_V3,
        Protocol::V4 => limits::SIGNATURE_SKEW_V4,
    };
    if against.policy.signature_age
        && u128::from(against.now.abs_diff(device.signed_at)) > skew.as_millis()
    {
        return Err(ProofFault::Expired);
    }
    let nonce = device.nonce.as_deref().unwrap_or_default();
    let versions: &[PayloadVersion] = if nonce.trim().is_empty() {
        if !against.payload_v1 {
            return Err(ProofFault::NonceRequired);
        }
        &[PayloadVersion::V1]
    } else if against.policy.nonce && nonce != against.nonce {
        return Err(ProofFault::NonceMismatch);
    } else {
        &[PayloadVersion::V3, PayloadVersion::V2]
    };
    if !against.policy.signature {
        return Ok(());
    }
    let signature =
        device_auth::parse_signature(&device.signature).ok_or(ProofFault::SignatureInvalid)?;
    let auth = params.auth.as_ref();
    let token = auth
        .and_then(|a| {
            [&a.token, &a.device_token, &a.bootstrap_token]
                .into_iter()
                .find_map(|t| t.as_deref().filter(|t| !t.is_empty()))
        })
        .unwrap_or_default();
    let payload = Payload {
        device_id: &device.id,
        client_id: &params.client.id,
        client_mode: &params.client.mode,
        role: params.role.as_deref().unwrap_or("operator"),
        scopes: params.scopes.as_deref().unwrap_or_default(),
        signed_at: device.signed_at,
        token,
        nonce,
        platform: &params.client.platform,
        device_family: params.client.device_family.as_deref().unwrap_or_default(),
    };
    payload
        .verify(&key, &signature, versions)
        .map(|_| ())
        .ok_or(ProofFault::SignatureInvalid)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use clawline::identity::Identity;
    use serde_json::json;

    use super::*;

    const NONCE: &str = "n-1";
    const NOW: i64 = 1_000_000_000;

    fn proof(
        identity: &Identity,
        version: PayloadVersion,
        nonce: Option<&str>,
    ) -> (ConnectParams, DeviceProof) {
        let params: ConnectParams = serde_json::from_value(json!({
            "minProtocol": 3, "maxProtocol": 4, "role": "operator",
            "client": {"id": "cli", "mode": "cli", "version": "1", "platform": "Linux"},
            "scopes": ["operator.read"], "auth": {"token": "t"},
        }))
        .unwrap();
        let signature = identity.sign(
            &Payload {
                device_id: identity.device_id(),
                client_id: "cli",
                client_mode: "cli",
                role: "operator",
                scopes: &["operator.read".to_owned()],
                signed_at: NOW,
                token: "t",
                nonce: nonce.unwrap_or_default(),
                platform: "linux",
                device_family: "",
            },
            version,
        );
        let device = DeviceProof {
            id: identity.device_id().to_owned(),
            public_key: identity.public_key(),
            signature,
            signed_at: NOW,
            nonce: nonce.map(str::to_owned),
        };
        (params, device)
    }

    fn against(version: Protocol) -> Against<'static> {
        static ALL: LazyLock<Policy> = LazyLock::new(Policy::default);
        Against {
            policy: &ALL,
            version,
            nonce: NONCE,
            now: NOW,
            payload_v1: false,
        }
    }

    #[test]
    fn both_versions_take_payloads_3_and_2_with_the_nonce_and_never_1() {
        let identity = Identity::from_seed([1; 32]);
        for protocol in [Protocol::V3, Protocol::V4] {
            for (version, good) in [
                (PayloadVersion::V3, true),
                (PayloadVersion::V2, true),
                (PayloadVersion::V1, false),
            ] {
                let (params, device) = proof(&identity, version, Some(NONCE));
                let verdict = check(&params, &device, against(protocol));
                assert_eq!(verdict.is_ok(), good, "{protocol:?} {version:?}");
            }
        }
    }

    #[test]
    fn a_payload_without_nonce_passes_only_with_the_switch() {
        let identity = Identity::from_seed([1; 32]);
        let (params, device) = proof(&identity, PayloadVersion::V1, None);
        let mut with = against(Protocol::V3);
        assert_eq!(
            check(&params, &device, with),
            Err(ProofFault::NonceRequired)
        );
        with.payload_v1 = true;
        assert_eq!(check(&params, &device, with), Ok(()));
    }

    #[test]
    fn each_fault_is_told_apart_in_its_order() {
        let identity = Identity::from_seed([1; 32]);
        let (params, good) = proof(&identity, PayloadVersion::V3, Some(NONCE));
        let with = against(Protocol::V4);
        let other = Identity::from_seed([2; 32]);
        type Spoil = Box<dyn Fn(&mut DeviceProof)>;
        let cases: Vec<(ProofFault, Spoil)> = vec![
            (ProofFault::IdMismatch, Box::new(|d| d.id = "0".repeat(64))),
            (
                ProofFault::IdMismatch,
                Box::new(|d| d.public_key = "AAAA".into()),
            ),
            (
                ProofFault::IdMismatch,
                Box::new(move |d| d.public_key = other.public_key()),
            ),
            (ProofFault::Expired, Box::new(|d| d.signed_at -= 180_000)),
            (ProofFault::Expired, Box::new(|d| d.signed_at += 180_000)),
            (
                ProofFault::NonceRequired,
                Box::new(|d| d.nonce = Some("  ".into())),
            ),
            (
                ProofFault::NonceMismatch,
                Box::new(|d| d.nonce = Some("deadbeef".into())),
            ),
            (
                ProofFault::SignatureInvalid,
                Box::new(|d| d.signature = "x".into()),
            ),
            (
                ProofFault::SignatureInvalid,
                Box::new(|d| d.signature = "A".repeat(86)),
            ),
            (ProofFault::SignatureInvalid, Box::new(|d| d.signed_at += 1)),
        ];
        for (fault, spoil) in cases {
            let mut device = good.clone();
            spoil(&mut device);
            assert_eq!(check(&params, &device, with), Err(fault));
        }
    }

    #[test]
    fn small_order_keys_prove_nothing() {
        // The identity point as key and a signature of zeros verifies under lax rules.
        let mut point = [0u8; 32];
        point[0] = 1;
        let public_key = device_auth::encode(&point);
        let Some(key) = device_auth::parse_public_key(&public_key) else {
            return;
        };
        let (params, mut device) = proof(
            &Identity::from_seed([1; 32]),
            PayloadVersion::V3,
            Some(NONCE),
        );
        device.id = device_auth::device_id(&key);
        device.public_key = public_key;
        let mut signature = [0u8; 64];
        signature[0] = 1;
        device.signature = device_auth::encode(&signature);
        assert_eq!(
            check(&params, &device, against(Protocol::V4)),
            Err(ProofFault::SignatureInvalid)
        );
    }
}
