//! Any bytes are a known_hosts file or a list of revoked keys; neither ever makes an unknown key a known
//! one.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use clawline::tunnel::host_key::{HostName, KnownHosts, Verdict, refusal};
use libfuzzer_sys::fuzz_target;
use russh::keys::PublicKey;

/// No fuzzer finds this key by itself.
static KEY: LazyLock<PublicKey> = LazyLock::new(|| {
    PublicKey::from_openssh(
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti",
    )
    .expect("a key")
});

/// How a binary list begins: magic, version, number, date, flags, two empty strings.
const KRL: &[u8] =
    b"SSHKRL\n\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

fuzz_target!(|bytes: &[u8]| {
    let mut known = KnownHosts::default();
    known.add(Path::new("known_hosts"), bytes);
    let _ = known.add_revoked(Path::new("revoked"), bytes);
    let _ = known.add_revoked(Path::new("list"), &[KRL, bytes].concat());
    for name in [
        HostName::new("desktop", 22),
        HostName::new("desktop", 2222),
        HostName::alias("home"),
    ] {
        let verdict = known.check(&name, None, &KEY);
        assert!(!matches!(verdict, Verdict::Known { .. }));
        assert!(!refusal(&verdict, &name, "desktop", &KEY).next.is_empty());
        assert!(!known.offer(&name, None).keys.is_empty());
    }
});
