//! The id under which a laptop keeps what belongs to one gateway: device tokens, outbox, drafts.

use std::fmt;

use sha2::{Digest, Sha256};

/// An id: 32 hex digits, made from how the gateway is reached. It is a directory name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GatewayId(String);

impl GatewayId {
    /// Behind SSH: the final host (or its `HostKeyAlias`), its port, the user, and the far end.
    pub fn over_ssh(host: &str, port: u16, user: &str, far_end: &str) -> Self {
        Self::of(&["ssh", host, &port.to_string(), user, far_end])
    }

    /// Direct: the normalised URL with its TLS pin.
    pub fn direct(url: &str) -> Self {
        Self::of(&["direct", url])
    }

    fn of(parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            // The length keeps ("ab", "c") apart from ("a", "bc").
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let digest = hash.finalize();
        Self(digest.iter().take(16).map(|b| format!("{b:02x}")).collect())
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GatewayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_makes_another_gateway() {
        let base = GatewayId::over_ssh("desktop", 22, "me", "127.0.0.1:18789");
        assert_eq!(base.as_str().len(), 32);
        for other in [
            GatewayId::over_ssh("desktop2", 22, "me", "127.0.0.1:18789"),
            GatewayId::over_ssh("desktop", 23, "me", "127.0.0.1:18789"),
            GatewayId::over_ssh("desktop", 22, "you", "127.0.0.1:18789"),
            GatewayId::over_ssh("desktop", 22, "me", "127.0.0.1:19001"),
            GatewayId::direct("ws://127.0.0.1:18789"),
        ] {
            assert_ne!(base, other);
        }
    }
}
