//! `gateway.tls.*`: whether the port speaks TLS, and with which certificate.

use std::path::PathBuf;

/// `gateway.tls.*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum TlsSettings {
    /// Plain HTTP and WebSocket.
    #[default]
    Off,
    /// A certificate of our own, in the state directory, made once for these names and addresses.
    Own {
        /// Beside the loopback ones.
        names: Vec<String>,
    },
    /// The user's.
    Files {
        /// The chain, PEM.
        certificate: PathBuf,
        /// The key, PEM.
        key: PathBuf,
    },
}
