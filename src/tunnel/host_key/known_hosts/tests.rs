//! The table of outcomes, row by row; ssh 9.2 gave the same ones where it says so.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use russh::keys::ssh_key::public::{Ed25519PublicKey, KeyData};
use russh::keys::{Algorithm, PublicKey};

use super::*;
use crate::tunnel::host_key::{HostName, Verdict};

const RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC";

fn key(seed: u8) -> PublicKey {
    PublicKey::from(KeyData::from(Ed25519PublicKey([seed; 32])))
}

/// `ssh-ed25519 …` of a key.
fn text(key: &PublicKey) -> String {
    format!(
        "{} {}",
        key.algorithm().as_str(),
        STANDARD.encode(key.to_bytes().unwrap())
    )
}

fn ecdsa() -> PublicKey {
    PublicKey::from_openssh(
        "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBHwf2HMM5TRXvo2SQJjsNkiDD5KqiiNjrGVv3UUh+mMT5RHxiRtOnlqvjhQtBq0VpmpCV/PwUdhOig4vkbqAcEc=",
    )
    .unwrap()
}

fn known(content: &str) -> KnownHosts {
    let mut known = KnownHosts::default();
    known.add(Path::new("kh"), content.as_bytes());
    known
}

/// The verdict in one word and its line.
fn short(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Known { line, .. } => format!("known:{line}"),
        Verdict::Unknown { note: None } => "unknown".into(),
        Verdict::Unknown { note: Some(_) } => "unknown+note".into(),
        Verdict::OtherAlgorithm { known } => format!("other:{}", known.len()),
        Verdict::Changed { line, .. } => format!("changed:{line}"),
        Verdict::Revoked {
            line: Some(line), ..
        } => format!("revoked:{line}"),
        Verdict::Revoked { line: None, .. } => "revoked".into(),
        Verdict::Certified { line, .. } => format!("certified:{line}"),
        Verdict::AddressDiffers { known, .. } => format!("address:{}", known.len()),
        Verdict::RevocationsUnreadable { line, .. } => format!("revocations:{line}"),
        Verdict::Unreadable { line, .. } => format!("unreadable:{line}"),
    }
}

/// B17. ssh records `host.` as it was typed.
#[test]
fn a_host_that_ssh_recorded_with_a_dot_at_its_end_is_the_same_one() {
    let (ours, other) = (text(&key(1)), text(&key(2)));
    for (content, port, verdict) in [
        (format!("host. {ours}\n"), 22, "known:1"),
        (format!("[host.]:2222 {ours}\n"), 2222, "known:1"),
        (format!("host. {other}\n"), 22, "changed:1"),
        (format!("host.. {ours}\n"), 22, "unknown+note"),
        // Five characters are meant here, and the name has four.
        (format!("????? {ours}\n"), 22, "unknown+note"),
    ] {
        let found = known(&content).check(&HostName::new("host", port), None, &key(1));
        assert_eq!(short(&found), verdict, "{content}");
    }
}

/// B17.
#[test]
fn a_name_that_may_deceive_is_warned_about_before_its_key_is_trusted() {
    for (host, words) in [
        ("xn--pypal-4ve.example", "mixes Cyrillic and Latin letters"),
        ("xn--80ak6aa92e.com", "written in Cyrillic letters"),
        ("xn--n1agdj.example", "reads \"хост.example\""),
    ] {
        for name in [HostName::new(host, 2222), HostName::alias(host)] {
            let Verdict::Unknown { note: Some(note) } = known("").check(&name, None, &key(1))
            else {
                panic!("{host}: no note");
            };
            assert!(note.contains(words), "{note}");
        }
    }
    let plain = known("").check(&HostName::new("paypal.example", 22), None, &key(1));
    assert_eq!(short(&plain), "unknown");
}

