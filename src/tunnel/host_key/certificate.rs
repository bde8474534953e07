//! Host certificates: whether one that a server shows counts, and why not.

use std::time::{SystemTime, UNIX_EPOCH};

use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Certificate, HashAlg};

use super::name::HostName;
use crate::layer::printable;
use crate::tunnel::algorithms::CA_SIGNATURES;
use crate::tunnel::spec::HopSpec;

/// Most names that a message lists.
const MAX_NAMES: usize = 4;

/// Why a certificate does not count. The key in it is judged without it then, as ssh does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// No authority that is known for this host signed it.
    #[error("no certificate authority that is known for this host signed it")]
    Authority,
    /// Its signature does not fit.
    #[error("its signature is wrong")]
    Signature,
    /// It is for signing in.
    #[error("it is a certificate of a user, not of a host")]
    Kind,
    /// It is for others.
    #[error("it is for {0}, not for this host")]
    Principal(String),
    /// It does not count yet.
    #[error("it is not valid before {0} from now")]
    Early(String),
    /// It does not count any more.
    #[error("it expired {0} ago")]
    Expired(String),
    /// It demands something that we do not know.
    #[error("it demands what clawline does not know ({0})")]
    Demands(String),
    /// `CASignatureAlgorithms` does not have it.
    #[error("its authority signed it with {0}, which CASignatureAlgorithms does not allow")]
    Algorithm(String),
}

/// What is asked of a certificate besides that a known authority signed it.
#[derive(Debug, Clone)]
pub struct CertificateRules {
    /// How the authority may have signed.
    pub signatures: Vec<String>,
    /// The moment at which it has to be valid.
    pub now: SystemTime,
}

impl CertificateRules {
    /// What `hop` asks, now.
    pub fn of_hop(hop: &HopSpec) -> Self {
        let defaults = || CA_SIGNATURES.default.iter().map(|n| (*n).to_owned());
        Self {
            signatures: hop
                .ca_signature_algorithms
                .clone()
                .unwrap_or_else(|| defaults().collect()),
            now: SystemTime::now(),
        }
    }
}

/// Checks everything but whether the authority is a known one.
pub(super) fn check(
    certificate: &Certificate,
    name: &HostName,
    rules: &CertificateRules,
) -> Result<(), CertificateError> {
    if certificate.cert_type() != CertType::Host {
        return Err(CertificateError::Kind);
    }
    let now = rules
        .now
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    if now < certificate.valid_after() {
        return Err(CertificateError::Early(span(
            certificate.valid_after() - now,
        )));
    }
    if now >= certificate.valid_before() {
        return Err(CertificateError::Expired(span(
            now - certificate.valid_before(),
        )));
    }
    // As for ssh, a certificate that names nobody is for every host.
    let names = certificate.valid_principals();
    if !names.is_empty() && names.iter().all(|listed| listed != name.principal()) {
        let shown: Vec<String> = names.iter().take(MAX_NAMES).cloned().collect();
        return Err(CertificateError::Principal(printable(
            &shown.join(", "),
            200,
        )));
    }
    if !certificate.critical_options().is_empty() {
        let demands: Vec<&str> = certificate
            .critical_options()
            .keys()
            .take(MAX_NAMES)
            .map(String::as_str)
            .collect();
        return Err(CertificateError::Demands(printable(
            &demands.join(", "),
            200,
        )));
    }
    let algorithm = certificate.signature().algorithm();
    if !rules
        .signatures
        .iter()
        .any(|name| name == algorithm.as_str())
    {
        return Err(CertificateError::Algorithm(algorithm.as_str().to_owned()));
    }
    let authority = certificate.signature_key().fingerprint(HashAlg::Sha256);
    certificate
        .validate_at(now, [&authority])
        .map_err(|_| CertificateError::Signature)
}

/// A time in its largest unit.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests;
