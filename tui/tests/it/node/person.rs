//! The person at the node's terminal, who is asked about programs.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use nix::pty::openpty;
use serde_json::json;

use super::gateway::{Gateway, Node};
use crate::support::Home;
use crate::tunnel::world::DEADLINE;

/// A node in a terminal of its own.
struct Seat {
    child: Child,
    keys: File,
    output: Receiver<Vec<u8>>,
    seen: String,
    _home: Home,
}

impl Seat {
    fn new(gateway: &Gateway) -> Self {
        let pty = openpty(None, None).unwrap();
        let (home, terminal) = (Home::new(), File::from(pty.slave));
        let end = || terminal.try_clone().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_clawline"))
            .args([
                "node",
                "run",
                "--url",
                &gateway.url(),
                "--token",
                "t",
                "--exec",
                "allowlist",
            ])
            .env_clear()
            .env("HOME", home.path())
            .env("TERM", "xterm-256color")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let keys = File::from(pty.master);
        let mut reader = keys.try_clone().unwrap();
        let (tx, output) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if tx.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            keys,
            output,
            seen: String::new(),
            _home: home,
        }
    }

    /// Reads on until `text`; what came until then is not looked at again.
    fn until(&mut self, text: &str) -> String {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            let left = end.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("{text:?} never came: {:?}", self.seen),
            }
        }
    }

    fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn begin(node: &mut Node, argv: &[&str]) -> String {
    node.begin(
        "system.run",
        &json!({ "command": argv, "cwd": "/" }),
        60_000,
    )
}

#[test]
fn a_person_sees_what_would_run_and_decides() {
    let gateway = Gateway::new(3);
    let mut seat = Seat::new(&gateway);
    let mut node = gateway.accept();
    seat.until("state=up");

    let id = begin(&mut node, &["echo", "a\u{202e}b"]);
    let question = seat.until("Run it?");
    assert!(
        question.contains("echo 'a\\u{202E}b'") && question.contains("invisible"),
        "{question}"
    );
    assert!(!question.contains('\u{202e}') && question.contains("/usr/bin/echo"));
    seat.types("y\r");
    assert_eq!(node.result(&id).unwrap()["stdout"], "a\u{202e}b\n");

    let id = begin(&mut node, &["uname", "-s"]);
    seat.until("[a] yes, and put it on the list");
    seat.types("\r");
    assert!(node.result(&id).unwrap_err().contains("said no"));

    let id = begin(&mut node, &["uname", "-s"]);
    seat.until("Run it?");
    seat.types("a\r");
    assert!(node.result(&id).is_ok());
    // From now on without a question.
    assert_eq!(
        node.invoke("system.run", &json!({"command": ["uname", "-s"]}))
            .unwrap()["stdout"],
        "Linux\n"
    );
}