#[test]
fn verdicts_on_a_key_are_those_of_the_table() {
    let (ours, other, ec) = (text(&key(1)), text(&key(2)), text(&ecdsa()));
    let h = HostName::new("h", 22);
    let h2222 = HostName::new("h", 2222);
    let rows: Vec<(&str, String, &HostName, &str)> = vec![
        ("K1 same key", format!("h {ours}"), &h, "known:1"),
        (
            "K2 same kind, other key",
            format!("h {other}"),
            &h,
            "changed:1",
        ),
        ("K3 known by another kind", format!("h {ec}"), &h, "other:1"),
        (
            "K4 revoked for all",
            format!("@revoked * {ours}"),
            &h,
            "revoked:1",
        ),
        (
            "K5 revoked and listed",
            format!("h {ours}\n@revoked h {ours}"),
            &h,
            "revoked:2",
        ),
        (
            "K5 another key is revoked",
            format!("@revoked h {other}\nh {ours}"),
            &h,
            "known:2",
        ),
        (
            "K5 revoked elsewhere",
            format!("@revoked x {ours}\nh {ours}"),
            &h,
            "known:2",
        ),
        (
            "K6 authority, plain key",
            format!("@cert-authority * {other}"),
            &h,
            "unknown+note",
        ),
        (
            "K6 the authority's own key as a host key",
            format!("@cert-authority * {ours}"),
            &h,
            "unknown+note",
        ),
        (
            "K7 wildcard, changed",
            format!("?,*.example {other}"),
            &h,
            "changed:1",
        ),
        ("K7 wildcard, same", format!("* {ours}"), &h, "known:1"),
        ("K7 negated", format!("*,!h {other}"), &h, "unknown"),
        (
            "K8 two keys, second offered",
            format!("h {other}\nh {ours}"),
            &h,
            "known:2",
        ),
        (
            "K8 two kinds, other key of ours",
            format!("h {ec}\nh {other}"),
            &h,
            "changed:2",
        ),
        (
            "K9 tabs and leading blanks",
            format!(" \th\t{}", other.replace(' ', "\t")),
            &h,
            "changed:1",
        ),
        (
            "K10 [h]:22 is h",
            format!("[h]:22 {other}"),
            &h,
            "changed:1",
        ),
        (
            "K10 [h]:22 is h, same key",
            format!("[h]:22 {ours}"),
            &h,
            "known:1",
        ),
        ("K11 case", format!("H.Example,H {ours}"), &h, "known:1"),
        (
            "K12 same key on port 22",
            format!("h {ours}"),
            &h2222,
            "known:1",
        ),
        (
            "K12 other key on port 22",
            format!("h {other}"),
            &h2222,
            "unknown+note",
        ),
        (
            "K12 port counts",
            format!("[h]:2222 {other}\nh {ours}"),
            &h2222,
            "changed:1",
        ),
        (
            "K12 other way round",
            format!("[h]:2222 {ours}"),
            &h,
            "unknown+note",
        ),
        (
            "K12 revoked on port 22",
            format!("h {ours}\n@revoked h {ours}"),
            &h2222,
            "revoked:2",
        ),
        (
            "K14 broken and good line",
            format!("h ssh-ed25519 AAAAgarbage\nh {ours}"),
            &h,
            "known:2",
        ),
        (
            "K14 only a broken line",
            "h ssh-ed25519 AAAAgarbage".into(),
            &h,
            "unreadable:1",
        ),
        (
            "K14 broken line of another host",
            "x ssh-ed25519 AAAAgarbage".into(),
            &h,
            "unknown",
        ),
        (
            "K16 CRLF",
            format!("# c\r\n\r\nh {ours}\r\n"),
            &h,
            "known:3",
        ),
        (
            "comments count",
            format!("# a\n\n  # b\nh {other}"),
            &h,
            "changed:4",
        ),
        (
            "a kind that we cannot read",
            format!("h {}", fake_kind()),
            &h,
            "other:1",
        ),
        (
            "same key, another name",
            format!("x {ours}"),
            &h,
            "unknown+note",
        ),
        ("empty", String::new(), &h, "unknown"),
        ("RSA cut off", format!("h {RSA}"), &h, "unreadable:1"),
    ];
    for (row, content, name, expected) in rows {
        let verdict = known(&content).check(name, None, &key(1));
        assert_eq!(short(&verdict), expected, "{row}");
    }
}

