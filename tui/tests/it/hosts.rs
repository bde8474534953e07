//! `clawline hosts`: what is known of a server, and changing that on purpose.

use clawline::loopback_ssh::{LoopbackOptions, LoopbackSsh, fresh_key};
use clawline::tunnel::host_key::fingerprint;
use serde_json::{Value, json};

use crate::support::{Home, Ran};

/// A home, and a server whose key is not known there yet.
struct World {
    home: Home,
    ssh: LoopbackSsh,
    target: String,
    _runtime: tokio::runtime::Runtime,
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let options = LoopbackOptions {
            host_key: Some(fresh_key().unwrap()),
            ..LoopbackOptions::default()
        };
        let ssh = runtime.block_on(LoopbackSsh::start(options)).unwrap();
        Self {
            home: Home::new(),
            target: format!("127.0.0.1:{}", ssh.addr.port()),
            ssh,
            _runtime: runtime,
        }
    }

    fn file(&self) -> String {
        self.home
            .path()
            .join("known_hosts")
            .to_string_lossy()
            .into_owned()
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.file()).unwrap_or_default()
    }

    fn run(&self, args: &[&str]) -> Ran {
        let file = format!("UserKnownHostsFile={}", self.file());
        let rest = ["-F", "none", "-o", &file, "-o", "GlobalKnownHostsFile=none"];
        self.home.run(&[&["hosts"], args, &rest].concat())
    }

    fn json(&self, args: &[&str]) -> Value {
        self.run(&[args, &["--json"]].concat()).json()
    }

    fn shown(&self) -> String {
        fingerprint(&self.ssh.host_key)
    }

    fn line(&self, key: &str) -> String {
        format!("[127.0.0.1]:{} {key}\n", self.ssh.addr.port())
    }
}

fn other_key() -> String {
    fresh_key().unwrap().public_key().to_openssh().unwrap()
}

#[test]
fn a_key_is_learned_ahead_with_its_fingerprint_and_not_without() {
    let world = World::new();
    let ran = world.run(&["add", &world.target]);
    assert_eq!(ran.code, Some(4), "{}{}", ran.stdout, ran.stderr);
    let way_out = format!(
        "clawline hosts add {} --fingerprint {}",
        world.target,
        world.shown()
    );
    assert!(ran.stderr.contains(&way_out), "{}", ran.stderr);
    let ran = world.run(&["add", &world.target, "--fingerprint", "SHA256:x"]);
    assert_eq!(ran.code, Some(4), "{}", ran.stderr);
    assert!(ran.stderr.contains("not SHA256:x"), "{}", ran.stderr);
    assert_eq!(world.text(), "");

    let done = world.json(&["add", &world.target, "--fingerprint", &world.shown()]);
    assert_eq!(
        (&done["ok"], &done["action"]),
        (&json!(true), &json!("added"))
    );
    let key = world.ssh.host_key.to_openssh().unwrap();
    let key = key.split(' ').take(2).collect::<Vec<_>>().join(" ");
    assert_eq!(world.text(), world.line(&key));
    let again = world.json(&["add", &world.target]);
    assert_eq!(again["action"], "known");
    let listed = world.json(&["list", &world.target]);
    let row = &listed["hosts"][0]["keys"][0];
    assert_eq!(
        (&row["fingerprint"], &row["line"]),
        (&json!(world.shown()), &json!(1))
    );
}

