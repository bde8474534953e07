//! OpenSSH's binary key revocation lists (`ssh-keygen -k`), read with a bound on everything.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// How a list begins.
pub(super) const MAGIC: &[u8] = b"SSHKRL\n\0";

const SECTION_CERTIFICATES: u8 = 1;
const SECTION_KEYS: u8 = 2;
const SECTION_SHA1: u8 = 3;
const SECTION_SIGNATURE: u8 = 4;
const SECTION_SHA256: u8 = 5;
const SECTION_EXTENSION: u8 = 255;

const CERTIFICATE_SERIALS: u8 = 0x20;
const CERTIFICATE_RANGE: u8 = 0x21;
const CERTIFICATE_BITMAP: u8 = 0x22;
const CERTIFICATE_IDS: u8 = 0x23;
const CERTIFICATE_EXTENSION: u8 = 0x39;

const CUT_OFF: &str = "the key revocation list is cut off";
const UNKNOWN: &str = "the key revocation list has a part that is not known here";

/// What a list revokes.
#[derive(Debug, Clone, Default)]
pub(super) struct Krl {
    keys: HashSet<Vec<u8>>,
    sha1: HashSet<Vec<u8>>,
    sha256: HashSet<Vec<u8>>,
    certificates: Vec<Certificates>,
}

/// Certificates of one authority, or of every authority.
#[derive(Debug, Clone, Default)]
struct Certificates {
    authority: Option<Vec<u8>>,
    serials: HashSet<u64>,
    ranges: Vec<RangeInclusive<u64>>,
    bitmaps: Vec<(u64, Vec<u8>)>,
    ids: HashSet<Vec<u8>>,
}

impl Krl {
    /// Reads a whole list. An error says what is wrong; nothing of such a list counts.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let mut input = Input(bytes);
        if input.take(MAGIC.len())? != MAGIC {
            return Err("it is no key revocation list");
        }
        if input.u32()? != 1 {
            return Err("the key revocation list is of a version that is not known here");
        }
        // Number, date and flags of the list, a reserved field and a comment.
        input.take(8 * 3)?;
        input.string()?;
        input.string()?;
        let mut list = Self::default();
        while !input.is_empty() {
            let kind = input.u8()?;
            let section = input.string()?;
            match kind {
                SECTION_CERTIFICATES => list.certificates.push(certificates(section)?),
                SECTION_KEYS => strings(section, &mut list.keys)?,
                SECTION_SHA1 => strings(section, &mut list.sha1)?,
                SECTION_SHA256 => strings(section, &mut list.sha256)?,
                // Who signed a file of this machine says nothing that its owner does not; newer ssh
                // does not look at it either.
                SECTION_SIGNATURE => {
                    input.string()?;
                }
                SECTION_EXTENSION => extension(section)?,
                _ => return Err(UNKNOWN),
            }
        }
        Ok(list)
    }

    /// True when the key with this blob is revoked by itself.
    pub(super) fn has_key(&self, blob: &[u8]) -> bool {
        self.keys.contains(blob)
            || self.sha1.contains(Sha1::digest(blob).as_slice())
            || self.sha256.contains(Sha256::digest(blob).as_slice())
    }

    /// True when a certificate of `authority` with this serial number and id is revoked. Serial number
    /// 0 means that none was given.
    pub(super) fn has_certificate(&self, authority: &[u8], serial: u64, id: &str) -> bool {
        self.certificates
            .iter()
            .filter(|of| of.authority.as_deref().is_none_or(|ca| ca == authority))
            .any(|of| of.ids.contains(id.as_bytes()) || (serial != 0 && of.has_serial(serial)))
    }
}

impl Certificates {
    fn has_serial(&self, serial: u64) -> bool {
        self.serials.contains(&serial)
            || self.ranges.iter().any(|range| range.contains(&serial))
            || self
                .bitmaps
                .iter()
                .any(|(offset, bits)| serial.checked_sub(*offset).is_some_and(|at| bit(bits, at)))
    }
}

/// Bit `at` of a big-endian number.
fn bit(number: &[u8], at: u64) -> bool {
    let byte = usize::try_from(at / 8).ok();
    byte.and_then(|byte| number.len().checked_sub(byte)?.checked_sub(1))
        .and_then(|index| number.get(index))
        .is_some_and(|byte| byte >> (at % 8) & 1 == 1)
}

fn certificates(section: &[u8]) -> Result<Certificates, &'static str> {
    let mut input = Input(section);
    let authority = input.string()?;
    input.string()?;
    let mut found = Certificates {
        authority: (!authority.is_empty()).then(|| authority.to_vec()),
        ..Certificates::default()
    };
    while !input.is_empty() {
        let kind = input.u8()?;
        let mut part = Input(input.string()?);
        match kind {
            CERTIFICATE_SERIALS => {
                while !part.is_empty() {
                    found.serials.insert(part.u64()?);
                }
            }
            CERTIFICATE_RANGE => found.ranges.push(part.u64()?..=part.u64()?),
            CERTIFICATE_BITMAP => {
                let offset = part.u64()?;
                found.bitmaps.push((offset, part.string()?.to_vec()));
            }
            CERTIFICATE_IDS => strings(part.0, &mut found.ids)?,
            CERTIFICATE_EXTENSION => extension(part.0)?,
            _ => return Err(UNKNOWN),
        }
    }
    Ok(found)
}

