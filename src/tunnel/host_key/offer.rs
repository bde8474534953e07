//! What a server shows of itself, in the form in which it is compared.

use russh::keys::{Certificate, PublicKey};

/// A key, and what its certificate says where there is one.
#[derive(Debug, Clone)]
pub(super) struct Blobs {
    /// The key in wire format, without its certificate.
    pub(super) key: Vec<u8>,
    pub(super) certificate: Option<Stamp>,
}

/// What identifies a certificate.
#[derive(Debug, Clone)]
pub(super) struct Stamp {
    /// The key of the authority in wire format.
    pub(super) authority: Vec<u8>,
    pub(super) serial: u64,
    pub(super) id: String,
}

impl Blobs {
    /// `None` for a key that cannot be written, which no file knows.
    pub(super) fn of_key(key: &PublicKey) -> Option<Self> {
        Some(Self {
            key: key.to_bytes().ok()?,
            certificate: None,
        })
    }

    pub(super) fn of_certificate(certificate: &Certificate) -> Option<Self> {
        let blob = |key: &_| PublicKey::from(Clone::clone(key)).to_bytes().ok();
        Some(Self {
            key: blob(certificate.public_key())?,
            certificate: Some(Stamp {
                authority: blob(certificate.signature_key())?,
                serial: certificate.serial(),
                id: certificate.key_id().to_owned(),
            }),
        })
    }

    /// True for the key itself and for the authority of its certificate.
    pub(super) fn includes(&self, blob: &[u8]) -> bool {
        let authority = self.certificate.as_ref().map(|stamp| &stamp.authority);
        self.key == blob || authority.is_some_and(|authority| authority == blob)
    }
}