/// A well-formed key of a kind that nobody speaks yet.
fn fake_kind() -> String {
    let name = b"ssh-future@example.com";
    let mut blob = (u32::try_from(name.len()).unwrap()).to_be_bytes().to_vec();
    blob.extend(name);
    blob.extend([0, 0, 0, 1, 9]);
    format!("ssh-future@example.com {}", STANDARD.encode(blob))
}

#[test]
fn an_alias_is_looked_up_without_a_port() {
    let content = format!("home {}", text(&key(1)));
    let verdict = known(&content).check(&HostName::alias("Home"), None, &key(1));
    assert_eq!(short(&verdict), "known:1");
    let content = format!("[home]:22 {}", text(&key(1)));
    let verdict = known(&content).check(&HostName::alias("home"), None, &key(1));
    assert_eq!(short(&verdict), "unknown+note");
}

#[test]
fn notes_tell_where_the_key_or_the_address_is_known() {
    let content = format!("x,y {}\n192.0.2.1 {}", text(&key(1)), text(&key(2)));
    let ip = Some("192.0.2.1".parse().unwrap());
    let verdict = known(&content).check(&HostName::new("h", 22), ip, &key(1));
    assert_eq!(
        verdict,
        Verdict::Unknown {
            note: Some(
                "the same key is known as x,y (kh:1); another key is known for 192.0.2.1 (kh:2)"
                    .into()
            )
        }
    );
}

#[test]
fn an_address_with_another_key_is_found_and_one_with_this_key_is_fine() {
    let address = HostName::new("192.0.2.1", 22);
    let others = |content: String| {
        let others = known(&content).keys_at_address(&address, &key(1));
        others.map(|keys| keys.len())
    };
    let (ours, other) = (text(&key(1)), text(&key(2)));
    assert_eq!(others(format!("h {other}\n")), None);
    assert_eq!(others(format!("192.0.2.1 {other}\n")), Some(1));
    assert_eq!(
        others(format!("192.0.2.1 {other}\nh,192.0.2.1 {ours}\n")),
        None
    );
}

#[test]
fn k15_bytes_that_are_not_utf8_harm_only_their_own_line() {
    let mut content = b"\xff\xfe ssh-ed25519 AAAA\n".to_vec();
    content.extend(format!("h {} caf", text(&key(1))).bytes());
    content.extend(b"\xe9\n\xc3\x28\n");
    let mut known = KnownHosts::default();
    known.add(Path::new("kh"), &content);
    let verdict = known.check(&HostName::new("h", 22), None, &key(1));
    assert_eq!(short(&verdict), "known:2");
    assert_eq!(
        known.notices(),
        [
            "kh:1: skipped: the key is cut off",
            "kh:3: skipped: the key is missing"
        ]
    );
}

#[test]
fn known_kinds_are_offered_first_and_sha1_never() {
    let names = |algorithms: Vec<Algorithm>| -> Vec<String> {
        algorithms.iter().map(|a| a.as_str().to_owned()).collect()
    };
    let rsa = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC8ahHEzDHXFkDdJ1mL3ZCnlQvQSF1OgPoWTaXVVC1P";
    let h = HostName::new("h", 22);
    let unknown = names(known("").offer(&h, None).keys);
    assert_eq!(unknown.first().map(String::as_str), Some("ssh-ed25519"));
    assert!(!unknown.iter().any(|name| name == "ssh-rsa"));
    let ecdsa_known = known(&format!("h {}\nh {rsa}", text(&ecdsa())));
    assert_eq!(
        names(ecdsa_known.offer(&h, None).keys)[..2],
        ["ecdsa-sha2-nistp256", "ssh-ed25519"]
    );
    // Only for that host, and only among what is allowed.
    let elsewhere = ecdsa_known.offer(&HostName::new("x", 22), None).keys;
    assert_eq!(names(elsewhere), unknown);
    let allowed = ["rsa-sha2-256", "ssh-rsa", "nonsense", "ssh-ed25519"].map(String::from);
    assert_eq!(
        names(ecdsa_known.offer(&h, Some(&allowed)).keys),
        ["rsa-sha2-256", "ssh-ed25519"]
    );
}

