//! What programs get that read the JSON: one shape, whatever ended the command.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::support::Home;
use crate::tunnel::world::eventually;

/// A gateway that takes a connection and says nothing, and its URL.
fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    (listener, url)
}

fn start(home: &Home, args: &[&str]) -> Child {
    let mut command = home.command(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Sends it once the program listens to it, which is the case a moment after its start.
fn send(signal: Signal, child: &Child) {
    eventually("it listens to the signal", || {
        listens_to(signal, child.id()).then_some(())
    });
    kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
}

fn listens_to(signal: Signal, pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = u64::from_str_radix(caught.unwrap().trim(), 16).unwrap();
    caught & (1 << (signal as i32 - 1)) != 0
}

fn has_the_shape(json: &Value, target: &str, exit: u8) {
    assert_eq!(json["v"], 1, "{json}");
    assert_eq!(json["target"], target, "{json}");
    assert_eq!((&json["ok"], &json["exit"]), (&json!(false), &json!(exit)));
    assert!(json["peerText"].is_string() && json["next"].is_string());
    assert!(json["error"].is_string() && json["notes"].is_array());
    assert_eq!(json["rows"].as_array().map(Vec::len), Some(11), "{json}");
}

#[test]
fn wrong_usage_has_the_shape_of_every_other_answer() {
    for (args, target) in [
        (
            &["health", "desktop", "--profile", "../x", "--json"][..],
            "desktop",
        ),
        (&["me@desktop", "health", "--json"], "me@desktop"),
        (&["a", "-H", "b", "--json"], "a"),
        (&["--json", "--no-such-option"], ""),
        (&["health", "--json", "--watch=0"], ""),
        (&["user@", "--tunnel-only", "--json"], "user@"),
        (
            &["agent", "--json", "--message", " ", "-H", "desktop"],
            "desktop",
        ),
    ] {
        let ran = Home::new().run(args);
        assert_eq!(ran.code, Some(2), "{args:?}: {}{}", ran.stdout, ran.stderr);
        has_the_shape(&ran.json(), target, 2);
        assert_eq!(ran.stderr, "", "{args:?}");
    }
}

#[test]
fn a_broken_config_file_has_the_shape_too() {
    let home = Home::new();
    home.write("bad.json5", "{");
    let path = home.path().join("bad.json5");
    let ran = home.run(&["health", "--json", "--config", path.to_str().unwrap()]);
    assert_eq!(ran.code, Some(2), "{}{}", ran.stdout, ran.stderr);
    has_the_shape(&ran.json(), "", 2);
}

#[test]
fn an_interrupted_command_says_how_far_it_came() {
    let home = Home::new();
    let (listener, url) = silent();
    let child = start(&home, &["health", "--url", &url, "--token", "t", "--json"]);
    let (mut open, _) = listener.accept().unwrap();
    // The kernel accepts before the program knows: its first byte says that it does.
    open.read_exact(&mut [0]).unwrap();
    send(Signal::SIGINT, &child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    has_the_shape(&json, json["target"].as_str().unwrap_or("?"), 130);
    assert_eq!(json["rows"][1]["state"], "ok", "{json}");
}

#[test]
fn sigterm_is_exit_143() {
    let home = Home::new();
    let (listener, url) = silent();
    let child = start(&home, &["health", "--url", &url, "--token", "t"]);
    let _open = listener.accept().unwrap();
    send(Signal::SIGTERM, &child);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(143));
}

#[test]
fn a_message_that_never_ends_can_be_interrupted() {
    let home = Home::new();
    let mut command = home.command(&["agent", "--message", "-", "--json"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let _stdin = child.stdin.take();
    send(Signal::SIGINT, &child);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
}

#[test]
fn a_watch_has_a_line_for_each_look_while_it_connects() {
    let home = Home::new();
    let (_listener, url) = silent();
    let args = [
        "health",
        "--watch=1",
        "--url",
        &url,
        "--token",
        "t",
        "--json",
    ];
    let mut child = start(&home, &args);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut look = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    let mut seen = 0;
    while seen < 2 {
        let json = look();
        if json["layer"] == "websocket" {
            has_the_shape(&json, json["target"].as_str().unwrap_or("?"), 7);
            seen += 1;
        } else {
            // At the first look a program on a busy machine may not have come so far.
            assert_eq!((&json["ok"], seen), (&json!(false), 0), "{json}");
        }
    }
    send(Signal::SIGINT, &child);
    // There may be one more look before the signal is there.
    let last = std::iter::repeat_with(look).find(|json| json["exit"] != 7);
    assert_eq!(last.unwrap()["exit"], 130);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
