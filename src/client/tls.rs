//! TLS to a gateway: a pinned certificate replaces chain and name, otherwise a public authority counts.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature,
    verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::dial::BoxedStream;
use super::tls_fault::Attempted;
use crate::layer::LayerError;

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

impl Pinned {
    fn new(pin: &Fingerprint, provider: &CryptoProvider) -> Self {
        Self {
            pin: *pin,
            algorithms: provider.signature_verification_algorithms,
        }
    }
}

/// TLS with exactly one certificate on the other end.
///
/// # Errors
/// When the crypto library has no protocol version to offer.
pub fn pinned(pin: &Fingerprint) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    verified_by(Arc::new(Pinned::new(pin, &provider)), provider)
}

fn verified_by(
    verifier: Arc<dyn ServerCertVerifier>,
    provider: Arc<CryptoProvider>,
) -> Result<ClientConfig, rustls::Error> {
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

/// Notes the certificate that is shown before it is judged.
#[derive(Debug)]
struct Noting {
    judge: Arc<dyn ServerCertVerifier>,
    shown: Arc<OnceLock<Fingerprint>>,
}

impl ServerCertVerifier for Noting {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let _ = self.shown.set(Fingerprint::of(leaf));
        self.judge
            .verify_server_cert(leaf, between, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.judge
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.judge
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.judge.supported_verify_schemes()
    }
}

/// Who judges the certificate: the pin where there is one, else the authorities.
fn judge(
    roots: RootCertStore,
    pin: Option<&Fingerprint>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, rustls::Error> {
    if let Some(pin) = pin {
        return Ok(Arc::new(Pinned::new(pin, provider)));
    }
    let builder = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone());
    let judge = builder
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    Ok(judge)
}

/// Wraps a connection to `host` in TLS, within ten seconds. Without a pin the certificate must be one that
/// a public authority signed for the name.
///
/// # Errors
/// A [`LayerError`] of the layer websocket, because the port is there; a bad certificate needs attention,
/// a lost connection another try.
pub async fn connect<S>(
    stream: S,
    host: &str,
    pin: Option<&Fingerprint>,
) -> Result<BoxedStream, LayerError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    connect_with(roots, stream, host, pin).await
}

/// As [`connect`], with these authorities.
pub(super) async fn connect_with<S>(
    roots: RootCertStore,
    stream: S,
    host: &str,
    pin: Option<&Fingerprint>,
) -> Result<BoxedStream, LayerError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let shown: Arc<OnceLock<Fingerprint>> = Arc::default();
    let attempted = || Attempted {
        host,
        pin,
        shown: shown.get().copied(),
    };
    let config = || {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let noting = Noting {
            judge: judge(roots, pin, &provider)?,
            shown: Arc::clone(&shown),
        };
        verified_by(Arc::new(noting), provider)
    };
    let config = config().map_err(|error| attempted().no_tls(&error))?;
    let name = ServerName::try_from(host.to_owned()).map_err(|_| attempted().no_name())?;
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
    match timeout(TLS_DEADLINE, connecting).await {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(error)) => Err(attempted().failed(&error)),
        Err(_) => Err(attempted().silent(TLS_DEADLINE)),
    }
}
