//! Servers that do not know strict key exchange, and the ciphers that are not safe with them.
//!
//! Somebody on the way could take packets out of the beginning of such a connection (CVE-2023-48795,
//! "Terrapin"), but only under ChaCha20-Poly1305 and CBC. So a connection that came to one of those is
//! given up before sign-in, and the next one offers the other ciphers alone.

use russh::cipher;

use crate::layer::{Layer, LayerError, Retry};
use crate::tunnel::memory::Memory;
use crate::tunnel::spec::HopSpec;

use super::offer;

/// What is to be known of one server.
#[derive(Debug, Clone)]
pub(super) struct Strictness {
    server: String,
    memory: Memory,
    /// Nothing else can be offered; the user chose it so.
    lenient: bool,
}

impl Strictness {
    pub(super) fn of(hop: &HopSpec, memory: &Memory) -> Self {
        Self {
            server: format!("{}:{}", hop.host, hop.port),
            memory: memory.clone(),
            lenient: !offer::can_be_careful(hop),
        }
    }

    /// True once the server has shown that it does not know strict key exchange.
    pub(super) fn is_missing(&self) -> bool {
        self.memory.lacks_strict_kex(&self.server)
    }

    /// Judges what was negotiated.
    ///
    /// # Errors
    /// The cipher needs what the server does not know. It is remembered, so that the next attempt
    /// offers the others.
    pub(super) fn check(&self, is_strict: bool, cipher: cipher::Name) -> Result<(), LayerError> {
        if is_strict || self.lenient || !offer::needs_strict_kex(cipher) {
            return Ok(());
        }
        self.memory.note_lacking_strict_kex(&self.server);
        let what = format!(
            "{} does not know strict key exchange, so {} is not used with it",
            self.server,
            cipher.as_ref().split('@').next().unwrap_or_default()
        );
        Err(LayerError::new(Layer::Ssh, what).retry(Retry::Soon))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_exposed_is_given_up_and_then_remembered() {
        let memory = Memory::default();
        let hop = HopSpec::bare("h", 22, "me");
        let server = Strictness::of(&hop, &memory);
        assert!(server.check(true, cipher::CHACHA20_POLY1305).is_ok());
        assert!(server.check(false, cipher::AES_128_GCM).is_ok());
        assert!(server.check(false, cipher::AES_256_CTR).is_ok());
        assert!(!server.is_missing());
        let error = server.check(false, cipher::CHACHA20_POLY1305).unwrap_err();
        assert!(
            error.what.contains("chacha20-poly1305 is not used"),
            "{error}"
        );
        assert!(Strictness::of(&hop, &memory).is_missing());
        assert!(!Strictness::of(&HopSpec::bare("h", 23, "me"), &memory).is_missing());
        let chosen = HopSpec {
            ciphers: Some(vec!["chacha20-poly1305@openssh.com".into()]),
            ..HopSpec::bare("other", 22, "me")
        };
        let chosen = Strictness::of(&chosen, &memory);
        assert!(chosen.check(false, cipher::CHACHA20_POLY1305).is_ok());
    }
}
