//! TLS to a gateway: a pinned certificate replaces chain and name, otherwise a public authority counts.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, InvalidMessage, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::dial::BoxedStream;
use crate::layer::{Layer, LayerError, Retry};

/// For the TLS handshake.
const TLS_DEADLINE: Duration = Duration::from_secs(10);

/// SHA-256 over a certificate's DER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Reads hex with or without colons, in any case, with or without `sha256:` in front.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = match text.get(..7) {
            Some(head) if head.eq_ignore_ascii_case("sha256:") => text.get(7..)?,
            _ => text,
        };
        let digits: String = text.chars().filter(|c| *c != ':').collect();
        if digits.len() != 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let mut bytes = [0; 32];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(digits.get(i * 2..i * 2 + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// Of a certificate in DER.
    pub fn of(certificate: &[u8]) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Accepts exactly one certificate. The handshake's signature is still checked, so that the peer must
/// hold the key. Official gateways make certificates without a subject name, which the ordinary
/// verifier refuses.
#[derive(Debug)]
struct Pinned {
    pin: Fingerprint,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found = Fingerprint::of(leaf);
        if found == self.pin {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::General(format!(
                "its certificate is {found}, pinned is {}",
                self.pin
            )))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// TLS with exactly one certificate on the other end.
///
/// # Errors
/// When the crypto library has no protocol version to offer.
pub fn pinned(pin: &Fingerprint) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let verifier = Pinned {
        pin: *pin,
        algorithms,
    };
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

/// TLS with a certificate that a public authority signed for the name.
fn public() -> Result<ClientConfig, rustls::Error> {
    let roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// Wraps a connection to `host` in TLS, within ten seconds.
///
/// # Errors
/// A [`LayerError`] of the layer port; a bad certificate needs attention, a lost connection another try.
pub async fn connect<S>(
    stream: S,
    host: &str,
    pin: Option<&Fingerprint>,
) -> Result<BoxedStream, LayerError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let fail = |why: String| {
        LayerError::new(Layer::Port, format!("TLS with {host} failed: {why}"))
            .next("compare the fingerprint with the one the gateway printed, or use SSH")
            .retry(Retry::Attention)
    };
    let config = pin.map_or_else(public, pinned);
    let config = config.map_err(|error| fail(error.to_string()))?;
    let name = ServerName::try_from(host.to_owned()).map_err(|error| fail(error.to_string()))?;
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
    match timeout(TLS_DEADLINE, connecting).await {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(error)) => {
            let of_tls = error
                .get_ref()
                .and_then(|inner| inner.downcast_ref::<rustls::Error>());
            Err(match of_tls {
                // Its first bytes were no TLS at all.
                Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
                    LayerError::new(
                        Layer::Port,
                        format!("{host} does not speak TLS on this port"),
                    )
                    .next("use ws:// instead of wss://, or set gateway.tls.enabled there")
                    .retry(Retry::Attention)
                }
                // A bad certificate is for a person; a lost connection is not.
                Some(_) => fail(error.to_string()),
                None => fail(error.to_string()).retry(Retry::Backoff),
            })
        }
        Err(_) => Err(
            fail(format!("no answer within {} s", TLS_DEADLINE.as_secs())).retry(Retry::Backoff),
        ),
    }
}
