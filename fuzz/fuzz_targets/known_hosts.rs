//! Any bytes are a known_hosts file; a line for our host never makes another key a known one.
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

fuzz_target!(|bytes: &[u8]| {
    let mut known = KnownHosts::default();
    known.add(Path::new("known_hosts"), bytes);
    for name in [
        HostName::new("desktop", 22),
        HostName::new("desktop", 2222),
        HostName::alias("home"),
    ] {
        let verdict = known.check(&name, None, &KEY);
        assert!(!matches!(verdict, Verdict::Known { .. }));
        assert!(!refusal(&verdict, &name, &KEY).next.is_empty());
        assert!(!known.preferred_algorithms(&name, None).is_empty());
    }
});
