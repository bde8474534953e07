//! One line of a known_hosts file: marker, host patterns or a hashed name, and a key.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit, Mac};
use russh::keys::{Algorithm, Certificate, PublicKey};
use sha1::Sha1;

use super::name::HostName;
use crate::tunnel::wildcard::{ListMatch, matches_list};

/// Base64 as known_hosts has it; hand-edited lines may lack the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The word before the host patterns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker {
    /// None: the key of a host.
    Host,
    /// `@cert-authority`.
    CertAuthority,
    /// `@revoked`.
    Revoked,
}

/// Which hosts a line speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hosts {
    /// Patterns, lower case, some with `!`.
    Patterns(Vec<String>),
    /// `|1|salt|hash`: one name, hidden.
    Hashed { salt: Vec<u8>, hash: Vec<u8> },
}

impl Hosts {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let Some(hashed) = text.strip_prefix('|') else {
            return Ok(Self::Patterns(
                text.split(',')
                    .filter(|pattern| !pattern.is_empty())
                    .map(str::to_ascii_lowercase)
                    .collect(),
            ));
        };
        let bad = "the hashed host name is broken";
        let (salt, hash) = hashed
            .strip_prefix("1|")
            .and_then(|rest| rest.split_once('|'))
            .ok_or(bad)?;
        let salt = BASE64.decode(salt).map_err(|_| bad)?;
        let hash = BASE64.decode(hash).map_err(|_| bad)?;
        if salt.is_empty() || hash.len() != HASH_BYTES {
            return Err(bad);
        }
        Ok(Self::Hashed { salt, hash })
    }

    /// True when `name` is meant, in any of its spellings.
    pub(super) fn matches(&self, name: &HostName) -> bool {
        let (spellings, dotted) = (name.spellings(), name.dotted());
        match self {
            Self::Hashed { salt, hash } => spellings
                .iter()
                .chain(&dotted)
                .any(|name| hash_name(salt, name).as_deref() == Some(hash)),
            Self::Patterns(patterns) => {
                let mut found = false;
                for name in &spellings {
                    match matches_list(name, patterns.iter().map(String::as_str)) {
                        ListMatch::Negated => return false,
                        ListMatch::Matched => found = true,
                        ListMatch::None => {}
                    }
                }
                found || dotted.iter().any(|name| patterns.contains(name))
            }
        }
    }

    /// How a person finds it in the file.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Patterns(patterns) => patterns.join(","),
            Self::Hashed { .. } => "a hashed name".to_owned(),
        }
    }
}

/// Length of the hash in a hashed name (HMAC-SHA1).
const HASH_BYTES: usize = 20;

/// HMAC-SHA1 of a name under a salt, as in `HashKnownHosts`.
pub(super) fn hash_name(salt: &[u8], name: &str) -> Option<Vec<u8>> {
    let mut mac = Hmac::<Sha1>::new_from_slice(salt).ok()?;
    mac.update(name.as_bytes());
    Some(mac.finalize().into_bytes().to_vec())
}

/// A public key in wire format, compared byte by byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RawKey {
    /// e.g. `ssh-ed25519`.
    pub(super) algorithm: String,
    /// The key as it travels.
    pub(super) blob: Vec<u8>,
    /// The key inside a certificate, as it travels alone.
    inner: Option<Vec<u8>>,
}

impl RawKey {
    /// Reads `algorithm base64`, whatever follows.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let mut words = text.split_ascii_whitespace();
        let algorithm = words.next().ok_or("the key is missing")?;
        let blob = words.next().ok_or("the key is missing")?;
        let blob = BASE64
            .decode(blob)
            .map_err(|_| "the key is not valid base64")?;
        let named = blob
            .first_chunk::<4>()
            .and_then(|length| usize::try_from(u32::from_be_bytes(*length)).ok())
            .and_then(|length| blob.get(4..)?.get(..length))
            .ok_or("the key is cut off")?;
        if named != algorithm.as_bytes() {
            return Err("the key is not of the kind that the line names");
        }
        // A kind that we cannot read is kept: the host is known by it, so another key is no news.
        let known = Algorithm::new(algorithm)
            .is_ok_and(|known| !matches!(known, Algorithm::Other(_) | Algorithm::Dsa));
        if known && PublicKey::from_bytes(&blob).is_err() {
            return Err("the key is broken");
        }
        Ok(Self {
            algorithm: algorithm.to_owned(),
            inner: inner_key(algorithm, &blob),
            blob,
        })
    }

    /// The key without its certificate, where it has one.
    pub(super) fn bare(&self) -> &[u8] {
        self.inner.as_deref().unwrap_or(&self.blob)
    }
}

/// What the algorithms of certificates have in their names.
const CERTIFICATE: &str = "-cert-v01@";

/// Most certificates within a certificate; a good one has a plain key as its authority.
const MAX_NESTING: usize = 2;

