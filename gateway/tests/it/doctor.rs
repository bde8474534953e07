//! `doctor`: each fault is named with the command that helps, and what can be closed is closed.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use crate::support::program::{Daemon, program, said};

fn set(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

async fn rows(home: &Path, args: &[&str]) -> (i32, Vec<Value>) {
    let all = [&["doctor", "--json"], args].concat();
    let mut command = program(home, &all);
    command.env("CLAWLINE_GATEWAY_PORT", "1");
    let (code, text) = said(command).await;
    let report: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
    assert_eq!(report["ok"], code == 0, "{text}");
    (code, report["rows"].as_array().unwrap().clone())
}

fn bad(rows: &[Value]) -> Vec<(String, String)> {
    let bad = rows.iter().filter(|row| row["level"] == "bad");
    bad.map(|row| {
        let text = |member: &str| row[member].as_str().unwrap_or_default().to_owned();
        (text("id"), format!("{} {}", text("what"), text("fix")))
    })
    // The port of these tests is one that nobody may have.
    .filter(|(id, _)| id != "port")
    .collect()
}

#[tokio::test]
async fn a_healthy_gateway_has_nothing_bad_and_open_files_are_named_and_closed() {
    let home = tempfile::tempdir().unwrap();
    let (_, before) = rows(home.path(), &[]).await;
    assert_eq!(bad(&before), []);
    let mut daemon = Daemon::start(home.path()).await;
    let (_, running) = rows(home.path(), &[]).await;
    assert_eq!(bad(&running), []);
    let ids: Vec<&str> = running
        .iter()
        .map(|row| row["id"].as_str().unwrap())
        .collect();
    for id in [
        "config", "state", "token", "port", "clock", "disk", "store", "service",
    ] {
        assert!(ids.contains(&id), "{id} in {ids:?}");
    }
    daemon.child.kill().await.unwrap();

    let state = home.path().join(".local/state/clawline-gateway");
    let token = state.join("token");
    set(&token, 0o644);
    set(&state.join("logs"), 0o755);
    Daemon::configure(
        home.path(),
        "{gateway: {auth: {token: 'a-secret-for-this-test'}}}",
    );
    let config = home.path().join(".config/clawline/clawline.json5");
    set(&config, 0o644);
    let (code, open) = rows(home.path(), &[]).await;
    assert_eq!(code, 1);
    let told: Vec<String> = bad(&open).into_iter().map(|(_, text)| text).collect();
    for path in [&token, &config] {
        let command = format!("chmod 600 {}", path.display());
        assert!(
            told.iter().any(|text| text.contains(&command)),
            "{command} in {told:?}"
        );
    }
    assert!(
        told.iter().any(|text| text.contains("chmod 700")),
        "{told:?}"
    );
    assert!(!format!("{open:?}").contains("a-secret-for-this-test"));
    let (_, fixed) = rows(home.path(), &["--fix"]).await;
    assert_eq!(bad(&fixed), []);
    let mode = std::fs::metadata(&token).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
}

#[tokio::test]
async fn a_taken_port_a_wrong_key_and_a_damaged_store_are_told() {
    let home = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut command = program(home.path(), &["doctor"]);
    command.env("CLAWLINE_GATEWAY_PORT", &port);
    let (code, text) = said(command).await;
    assert_eq!(code, 1, "{text}");
    let pid = format!("(pid {})", std::process::id());
    assert!(text.contains(&format!("{port} is taken by")), "{text}");
    assert!(text.contains(&pid), "{text}");
    // `run` says the same.
    let (code, text) = said(program(home.path(), &["run", "--port", &port])).await;
    assert_eq!(code, 8, "{text}");
    assert!(text.contains(&pid), "{text}");

    let home = tempfile::tempdir().unwrap();
    Daemon::configure(home.path(), "{gateway: {prot: 1}}");
    let database = home.path().join(".local/state/clawline-gateway/gateway.db");
    std::fs::create_dir_all(database.parent().unwrap()).unwrap();
    set(database.parent().unwrap(), 0o700);
    std::fs::write(&database, "this is a letter".repeat(300)).unwrap();
    set(&database, 0o600);
    let (_, rows) = rows(home.path(), &[]).await;
    let told = bad(&rows);
    let is_told = |id: &str, text: &str| {
        told.iter()
            .any(|(at, what)| at == id && what.contains(text))
    };
    assert!(is_told("config", "did you mean \"port\"?"), "{told:?}");
    assert!(is_told("store", "gateway.db"), "{told:?}");
}

#[tokio::test]
async fn a_state_directory_that_others_can_change_keeps_the_gateway_from_starting() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join(".local/state/clawline-gateway");
    std::fs::create_dir_all(&state).unwrap();
    set(&state, 0o777);
    let (code, text) = said(program(home.path(), &["run", "--port", "0"])).await;
    assert_eq!(code, 2, "{text}");
    assert!(
        text.contains(&format!("chmod 700 {}", state.display())),
        "{text}"
    );
    std::fs::remove_dir_all(&state).unwrap();
    std::os::unix::fs::symlink(home.path(), &state).unwrap();
    let (code, text) = said(program(home.path(), &["run", "--port", "0"])).await;
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("is a link"), "{text}");
}
