//! Certificates that count, and each reason why one does not.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use russh::keys::ssh_key::certificate::Builder;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{Algorithm, PrivateKey, PublicKey};

use super::*;
use crate::tunnel::host_key::{KnownHosts, Verdict};

/// The moment at which the certificates here are looked at.
const NOW: u64 = 1_800_000_000;

fn private(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

fn text(key: &PublicKey) -> String {
    let blob = STANDARD.encode(key.to_bytes().unwrap());
    format!("{} {blob}", key.algorithm().as_str())
}

/// A certificate of key 1 for `h` by authority 9, but for what `change` does.
fn certificate(change: impl FnOnce(&mut Builder)) -> Certificate {
    let valid = (NOW - 100, NOW + 100);
    let subject = private(1).public_key().clone();
    let mut builder = Builder::new(vec![7; 16], subject, valid.0, valid.1).unwrap();
    builder.serial(5).unwrap().key_id("desk").unwrap();
    builder.cert_type(CertType::Host).unwrap();
    change(&mut builder);
    builder.sign(&private(9)).unwrap()
}

fn for_h(builder: &mut Builder) {
    builder.valid_principal("h").unwrap();
}

fn rules() -> CertificateRules {
    CertificateRules {
        now: UNIX_EPOCH + Duration::from_secs(NOW),
        ..CertificateRules::of_hop(&HopSpec::bare("h", 22, "me"))
    }
}

fn known(content: &str) -> KnownHosts {
    let mut known = KnownHosts::default();
    known.add(Path::new("kh"), content.as_bytes());
    known
}

fn authority(hosts: &str) -> String {
    format!("@cert-authority {hosts} {}", text(private(9).public_key()))
}

#[test]
fn a_certificate_of_a_known_authority_counts_under_every_spelling_of_the_host() {
    let certificate = certificate(for_h);
    for (line, name) in [
        (authority("h"), HostName::new("H", 22)),
        (authority("*,!x"), HostName::new("h", 22)),
        (authority("[h]:2222"), HostName::new("h", 2222)),
        (authority("h"), HostName::new("h", 2222)),
        (authority("h"), HostName::alias("H")),
    ] {
        let verdict = known(&line).check_certificate(&name, &certificate, &rules());
        assert_eq!(
            verdict,
            Ok(Verdict::Certified {
                file: "kh".into(),
                line: 1,
                id: "desk".into()
            }),
            "{line} {name}"
        );
    }
}

#[test]
fn an_authority_for_others_or_a_plain_line_with_its_key_vouches_for_nobody() {
    let certificate = certificate(for_h);
    for line in [
        authority("x"),
        authority("*,!h"),
        authority("[h]:2222"),
        format!("h {}", text(private(9).public_key())),
        format!("@cert-authority h {}", text(private(8).public_key())),
    ] {
        let verdict =
            known(&line).check_certificate(&HostName::new("h", 22), &certificate, &rules());
        assert_eq!(verdict, Err(CertificateError::Authority), "{line}");
    }
}

#[test]
fn each_defect_of_a_certificate_has_its_own_words() {
    let with = |old: &[u8], new: &[u8]| {
        let mut bytes = certificate(for_h).to_bytes().unwrap();
        let at = bytes.windows(old.len()).position(|w| w == old).unwrap();
        bytes[at..at + new.len()].copy_from_slice(new);
        Certificate::from_bytes(&bytes).unwrap()
    };
    let tampered = with(b"desk", b"Desk");
    // Serial number and kind stand side by side.
    let of_user = with(&[5, 0, 0, 0, 2], &[5, 0, 0, 0, 1]);
    let subject = private(1).public_key().clone();
    let window = |after: u64, before: u64| {
        let mut builder = Builder::new(vec![7; 16], subject.clone(), after, before).unwrap();
        builder
            .cert_type(CertType::Host)
            .unwrap()
            .key_id("desk")
            .unwrap();
        for_h(&mut builder);
        builder.sign(&private(9)).unwrap()
    };
    let rows = [
        (tampered, "its signature is wrong"),
        (of_user, "it is a certificate of a user, not of a host"),
        (
            certificate(|b| {
                b.valid_principal("other").unwrap();
                b.valid_principal("*").unwrap();
            }),
            "it is for other, *, not for this host",
        ),
        (
            certificate(|b| {
                for_h(b);
                b.critical_option("force@x", "1").unwrap();
            }),
            "it demands what clawline does not know (force@x)",
        ),
        (
            window(NOW + 60, NOW + 90),
            "it is not valid before 60 s from now",
        ),
        (window(NOW - 90_000, NOW - 10_800), "it expired 3 h ago"),
        (window(NOW - 90, NOW), "it expired 0 s ago"),
    ];
    let known = known(&authority("*"));
    for (certificate, words) in rows {
        let error = known
            .check_certificate(&HostName::new("h", 22), &certificate, &rules())
            .unwrap_err();
        assert_eq!(error.to_string(), words);
    }
    let strict = CertificateRules {
        signatures: vec!["rsa-sha2-512".into()],
        ..rules()
    };
    let error = known
        .check_certificate(&HostName::new("h", 22), &certificate(for_h), &strict)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "its authority signed it with ssh-ed25519, which CASignatureAlgorithms does not allow"
    );
}

#[test]
fn a_certificate_that_names_nobody_is_for_every_host() {
    let certificate = certificate(|b| {
        b.all_principals_valid().unwrap();
    });
    let verdict = known(&authority("*")).check_certificate(
        &HostName::new("whoever", 22),
        &certificate,
        &rules(),
    );
    assert!(
        matches!(verdict, Ok(Verdict::Certified { .. })),
        "{verdict:?}"
    );
}

#[test]
fn a_revoked_key_or_authority_beats_every_certificate() {
    let certificate = certificate(for_h);
    let (ours, ca) = (text(private(1).public_key()), text(private(9).public_key()));
    let own = certificate.to_openssh().unwrap();
    for revoked in [&ours, &ca, &own] {
        let marked = known(&format!("{}\n@revoked h {revoked}", authority("h")));
        let mut listed = known(&authority("h"));
        listed
            .add_revoked(Path::new("rev"), revoked.as_bytes())
            .unwrap();
        for known in [marked, listed] {
            let verdict = known.check_certificate(&HostName::new("h", 22), &certificate, &rules());
            assert!(
                matches!(verdict, Ok(Verdict::Revoked { .. })),
                "{verdict:?}"
            );
        }
    }
}

#[test]
fn certificates_are_asked_for_where_one_could_matter() {
    let ca = text(private(9).public_key());
    let h = HostName::new("h", 22);
    let asked = |content: &str, name: &HostName, allowed: Option<&[String]>| {
        !known(content).offer(name, allowed).certificates.is_empty()
    };
    assert!(!asked("", &h, None));
    assert!(!asked(&format!("h {ca}"), &h, None));
    assert!(!asked(&authority("x"), &h, None));
    assert!(asked(&authority("h"), &h, None));
    assert!(asked(&authority("h"), &HostName::new("h", 2222), None));
    assert!(asked(&format!("@revoked h {ca}"), &h, None));
    let plain = ["ssh-ed25519".to_owned()];
    assert!(!asked(&authority("h"), &h, Some(&plain)));
    let only = ["ssh-ed25519-cert-v01@openssh.com".to_owned()];
    let offer = known("").offer(&h, Some(&only));
    assert_eq!(offer.certificates, [Algorithm::Ed25519]);
    assert!(offer.keys.is_empty() && !offer.is_empty());
}
