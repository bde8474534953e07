//! The configuration of the program itself: what it shows, what it refuses, what it never reads.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;

use crate::support::program::{Daemon, program, said, wait_for};

#[tokio::test]
async fn what_is_configured_is_shown_with_its_source_and_without_secrets() {
    let home = tempfile::tempdir().unwrap();
    Daemon::configure(
        home.path(),
        "{gateway: {auth: {token: 'a-secret-for-this-test'}, allowedHosts: ['gw.example']}}",
    );
    let file = home.path().join(".config/clawline/clawline.json5");
    let (code, text) = said(program(home.path(), &["config", "path"])).await;
    assert_eq!((code, text.trim()), (0, file.to_str().unwrap()));
    let (code, text) = said(program(home.path(), &["config", "check"])).await;
    assert_eq!(code, 0, "{text}");
    let mut command = program(home.path(), &["config", "show", "--sources"]);
    command.env("CLAWLINE_GATEWAY_PORT", "4711");
    let (code, text) = said(command).await;
    assert_eq!(code, 0, "{text}");
    for line in [
        "gateway.port = 4711  (environment CLAWLINE_GATEWAY_PORT)".to_owned(),
        format!(
            "gateway.allowedHosts = [\"gw.example\"]  ({})",
            file.display()
        ),
        format!("gateway.auth.token = \"***\"  ({})", file.display()),
        "gateway.bind = \"loopback\"  (default)".to_owned(),
    ] {
        assert!(text.lines().any(|have| have == line), "{line} in {text}");
    }
    assert!(!text.contains("a-secret-for-this-test"));
    let (_, text) = said(program(home.path(), &["config", "show", "--json"])).await;
    let shown: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(shown["values"]["gateway.bind"]["source"], "default");
}

#[tokio::test]
async fn mistakes_are_told_all_at_once_with_their_places_and_the_gateway_does_not_start() {
    let home = tempfile::tempdir().unwrap();
    Daemon::configure(
        home.path(),
        "{\n  gateway: {prot: 1, bind: 'all'},\n  agents: {list: [{id: 'A b'}]},\n}",
    );
    for args in [&["config", "check"][..], &["run", "--port", "0"]] {
        let (code, text) = said(program(home.path(), args)).await;
        assert_eq!(code, 2, "{text}");
        for part in [
            "clawline.json5:2:13: gateway.prot: unknown key; did you mean \"port\"?",
            "clawline.json5:2:28: gateway.bind: must be one of",
            "clawline.json5:3:24: agents.list[0].id: must be",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
    for (file, what) in [("/dev/zero", "no regular file"), ("/", "no regular file")] {
        let (code, text) = said(program(home.path(), &["config", "check", "--config", file])).await;
        assert_eq!(code, 2, "{text}");
        assert!(text.contains(what), "{text}");
    }
}

fn every_path(below: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            every_path(&path, out);
        }
        out.push(path);
    }
}

#[tokio::test]
async fn whatever_the_umask_everything_in_the_state_is_closed_to_others() {
    let home = tempfile::tempdir().unwrap();
    let mut command = tokio::process::Command::new("/bin/sh");
    let line = format!(
        "umask 000; exec '{}' run --port 0",
        env!("CARGO_BIN_EXE_clawline-gateway")
    );
    command
        .args(["-c", &line])
        .env_clear()
        .env("HOME", home.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let notice = home.path().join(".clawline/gateway.json");
    wait_for("the gateway", async || notice.exists().then_some(())).await;
    child.kill().await.unwrap();
    // Once more, over what the kill has left.
    let mut daemon = Daemon::start(home.path()).await;
    let saved = home.path().join("saved");
    let (code, text) = said(program(home.path(), &["backup", saved.to_str().unwrap()])).await;
    assert_eq!(code, 0, "{text}");
    daemon.child.kill().await.unwrap();
    for top in [home.path().join(".local/state/clawline-gateway"), saved] {
        let mut paths = vec![top.clone()];
        every_path(&top, &mut paths);
        assert!(paths.len() >= 3, "{paths:?}");
        for path in paths {
            let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            let wanted = if path.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode, wanted, "{}", path.display());
        }
    }
}

#[tokio::test]
async fn the_directory_it_is_started_in_is_never_read() {
    let home = tempfile::tempdir().unwrap();
    let hostile = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = hostile.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write(
        ".env",
        "CLAWLINE_GATEWAY_AUTH_MODE=none\nOPENCLAW_GATEWAY_TOKEN=evil\n",
    );
    for name in ["clawline.json5", "openclaw.json", ".openclaw/openclaw.json"] {
        write(
            name,
            "{gateway: {auth: {mode: 'none'}, allowedHosts: ['evil.example']}}",
        );
    }
    write("token", "evil");
    let mut command = program(home.path(), &["config", "show", "--json"]);
    command.current_dir(hostile.path());
    let (code, text) = said(command).await;
    assert_eq!(code, 0, "{text}");
    let shown: Value = serde_json::from_str(&text).unwrap();
    let values = shown["values"].as_object().unwrap();
    assert!(
        values.values().all(|value| value["source"] == "default"),
        "{text}"
    );
    let mut command = program(home.path(), &["token"]);
    command.current_dir(hostile.path());
    let (code, text) = said(command).await;
    assert_eq!((code, text.trim().len()), (0, 43), "{text}");
}
