//! Any bytes are an ssh_config that resolves or is refused with its place.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use clawline::tunnel::ssh_config::{ConfigFile, Env, Flags, differences, resolve};
use clawline::tunnel::target::SshTarget;
use libfuzzer_sys::fuzz_target;

struct World {
    _dir: tempfile::TempDir,
    file: PathBuf,
    env: Env,
    target: SshTarget,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a directory");
    let home = dir.path().join("home");
    World {
        file: dir.path().join("config"),
        env: Env {
            user_config: home.join(".ssh/config"),
            system_config: dir.path().join("etc/ssh_config"),
            home,
            local_user: "me".into(),
            uid: 0,
            host_name: "laptop.lan".into(),
            vars: [("NAME".to_owned(), "value".to_owned())].into(),
        },
        target: "you@desktop:2222".parse().expect("a target"),
        _dir: dir,
    }
});

fuzz_target!(|bytes: &[u8]| {
    let world = &*WORLD;
    // The fuzzer's own machine is not to be read.
    let reads_files = bytes
        .windows(7)
        .any(|word| word.eq_ignore_ascii_case(b"include"));
    if reads_files && bytes.contains(&b'/') {
        return;
    }
    std::fs::write(&world.file, bytes).expect("written");
    let flags = Flags {
        config: ConfigFile::Only(world.file.clone()),
        ..Flags::default()
    };
    match resolve(&world.target, &flags, &world.env) {
        Ok(resolved) => {
            let hop = resolved.spec.destination().expect("a destination");
            assert!(!hop.host.is_empty() && !hop.host.starts_with('-'));
            assert!(!resolved.explain.is_empty());
            // What `ssh -G` prints has the same shape as the file.
            let _ = differences(&resolved, &hop.alias, &String::from_utf8_lossy(bytes), &world.env);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
