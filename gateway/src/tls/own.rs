//! The certificate of our own making: one key and one certificate in the state directory, owner-only.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clawline::owner_file;
use clawline::secret::Secret;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::crypto::CryptoProvider;

use super::{Certificate, TlsError};

/// As official gateways name theirs, with our name.
const COMMON_NAME: &str = "clawline-gateway";
/// About ten years: clients pin the certificate, and each new one has to be carried to all of them.
const LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// Clocks of clients may be behind ours.
const BACKDATED: Duration = Duration::from_secs(24 * 60 * 60);

/// Certificate and key in this directory.
pub(super) fn files(dir: &Path) -> [PathBuf; 2] {
    [dir.join("cert.pem"), dir.join("key.pem")]
}

/// The certificate in `dir`; where `names` are given it is made, for them and the loopback ones, when there
/// is none.
///
/// # Errors
/// [`TlsError`]; one that is there and cannot be used is never replaced.
pub(super) fn read_or_make(
    dir: &Path,
    names: Option<&[String]>,
    provider: &CryptoProvider,
) -> Result<Certificate, TlsError> {
    let [certificate, key] = files(dir);
    if let (false, Some(names)) = (certificate.exists(), names) {
        renew(dir, names)?;
    } else if !key.exists() {
        return Err(TlsError::KeyGone { path: key });
    }
    let read = Certificate::read_unchecked(&certificate, &key, provider)?;
    let next = "run clawline-gateway tls renew, and give clients the new fingerprint";
    read.check_dates(&certificate, next)?;
    Ok(read.certificate)
}

/// The certificate in `dir` as it is, expired or not; `None` when there is none.
///
/// # Errors
/// [`TlsError`].
pub(crate) fn read(dir: &Path) -> Result<Option<Certificate>, TlsError> {
    let [certificate, key] = files(dir);
    if !certificate.exists() {
        return Ok(None);
    }
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let read = Certificate::read_unchecked(&certificate, &key, &provider)?;
    Ok(Some(read.certificate))
}

/// Makes a certificate with a key of its own, in the place of the one that may be there. Every client that
/// pins the old one has to be told.
///
/// # Errors
/// [`TlsError`].
pub(crate) fn renew(dir: &Path, names: &[String]) -> Result<(), TlsError> {
    let made = make(names).map_err(|error| TlsError::Make(error.to_string()))?;
    let [certificate, key] = files(dir);
    let write = |path: &Path, text: String| {
        owner_file::replace(path, &Secret::new(text)).map_err(|source: io::Error| TlsError::Io {
            path: path.to_owned(),
            source,
        })
    };
    // The certificate last: as long as it is absent, both are made anew.
    if certificate.exists() {
        owner_file::remove(&certificate).map_err(|source| TlsError::Io {
            path: certificate.clone(),
            source,
        })?;
    }
    write(&key, made.1)?;
    write(&certificate, made.0)
}

/// Certificate and key, PEM. ECDSA on P-256, which every TLS 1.3 client knows.
fn make(names: &[String]) -> Result<(String, String), rcgen::Error> {
    let now = SystemTime::now();
    let mut params = CertificateParams::default();
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + LIFETIME).into();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, COMMON_NAME);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let mut subjects: Vec<SanType> = Vec::new();
    let loopback = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    for name in loopback.iter().chain(names) {
        let subject = match name.parse::<IpAddr>() {
            Ok(address) => Some(SanType::IpAddress(address)),
            // What is no name cannot be asked for either.
            Err(_) => name.as_str().try_into().ok().map(SanType::DnsName),
        };
        subjects.extend(subject.filter(|subject| !subjects.contains(subject)));
    }
    params.subject_alt_names = subjects;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}