/// The key inside a certificate, in wire format.
fn inner_key(algorithm: &str, blob: &[u8]) -> Option<Vec<u8>> {
    if !algorithm.contains(CERTIFICATE) {
        return None;
    }
    // The reader of certificates follows authorities that are certificates themselves.
    let nested = blob
        .windows(CERTIFICATE.len())
        .filter(|w| *w == CERTIFICATE.as_bytes());
    if nested.count() > MAX_NESTING {
        return None;
    }
    let certificate = Certificate::from_bytes(blob).ok()?;
    PublicKey::from(certificate.public_key().clone())
        .to_bytes()
        .ok()
}

/// Lines with their numbers from 1. Bytes that are not UTF-8 harm only the word they stand in.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, String)> {
    bytes
        .split(|byte| *byte == b'\n')
        .enumerate()
        .map(|(index, line)| (index + 1, String::from_utf8_lossy(line).into_owned()))
}

/// A line that speaks of hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// The word before the patterns.
    pub(super) marker: Marker,
    /// Whom it speaks of.
    pub(super) hosts: Hosts,
    /// The key, or why it cannot be read.
    pub(super) key: Result<RawKey, &'static str>,
}

impl Line {
    /// Reads a line without its line end. `Ok(None)` is a comment or a blank line; an error says why
    /// nobody can tell which host it speaks of.
    pub(super) fn parse(line: &str) -> Result<Option<Self>, &'static str> {
        let line = line.trim_matches([' ', '\t', '\r', '\n']);
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        let (first, rest) = word(line);
        let (marker, hosts, rest) = match first {
            "@revoked" => {
                let (hosts, rest) = word(rest);
                (Marker::Revoked, hosts, rest)
            }
            "@cert-authority" => {
                let (hosts, rest) = word(rest);
                (Marker::CertAuthority, hosts, rest)
            }
            marker if marker.starts_with('@') => return Err("the marker is not known"),
            hosts => (Marker::Host, hosts, rest),
        };
        if hosts.is_empty() || hosts.starts_with('@') {
            return Err("the host is missing");
        }
        Ok(Some(Self {
            marker,
            hosts: Hosts::parse(hosts)?,
            key: RawKey::parse(rest),
        }))
    }
}

/// The first word and what follows it.
fn word(text: &str) -> (&str, &str) {
    match text.split_once([' ', '\t']) {
        Some((word, rest)) => (word, rest.trim_start_matches([' ', '\t'])),
        None => (text, ""),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    fn line(text: &str) -> Line {
        Line::parse(text).unwrap().unwrap()
    }

    #[test]
    fn blanks_tabs_and_line_ends_do_not_count() {
        let plain = line(&format!("h {KEY}"));
        for text in [
            format!("  h {KEY} comment here"),
            format!("\th\t{}", KEY.replace(' ', "\t")),
            format!("h   {KEY}\r"),
        ] {
            assert_eq!(line(&text), plain, "{text:?}");
        }
        assert_eq!(line(&format!("@revoked\th {KEY}")).marker, Marker::Revoked);
    }

    #[test]
    fn a_hashed_name_matches_only_its_own_host() {
        // As written by `ssh-keygen -H` for the name `desktop`.
        let salt = [7; 20];
        let hash = hash_name(&salt, "desktop").unwrap();
        let text = format!("|1|{}|{} {KEY}", BASE64.encode(salt), BASE64.encode(hash));
        let line = line(&text);
        assert!(line.hosts.matches(&HostName::new("DESKTOP", 22)));
        assert!(!line.hosts.matches(&HostName::new("desktop", 2222)));
        assert!(!line.hosts.matches(&HostName::new("laptop", 22)));
    }

    #[test]
    fn broken_lines_say_what_is_broken() {
        for (text, why) in [
            ("@other h ssh-ed25519 AAAA", "the marker is not known"),
            ("@revoked", "the host is missing"),
            ("@revoked @cert-authority h", "the host is missing"),
            ("|1|zz h", "the hashed host name is broken"),
            ("|2|AAAA|AAAA h", "the hashed host name is broken"),
        ] {
            assert_eq!(Line::parse(text), Err(why), "{text}");
        }
        for (text, why) in [
            ("h", "the key is missing"),
            ("h ssh-ed25519", "the key is missing"),
            ("h ssh-ed25519 !!!", "the key is not valid base64"),
            ("h ssh-ed25519 AAAA", "the key is cut off"),
            ("h 1024 35 12345", "the key is not valid base64"),
            (
                "h ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti",
                "the key is not of the kind that the line names",
            ),
            (
                "h ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM",
                "the key is broken",
            ),
        ] {
            assert_eq!(line(text).key, Err(why), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(text in "\\PC*") {
            let _ = Line::parse(&text);
        }
    }
}