/// An extension may be passed over unless it says that it must not.
fn extension(section: &[u8]) -> Result<(), &'static str> {
    let mut input = Input(section);
    input.string()?;
    if input.u8()? == 0 {
        Ok(())
    } else {
        Err(UNKNOWN)
    }
}

fn strings(section: &[u8], into: &mut HashSet<Vec<u8>>) -> Result<(), &'static str> {
    let mut input = Input(section);
    while !input.is_empty() {
        into.insert(input.string()?.to_vec());
    }
    Ok(())
}

/// Bytes that are still to be read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], &'static str> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(CUT_OFF)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        self.take(N)?.try_into().map_err(|_| CUT_OFF)
    }

    fn u8(&mut self) -> Result<u8, &'static str> {
        self.array().map(u8::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, &'static str> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, &'static str> {
        self.array().map(u64::from_be_bytes)
    }

    fn string(&mut self) -> Result<&'a [u8], &'static str> {
        let length = usize::try_from(self.u32()?).map_err(|_| CUT_OFF)?;
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn string(bytes: &[u8]) -> Vec<u8> {
        let mut out = u32::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
        out.extend(bytes);
        out
    }

    fn section(kind: u8, body: &[u8]) -> Vec<u8> {
        [vec![kind], string(body)].concat()
    }

    fn list(sections: &[Vec<u8>]) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(1u32.to_be_bytes());
        out.extend([0; 24]);
        out.extend(string(b""));
        out.extend(string(b"a comment"));
        out.extend(sections.concat());
        out
    }

    #[test]
    fn keys_are_revoked_whole_and_by_their_hashes() {
        let bytes = list(&[
            section(SECTION_KEYS, &[string(b"one"), string(b"two")].concat()),
            section(SECTION_SHA1, &string(&Sha1::digest(b"three"))),
            section(SECTION_SHA256, &string(&Sha256::digest(b"four"))),
            section(
                SECTION_EXTENSION,
                &[string(b"x@y"), vec![0], string(b"")].concat(),
            ),
        ]);
        let list = Krl::parse(&bytes).unwrap();
        for blob in ["one", "two", "three", "four"] {
            assert!(list.has_key(blob.as_bytes()), "{blob}");
        }
        assert!(!list.has_key(b"five"));
    }

    #[test]
    fn certificates_are_revoked_by_serial_number_and_id_of_their_authority() {
        let of = |authority: &[u8], parts: &[Vec<u8>]| {
            let body = [string(authority), string(b""), parts.concat()].concat();
            section(SECTION_CERTIFICATES, &body)
        };
        let numbers =
            |numbers: &[u64]| -> Vec<u8> { numbers.iter().flat_map(|n| n.to_be_bytes()).collect() };
        let bitmap = [numbers(&[100]), string(&[0b10, 0b1])].concat();
        let bytes = list(&[
            of(
                b"ca",
                &[
                    section(CERTIFICATE_SERIALS, &numbers(&[5, 7])),
                    section(CERTIFICATE_RANGE, &numbers(&[20, 30])),
                    section(CERTIFICATE_BITMAP, &bitmap),
                ],
            ),
            of(b"", &[section(CERTIFICATE_IDS, &string(b"web"))]),
        ]);
        let list = Krl::parse(&bytes).unwrap();
        for serial in [5, 7, 20, 25, 30, 100, 109] {
            assert!(list.has_certificate(b"ca", serial, ""), "{serial}");
            assert!(!list.has_certificate(b"other", serial, ""), "{serial}");
        }
        for serial in [0, 6, 19, 31, 99, 101, 108, 110, u64::MAX] {
            assert!(!list.has_certificate(b"ca", serial, ""), "{serial}");
        }
        assert!(list.has_certificate(b"other", 0, "web"));
        assert!(!list.has_key(b"ca"));
    }

    #[test]
    fn what_is_not_understood_refuses_the_list() {
        let good = list(&[section(SECTION_KEYS, &string(b"one"))]);
        for cut in MAGIC.len()..good.len() {
            let whole = cut == good.len() - section(SECTION_KEYS, &string(b"one")).len();
            assert_eq!(Krl::parse(&good[..cut]).is_ok(), whole, "{cut}");
        }
        let critical = [string(b"x@y"), vec![1], string(b"")].concat();
        for bad in [
            list(&[section(9, b"")]),
            list(&[section(SECTION_EXTENSION, &critical)]),
            list(&[section(SECTION_CERTIFICATES, b"")]),
            b"no list at all".to_vec(),
        ] {
            assert!(Krl::parse(&bad).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(tail in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Krl::parse(&tail);
            let _ = Krl::parse(&[list(&[]), tail].concat());
        }
    }
}
