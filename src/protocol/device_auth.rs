//! Device proofs: which bytes are signed, and how keys and signatures are spelled (PROTOCOL.md §3).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};

/// The fields that a proof binds together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload<'a> {
    /// Lower-case hex SHA-256 of the public key.
    pub device_id: &'a str,
    /// `client.id`.
    pub client_id: &'a str,
    /// `client.mode`.
    pub client_mode: &'a str,
    /// `operator` when none was sent.
    pub role: &'a str,
    /// As sent, in the order sent.
    pub scopes: &'a [String],
    /// Milliseconds since the epoch.
    pub signed_at: i64,
    /// The token that was sent, or nothing.
    pub token: &'a str,
    /// The challenge's nonce.
    pub nonce: &'a str,
    /// `client.platform`.
    pub platform: &'a str,
    /// `client.deviceFamily`.
    pub device_family: &'a str,
}

/// The version of the signed text; not the protocol version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadVersion {
    /// Without nonce; accepted only where `compat.payloadV1` allows it.
    V1,
    /// With nonce: what both official gateways accept.
    V2,
    /// With platform and device family as well.
    V3,
}

impl Payload<'_> {
    /// The text that is signed.
    pub fn text(&self, version: PayloadVersion) -> String {
        let (tag, with_nonce, with_platform) = match version {
            PayloadVersion::V1 => ("v1", false, false),
            PayloadVersion::V2 => ("v2", true, false),
            PayloadVersion::V3 => ("v3", true, true),
        };
        let scopes = self.scopes.join(",");
        let signed_at = self.signed_at.to_string();
        let platform = fold(self.platform);
        let family = fold(self.device_family);
        let mut fields = vec![
            tag,
            self.device_id,
            self.client_id,
            self.client_mode,
            self.role,
            &scopes,
            &signed_at,
            self.token,
        ];
        if with_nonce {
            fields.push(self.nonce);
        }
        if with_platform {
            fields.extend([platform.as_str(), family.as_str()]);
        }
        fields.join("|")
    }

    /// Whether `signature` is this key's over one of `versions`; the first that fits is returned.
    pub fn verify(
        &self,
        key: &VerifyingKey,
        signature: &Signature,
        versions: &[PayloadVersion],
    ) -> Option<PayloadVersion> {
        versions.iter().copied().find(|version| {
            key.verify_strict(self.text(*version).as_bytes(), signature)
                .is_ok()
        })
    }
}

/// Trimmed, ASCII letters lowered, everything else untouched.
fn fold(text: &str) -> String {
    text.trim().to_ascii_lowercase()
}

/// The device id of a public key.
pub fn device_id(key: &VerifyingKey) -> String {
    Sha256::digest(key.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// base64url without padding, as official clients spell keys and signatures.
pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads base64 in any of the spellings that official gateways accept.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    [&URL_SAFE_NO_PAD, &STANDARD_NO_PAD, &URL_SAFE, &STANDARD]
        .into_iter()
        .find_map(|engine| engine.decode(text).ok())
}

/// Reads a public key: base64 of 32 bytes, or SPKI PEM.
pub fn parse_public_key(text: &str) -> Option<VerifyingKey> {
    if text.contains("BEGIN PUBLIC KEY") {
        use ed25519_dalek::pkcs8::DecodePublicKey as _;
        return VerifyingKey::from_public_key_pem(text).ok();
    }
    let bytes: [u8; 32] = decode(text)?.try_into().ok()?;
    VerifyingKey::from_bytes(&bytes).ok()
}

/// Reads a signature of 64 bytes.
pub fn parse_signature(text: &str) -> Option<Signature> {
    let bytes: [u8; 64] = decode(text)?.try_into().ok()?;
    Some(Signature::from_bytes(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::hello::ConnectParams;

    /// Every recorded connect whose file says which payload was signed.
    fn recorded(text: &str) -> Vec<(ConnectParams, String)> {
        text.lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .filter_map(|line| {
                let version = line.get("deviceSignature")?.as_str()?.to_owned();
                let params = line.get("frame")?.get("params")?.clone();
                Some((serde_json::from_value(params).ok()?, version))
            })
            .collect()
    }

    #[test]
    fn recorded_proofs_of_the_official_clients_verify_as_what_they_say() {
        let files = [
            include_str!("../../tests/data/frames/v3/tui-hello.jsonl"),
            include_str!("../../tests/data/frames/v4/tui-hello.jsonl"),
            include_str!("../../tests/data/frames/v4/wire-auth-sig-v2.jsonl"),
            include_str!("../../tests/data/frames/v4/wire-device-pairing.jsonl"),
        ];
        let proofs: Vec<_> = files.into_iter().flat_map(recorded).collect();
        assert!(proofs.len() >= 4, "only {} proofs found", proofs.len());
        for (params, version) in proofs {
            let device = params.device.as_ref().expect("device");
            let key = parse_public_key(&device.public_key).expect("key");
            assert_eq!(device_id(&key), device.id);
            let auth = params.auth.clone().unwrap_or_default();
            let token = auth.token.or(auth.device_token).unwrap_or_default();
            let payload = Payload {
                device_id: &device.id,
                client_id: &params.client.id,
                client_mode: &params.client.mode,
                role: params.role.as_deref().unwrap_or("operator"),
                scopes: params.scopes.as_deref().unwrap_or_default(),
                signed_at: device.signed_at,
                token: &token,
                nonce: device.nonce.as_deref().unwrap_or_default(),
                platform: &params.client.platform,
                device_family: params.client.device_family.as_deref().unwrap_or_default(),
            };
            let signature = parse_signature(&device.signature).expect("signature");
            let all = [PayloadVersion::V3, PayloadVersion::V2, PayloadVersion::V1];
            let expected = match version.as_str() {
                "v1" => PayloadVersion::V1,
                "v2" => PayloadVersion::V2,
                _ => PayloadVersion::V3,
            };
            assert_eq!(payload.verify(&key, &signature, &all), Some(expected));
        }
    }

    #[test]
    fn keys_and_signatures_of_the_wrong_size_are_refused() {
        for text in ["", "AAAA", "not base64!", &"A".repeat(100)] {
            assert!(parse_public_key(text).is_none(), "{text}");
            assert!(parse_signature(text).is_none(), "{text}");
        }
    }
}
