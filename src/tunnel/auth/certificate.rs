//! Certificates for people: whether one can be of use now, told before it is tried.

use std::path::Path;
use std::time::{Duration, SystemTime};

use russh::keys::Certificate;
use russh::keys::ssh_key::certificate::CertType;

use super::key_file::{self, KeyFileError};

/// Reads a certificate file. `None` when there is none. Blocking.
///
/// # Errors
/// A note for the message.
pub(super) fn read(path: &Path) -> Result<Option<Certificate>, String> {
    let shown = super::shown(path);
    let text = match key_file::read(path) {
        Ok(text) => text,
        Err(KeyFileError::Missing) => return Ok(None),
        Err(error) => return Err(format!("the certificate {shown} {error}")),
    };
    Certificate::from_openssh(text.trim())
        .map(Some)
        .map_err(|_| format!("{shown} is no certificate that clawline understands"))
}

/// Whether a certificate can let a person in at `now`.
///
/// # Errors
/// A note that names it, and how long ago it expired.
pub(super) fn check(certificate: &Certificate, name: &str, now: SystemTime) -> Result<(), String> {
    if certificate.cert_type() != CertType::User {
        return Err(format!("{name} is for a machine, not for a person"));
    }
    let now = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let (from, to) = (certificate.valid_after(), certificate.valid_before());
    if to <= now {
        let ago = in_words(Duration::from_secs(now - to));
        return Err(format!("{name} expired {ago} ago"));
    }
    if from > now {
        let wait = in_words(Duration::from_secs(from - now));
        return Err(format!(
            "{name} is not valid for another {wait} (is the clock here right?)"
        ));
    }
    Ok(())
}

/// Whom a certificate names, when `user` is not among them; a server may map names, so it is offered
/// all the same.
pub(super) fn other_names(certificate: &Certificate, user: &str) -> Option<String> {
    let names = certificate.valid_principals();
    let fits = names.is_empty() || names.iter().any(|name| name == user);
    (!fits).then(|| crate::layer::printable(&names.join(", "), 120))
}

/// A span of time as a person says it: `40 s`, `12 min`, `3 h`, `5 days`.
fn in_words(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use russh::keys::ssh_key::certificate::Builder;

    use super::*;
    use crate::loopback_ssh::fresh_key;

    const NOW: u64 = 1_800_000_000;

    fn certificate(kind: CertType, from: u64, to: u64, names: &[&str]) -> Certificate {
        let (ca, key) = (fresh_key().unwrap(), fresh_key().unwrap());
        let mut builder =
            Builder::new(vec![7; 16], key.public_key().key_data().clone(), from, to).unwrap();
        builder.cert_type(kind).unwrap();
        for name in names {
            builder.valid_principal(*name).unwrap();
        }
        if names.is_empty() {
            builder.all_principals_valid().unwrap();
        }
        builder.sign(&ca).unwrap()
    }

    fn verdict(certificate: &Certificate) -> Result<(), String> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
        check(certificate, "the certificate x", now)
    }

    #[test]
    fn a_certificate_is_judged_before_it_is_offered() {
        let hour = 3600;
        let user = |from, to| verdict(&certificate(CertType::User, from, to, &[]));
        assert_eq!(user(NOW - hour, NOW + hour), Ok(()));
        assert_eq!(user(NOW, NOW + 1), Ok(()));
        assert_eq!(
            user(NOW - 9 * hour, NOW - 3 * hour).unwrap_err(),
            "the certificate x expired 3 h ago"
        );
        assert_eq!(
            user(NOW - hour, NOW).unwrap_err(),
            "the certificate x expired 0 s ago"
        );
        assert_eq!(
            user(NOW + 600, NOW + hour).unwrap_err(),
            "the certificate x is not valid for another 10 min (is the clock here right?)"
        );
        let host = certificate(CertType::Host, NOW - hour, NOW + hour, &[]);
        assert_eq!(
            verdict(&host).unwrap_err(),
            "the certificate x is for a machine, not for a person"
        );
    }

    #[test]
    fn a_certificate_without_an_end_never_expires() {
        // ssh-keygen writes 0 and the largest number for "always".
        let always = certificate(CertType::User, 0, u64::MAX, &[]);
        assert_eq!(verdict(&always), Ok(()));
    }

    #[test]
    fn other_names_are_worth_a_note() {
        let named = certificate(CertType::User, 0, NOW, &["ann", "bob"]);
        assert_eq!(other_names(&named, "bob"), None);
        assert_eq!(other_names(&named, "me").unwrap(), "ann, bob");
        let anyone = certificate(CertType::User, 0, NOW, &[]);
        assert_eq!(other_names(&anyone, "me"), None);
    }
}