#[test]
fn a_changed_key_is_replaced_on_purpose_alone_and_the_old_file_stays_beside() {
    let world = World::new();
    let old = other_key();
    let before = format!(
        "# mine\n{}@cert-authority * {old}\nx {old}\n",
        world.line(&old)
    );
    std::fs::write(world.file(), &before).unwrap();
    for verb in ["add", "trust"] {
        let ran = world.run(&[verb, &world.target]);
        assert_eq!(ran.code, Some(4), "{verb}: {}", ran.stderr);
        let next = format!("clawline hosts trust {}", world.target);
        assert!(ran.stderr.contains(&next), "{verb}: {}", ran.stderr);
        assert_eq!(world.text(), before);
    }
    let done = world.json(&["trust", &world.target, "--fingerprint", &world.shown()]);
    assert_eq!(
        (&done["action"], &done["removed"][0]["line"]),
        (&json!("replaced"), &json!(2))
    );
    let after = world.text();
    let kept = format!("# mine\n@cert-authority * {old}\nx {old}\n[127.0.0.1]:");
    assert!(after.starts_with(&kept), "{after}");
    assert_eq!(after.lines().count(), 4);
    assert_eq!(
        std::fs::read_to_string(format!("{}.old", world.file())).unwrap(),
        before
    );
    assert_eq!(world.json(&["trust", &world.target])["action"], "known");
}

#[test]
fn a_revoked_key_is_trusted_by_no_option() {
    let world = World::new();
    let key = world.ssh.host_key.to_openssh().unwrap();
    let before = format!("@revoked * {key}\n");
    std::fs::write(world.file(), &before).unwrap();
    for verb in ["add", "trust"] {
        let args = [verb, &world.target, "--fingerprint", &world.shown()];
        let ran = world.run(&args);
        assert_eq!(ran.code, Some(4), "{}", ran.stderr);
        assert!(ran.stderr.contains("is revoked"), "{}", ran.stderr);
        assert_eq!(world.text(), before);
    }
}

#[test]
fn a_line_for_many_hosts_is_not_taken_from_one_of_them() {
    let world = World::new();
    let before = format!("* {}\n", other_key());
    std::fs::write(world.file(), &before).unwrap();
    let ran = world.run(&["trust", &world.target, "--fingerprint", &world.shown()]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("is about more hosts (*)"),
        "{}",
        ran.stderr
    );
    assert_eq!(world.text(), before);
}

#[test]
fn a_host_is_forgotten_under_both_ways_of_writing_it() {
    let world = World::new();
    let key = other_key();
    let line = format!("[h]:2222,h {key}\n@revoked h {key}\n");
    for (name, left) in [
        ("h:2222", format!("h {key}\n@revoked h {key}\n")),
        ("[h]:2222", format!("h {key}\n@revoked h {key}\n")),
        ("h", format!("[h]:2222 {key}\n@revoked h {key}\n")),
    ] {
        std::fs::write(world.file(), &line).unwrap();
        let done = world.json(&["remove", name]);
        assert_eq!(done["removed"][0]["line"], 1, "{name}: {done}");
        assert_eq!(world.text(), left, "{name}");
    }
    let ran = world.run(&["remove", "nobody"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("no line of nobody"), "{}", ran.stdout);
}

/// B17.
#[test]
fn a_name_that_may_deceive_is_warned_about_before_its_key_is_trusted() {
    let world = World::new();
    let add = |alias: &str, more: &[&str]| {
        let alias = format!("HostKeyAlias={alias}");
        world.run(&[&["add", &world.target, "-o", &alias], more].concat())
    };
    let ran = add("xn--pypal-4ve.example", &[]);
    assert_eq!(ran.code, Some(4), "{}{}", ran.stdout, ran.stderr);
    for words in [
        "xn--pypal-4ve.example reads \"p\u{430}ypal.example\"",
        "mixes Cyrillic and Latin letters",
        "trust it only if you know for sure",
    ] {
        assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
    }
    assert_eq!(world.text(), "");
    let ran = add("xn--pypal-4ve.example", &["--fingerprint", &world.shown()]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("mixes Cyrillic and Latin letters"),
        "{}",
        ran.stderr
    );
    assert!(
        world.text().starts_with("xn--pypal-4ve.example "),
        "{}",
        world.text()
    );
    let ran = add("paypal.example", &["--fingerprint", &world.shown()]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(!ran.stderr.contains("trust it only"), "{}", ran.stderr);
}
