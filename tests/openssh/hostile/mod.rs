//! Servers that mean harm or are something else: whatever they do, `clawline health` ends soon with an
//! error that names it, small, and with clean words (SECURITY.md §3.1 F32 and F33).

mod raw;
mod rogue;

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::program::{clawline, holds};
use crate::support::sshd::write_key;

/// The longest that anything here may take.
const DEADLINE: Duration = Duration::from_secs(15);
/// What many programs at a time add to it on a machine with few processors. One that never ends takes
/// longer than both.
const MANY: Duration = Duration::from_secs(30);
/// What the program may grow over one that is refused at once, in kB.
const GROWTH: u64 = 16 * 1024;
/// Nothing foreign is longer than this many lines or characters.
const MAX_LINES: usize = 20;
const MAX_CHARS: usize = 1500;

/// A home with a key in it and a known host.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        let home = TempDir::with_prefix("clawline-home-").unwrap();
        write_key(
            &home.path().join("id"),
            &clawline::loopback_ssh::fresh_key().unwrap(),
        );
        Self(home)
    }

    fn knows(&self, port: u16, key: &russh::keys::PublicKey) {
        let key = key.to_openssh().unwrap();
        std::fs::create_dir_all(self.0.path().join(".ssh")).unwrap();
        let line = format!("[127.0.0.1]:{port} {key}\n");
        std::fs::write(self.0.path().join(".ssh/known_hosts"), line).unwrap();
    }
}

/// How a look at a server ended.
#[derive(Debug)]
struct Seen {
    took: Duration,
    exit: i32,
    json: Value,
    stderr: String,
    /// The most memory it had, in kB.
    peak: u64,
}

impl Seen {
    fn text(&self, name: &str) -> &str {
        self.json[name].as_str().unwrap_or_default()
    }

    /// What is said of the layer that failed.
    fn what(&self) -> &str {
        let rows = self.json["rows"].as_array().map_or(&[][..], Vec::as_slice);
        let failed = rows.iter().find(|row| row["state"] == "failed");
        failed
            .and_then(|row| row["detail"].as_str())
            .unwrap_or_default()
    }
}

/// `clawline health --json` of 127.0.0.1 at this port.
async fn look_at(home: &Home, port: u16) -> Seen {
    let started = Instant::now();
    let mut command = tokio::process::Command::from(clawline(home.0.path()));
    let child = command
        .args(["health", "--json", "-p", &port.to_string(), "-i"])
        .arg(home.0.path().join("id"))
        .arg("me@127.0.0.1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let pid = child.id().unwrap();
    let ending = child.wait_with_output();
    tokio::pin!(ending);
    let mut peak = 0;
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    let output = loop {
        tokio::select! {
            output = &mut ending => break output.unwrap(),
            _ = looks.tick() => {
                peak = holds(pid).map_or(peak, |holds| holds.peak.max(peak));
                assert!(started.elapsed() < 4 * DEADLINE, "it does not end");
            }
        }
    };
    let stdout = String::from_utf8_lossy(&output.stdout);
    Seen {
        took: started.elapsed(),
        exit: output.status.code().unwrap_or(-1),
        json: serde_json::from_str(&stdout).unwrap_or(Value::Null),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        peak,
    }
}

/// What holds for every server: an exit code and JSON that agree, in time, small, and clean.
fn assert_bounded(name: &str, seen: &Seen, ordinary: u64, limit: Duration) {
    assert!(seen.took < limit + MANY, "{name}: {seen:?}");
    assert!(seen.peak < ordinary + GROWTH, "{name}: {ordinary} {seen:?}");
    assert_eq!(seen.json["exit"], seen.exit, "{name}: {seen:?}");
    assert!(!seen.stderr.contains("panicked"), "{name}: {seen:?}");
    assert_clean(name, &seen.json);
    assert_clean(name, &Value::String(seen.stderr.clone()));
}

fn assert_clean(name: &str, value: &Value) {
    match value {
        Value::String(text) => {
            let foul = |c: char| c != '\n' && clawline::layer::is_unsafe_to_show(c);
            assert!(!text.contains(foul), "{name}: {text:?}");
            assert!(text.lines().count() <= MAX_LINES, "{name}: {text:?}");
            assert!(text.chars().count() <= MAX_CHARS, "{name}: {text:?}");
        }
        Value::Array(list) => list.iter().for_each(|value| assert_clean(name, value)),
        Value::Object(map) => map.values().for_each(|value| assert_clean(name, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The most memory of a look at a port where nobody listens.
async fn ordinary_size(home: &Home) -> u64 {
    let seen = look_at(home, crate::support::sshd::free_port()).await;
    assert_eq!((seen.exit, seen.text("layer")), (3, "tcp"), "{seen:?}");
    // Short as it is, it may end between two looks at its size.
    seen.peak.max(20 * 1024)
}
