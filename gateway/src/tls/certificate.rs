//! A certificate chain and its key, read from PEM files and checked before anybody sees it.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use clawline::client::Fingerprint;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

use super::TlsError;

/// Largest file that is read.
const MAX_FILE: u64 = 1024 * 1024;

/// A certificate that may be shown.
#[derive(Debug)]
pub(crate) struct Certificate {
    pub(crate) certified: Arc<CertifiedKey>,
    /// What clients pin.
    pub(crate) fingerprint: Fingerprint,
    /// Seconds since the epoch.
    pub(crate) expires: i64,
    /// The same as a date, `2036-11-20`.
    pub(crate) expires_on: String,
}

impl Certificate {
    /// Reads and checks the user's files: readable, the key not by everybody, belonging together, valid
    /// today.
    ///
    /// # Errors
    /// [`TlsError`].
    pub(super) fn read(
        certificate: &Path,
        key: &Path,
        provider: &CryptoProvider,
    ) -> Result<Self, TlsError> {
        let read = Self::read_unchecked(certificate, key, provider)?;
        read.check_dates(
            certificate,
            "renew it, or name another in gateway.tls.certPath",
        )?;
        Ok(read.certificate)
    }

    /// As [`Certificate::read`], valid today or not.
    pub(super) fn read_unchecked(
        certificate: &Path,
        key: &Path,
        provider: &CryptoProvider,
    ) -> Result<Dated, TlsError> {
        let no_certificate = |why: String| TlsError::NoCertificate {
            path: certificate.to_owned(),
            why,
        };
        let no_key = |why: String| TlsError::NoKey {
            path: key.to_owned(),
            why,
        };
        let text = read_file(certificate)?;
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&text)
            .collect::<Result<_, _>>()
            .map_err(|error| no_certificate(error.to_string()))?;
        let leaf = chain
            .first()
            .cloned()
            .ok_or_else(|| no_certificate("there is no certificate in it".into()))?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&leaf)
            .map_err(|error| no_certificate(error.to_string()))?;
        let validity = parsed.validity();
        if is_open_to_all(key)? {
            return Err(TlsError::KeyOpenToOthers {
                path: key.to_owned(),
            });
        }
        let private = PrivateKeyDer::from_pem_slice(&read_file(key)?)
            .map_err(|error| no_key(error.to_string()))?;
        let certified =
            CertifiedKey::from_der(chain, private, provider).map_err(|error| match error {
                Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::Mismatch {
                    certificate: certificate.to_owned(),
                    key: key.to_owned(),
                },
                error => no_key(error.to_string()),
            })?;
        Ok(Dated {
            certificate: Self {
                certified: Arc::new(certified),
                fingerprint: Fingerprint::of(&leaf),
                expires: validity.not_after.timestamp(),
                expires_on: date(&validity.not_after),
            },
            starts: validity.not_before.timestamp(),
            starts_on: date(&validity.not_before),
        })
    }

    /// Whole days until it expires; negative afterwards.
    pub(crate) fn days_left(&self) -> i64 {
        (self.expires - now()).div_euclid(24 * 60 * 60)
    }
}

/// A certificate, and from when it holds.
pub(super) struct Dated {
    pub(super) certificate: Certificate,
    starts: i64,
    starts_on: String,
}

impl Dated {
    /// Refuses a certificate that does not hold today.
    pub(super) fn check_dates(&self, path: &Path, next: &'static str) -> Result<(), TlsError> {
        let why = match now() {
            now if now >= self.certificate.expires => {
                format!("expired on {}", self.certificate.expires_on)
            }
            now if now < self.starts => {
                format!(
                    "holds only from {} (is this machine's clock right?)",
                    self.starts_on
                )
            }
            _ => return Ok(()),
        };
        Err(TlsError::NotValidNow {
            path: path.to_owned(),
            why,
            next,
        })
    }
}

fn date(time: &x509_parser::time::ASN1Time) -> String {
    time.to_datetime().date().to_string()
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

fn read_file(path: &Path) -> Result<Vec<u8>, TlsError> {
    let fail = |source| TlsError::Io {
        path: path.to_owned(),
        source,
    };
    let metadata = std::fs::metadata(path).map_err(fail)?;
    if !metadata.is_file() || metadata.len() > MAX_FILE {
        return Err(fail(std::io::Error::other("this is no PEM file")));
    }
    std::fs::read(path).map_err(fail)
}

/// Whether every user may read it; a group may, as systems that share certificates do it.
fn is_open_to_all(path: &Path) -> Result<bool, TlsError> {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = std::fs::metadata(path).map_err(|source| TlsError::Io {
        path: path.to_owned(),
        source,
    })?;
    Ok(metadata.permissions().mode() & 0o007 != 0)
}