fn files(user: &Path, revoked: Option<&Path>) -> KnownHostsFiles {
    KnownHostsFiles {
        user: vec![user.to_owned()],
        global: vec![],
        revoked: revoked.map(Into::into).into_iter().collect(),
    }
}

#[test]
fn a_missing_file_is_empty_and_an_unreadable_one_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("none");
    let known = KnownHosts::load(&files(&missing, None)).unwrap();
    assert_eq!(
        short(&known.check(&HostName::new("h", 22), None, &key(1))),
        "unknown"
    );
    let known = KnownHosts::load(&files(Path::new("/dev/null"), None)).unwrap();
    assert!(known.entries.is_empty());
    let error = KnownHosts::load(&files(dir.path(), None)).unwrap_err();
    assert!(error.to_string().contains("it is a directory"), "{error}");
    assert_eq!(error.refusal().layer, Layer::HostKey);
    // K13. Root reads everything, so a loop of links stands in for a file without permission.
    let circle = dir.path().join("circle");
    std::os::unix::fs::symlink(&circle, &circle).unwrap();
    let error = KnownHosts::load(&files(&circle, None)).unwrap_err();
    assert!(matches!(error, KnownHostsError::Read { .. }), "{error}");
    assert_eq!(error.refusal().retry, Retry::Never);
}

#[test]
fn revoked_host_keys_win_over_known_ones_and_must_be_readable() {
    let dir = tempfile::tempdir().unwrap();
    let (user, revoked) = (dir.path().join("kh"), dir.path().join("revoked"));
    std::fs::write(&user, format!("h {}", text(&key(1)))).unwrap();
    let verdict = |content: &[u8]| {
        std::fs::write(&revoked, content).unwrap();
        let known = KnownHosts::load(&files(&user, Some(&revoked)))?;
        Ok::<_, KnownHostsError>(short(&known.check(&HostName::new("h", 22), None, &key(1))))
    };
    let (ours, other) = (text(&key(1)), text(&key(2)));
    for (content, expected) in [
        (format!("# stolen\n{ours} laptop\n"), "revoked:2"),
        (format!("\n  {other}\r\n"), "known:1"),
        (String::new(), "known:1"),
        // What cannot be read could be this very key.
        (format!("garbage\n{ours}\n"), "revocations:1"),
        (format!("h {ours}\n"), "revocations:1"),
        (format!("{ours}\ngarbage\n"), "revoked:1"),
    ] {
        assert_eq!(verdict(content.as_bytes()).unwrap(), expected, "{content}");
    }
    let list = dir.path().join("list");
    std::fs::write(dir.path().join("k.pub"), &ours).unwrap();
    let made = std::process::Command::new("ssh-keygen")
        .arg("-qkf")
        .args([&list, &dir.path().join("k.pub")])
        .status();
    if made.is_ok_and(|status| status.success()) {
        assert_eq!(verdict(&std::fs::read(list).unwrap()).unwrap(), "revoked");
    }
    let error = verdict(b"SSHKRL\n\0\0\0\0\x01").unwrap_err();
    assert!(error.to_string().ends_with("is cut off"), "{error}");
    std::fs::remove_file(&revoked).unwrap();
    let error = KnownHosts::load(&files(&user, Some(&revoked))).unwrap_err();
    assert!(
        matches!(error, KnownHostsError::ReadRevoked { .. }),
        "{error}"
    );
}

#[test]
fn names_hashed_by_ssh_keygen_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kh");
    std::fs::write(&path, format!("h,[h]:2222 {}\n", text(&key(1)))).unwrap();
    let hashed = std::process::Command::new("ssh-keygen")
        .args(["-q", "-H", "-f"])
        .arg(&path)
        .output();
    if hashed.is_err() {
        println!("skipped: no ssh-keygen on this machine");
        return;
    }
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("|1|"));
    let known = KnownHosts::load(&files(&path, None)).unwrap();
    assert_eq!(
        short(&known.check(&HostName::new("H", 22), None, &key(1))),
        "known:1"
    );
    assert_eq!(
        short(&known.check(&HostName::new("h", 2222), None, &key(1))),
        "known:2"
    );
    assert_eq!(
        short(&known.check(&HostName::new("h", 22), None, &key(2))),
        "changed:1"
    );
}
