//! SECURITY S24, S73, S75 and F41 against the program itself: what its log says, what it writes, what it
//! reads, and what a kill leaves.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::process::Command;

use super::told;
use crate::support::program::{Daemon, log_in, program, said};
use crate::support::{Client, Connect, Device};

async fn enter(
    daemon: &Daemon,
    headers: &[(&str, &str)],
    connect: &Connect,
) -> Result<Value, Value> {
    let mut client = Client::try_open(daemon.address(), headers)
        .await
        .unwrap_or_else(|(status, body)| panic!("{status} {body}"));
    let answer = client.greet(connect).await;
    told(client, answer).await.map(|(_, hello)| hello)
}

async fn kill(mut daemon: Daemon) {
    daemon.signal(Signal::SIGKILL);
    daemon.child.wait().await.unwrap();
}

#[tokio::test]
async fn s24_no_secret_is_in_the_log_or_on_stderr_at_trace() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    Daemon::configure(home, r#"{ logging: { level: "trace" } }"#);
    let daemon = Daemon::start(home).await;
    let token = daemon.token().trim().to_owned();
    let device = Connect::cli(4, &token, &["operator.read"]).with_device(Device::new(1));
    let hello = enter(&daemon, &[], &device).await.unwrap();
    let device_token = hello["auth"]["deviceToken"].as_str().unwrap().to_owned();
    let wrong = "a wrong secret of somebody";
    enter(&daemon, &[], &Connect::cli(4, wrong, &[]))
        .await
        .unwrap_err();
    let (exit, code) = said(program(home, &["token", "--setup"])).await;
    assert_eq!(exit, 0, "{code}");
    let code = code.lines().next().unwrap().to_owned();
    let phone = Connect::cli(4, "", &["operator.read"])
        .set("/auth", json!({"bootstrapToken": code}))
        .with_device(Device::new(2));
    enter(&daemon, &[], &phone).await.unwrap();
    let (exit, text) = said(program(home, &["token", "--rotate"])).await;
    assert_eq!(exit, 0, "{text}");
    let new = daemon.token().trim().to_owned();
    assert_ne!(new, token);
    daemon.signal(Signal::SIGTERM);
    let output = daemon.child.wait_with_output().await.unwrap();
    let log = log_in(home);
    let all = [log.into_bytes(), output.stdout, output.stderr].concat();
    let all = String::from_utf8_lossy(&all);
    assert!(
        all.contains("\"TRACE\"") || all.contains("connected"),
        "{all}"
    );
    for secret in [&token, &device_token, &code, &new, &wrong.to_owned()] {
        assert!(!all.contains(secret.as_str()), "{secret} is in the log");
    }
}

#[tokio::test]
async fn f41_a_kill_between_request_approval_and_hello_loses_and_doubles_nothing() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let daemon = Daemon::start(home).await;
    let token = daemon.token().trim().to_owned();
    let device = Connect::cli(4, &token, &["operator.read"]).with_device(Device::new(3));
    // A page of ours is asked about even for the owner.
    let page = |daemon: &Daemon| format!("http://{}", daemon.address());
    let own = page(&daemon);
    let refusal = enter(&daemon, &[("origin", &own)], &device)
        .await
        .unwrap_err();
    let request = refusal["error"]["details"]["requestId"]
        .as_str()
        .unwrap()
        .to_owned();
    kill(daemon).await;

    let daemon = Daemon::start(home).await;
    let own = page(&daemon);
    let again = enter(&daemon, &[("origin", &own)], &device)
        .await
        .unwrap_err();
    assert_eq!(
        again["error"]["details"]["requestId"], request,
        "the same request"
    );
    let (exit, text) = said(program(home, &["devices", "approve", &request])).await;
    assert_eq!(exit, 0, "{text}");
    kill(daemon).await;

    let daemon = Daemon::start(home).await;
    let own = page(&daemon);
    enter(&daemon, &[("origin", &own)], &device).await.unwrap();
    let (_, listed) = said(program(home, &["devices", "list", "--json"])).await;
    let listed: Value = serde_json::from_str(listed.lines().next().unwrap()).unwrap();
    assert_eq!(listed["paired"].as_array().unwrap().len(), 1);
    assert_eq!(listed["pending"], json!([]));
    let (exit, _) = said(program(home, &["devices", "approve", &request])).await;
    assert_eq!(exit, 1, "a request is used once");
    kill(daemon).await;
}

/// Every file and directory below, with its mode.
fn modes(dir: &Path, into: &mut Vec<(PathBuf, u32)>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let meta = std::fs::symlink_metadata(&path).unwrap();
        into.push((path.clone(), meta.permissions().mode() & 0o777));
        if meta.is_dir() {
            modes(&path, into);
        }
    }
}

#[tokio::test]
async fn s73_whatever_the_umask_nobody_else_reads_what_the_daemon_writes() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    Daemon::configure(home, "{gateway: {tls: {enabled: true}}}");
    let binary = env!("CARGO_BIN_EXE_clawline-gateway");
    let state = home.join(".local/state/clawline-gateway");
    let control = home.join("control");
    for kill in [Signal::SIGKILL, Signal::SIGTERM] {
        let touch = format!("umask 000; touch {}", control.display());
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{touch}; exec {binary} run --port 0")])
            .env_clear()
            .env("HOME", home)
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let mut daemon = Daemon::started(home, command).await;
        daemon.signal(kill);
        daemon.child.wait().await.unwrap();
    }
    let mut all = Vec::new();
    modes(&state, &mut all);
    modes(&home.join(".clawline"), &mut all);
    let has = |name: &str| all.iter().any(|(path, _)| path.ends_with(name));
    for name in ["gateway.db", "token", "tls/key.pem", "logs/gateway.jsonl"] {
        assert!(has(name), "{name} was looked at: {all:?}");
    }
    let open: Vec<_> = all.iter().filter(|(_, mode)| mode & 0o077 != 0).collect();
    assert!(open.is_empty(), "{open:?}");
    // The umask was in force: what takes no care is open to all.
    let control = std::fs::metadata(control).unwrap();
    assert_eq!(control.permissions().mode() & 0o777, 0o666);
}

#[tokio::test]
async fn b23_of_a_token_only_its_last_line_break_is_left_out_and_that_is_told() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let token = async |name: &str, value: &str, args: &[&str]| {
        let ran = program(home, args).env(name, value).output().await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (ran.status.code(), text(ran.stdout), text(ran.stderr))
    };
    let secret = "a-token-of-this-test-alone";
    for name in ["OPENCLAW_GATEWAY_TOKEN", "CLAWLINE_GATEWAY_TOKEN"] {
        let (code, printed, told) = token(name, &format!("{secret}\n"), &["token"]).await;
        assert_eq!((code, printed.trim_end()), (Some(0), secret), "{told}");
        let words = format!("environment {name}: the line break at its end is left out");
        assert!(told.contains(&words) && !told.contains(secret), "{told}");
        for value in [
            format!(" {secret}\n"),
            format!("{secret}\n\n"),
            format!("{secret} b"),
        ] {
            for args in [&["token"][..], &["run", "--port", "0"]] {
                let (code, printed, refused) = token(name, &value, args).await;
                assert_eq!((code, printed.as_str()), (Some(2), ""), "{value:?}");
                assert!(
                    refused.contains(&format!("environment {name} ")),
                    "{refused}"
                );
                assert!(refused.contains("white space"), "{refused}");
                assert!(!refused.contains(secret), "{refused}");
            }
        }
    }
    let file = home.join("token-file");
    let run = &["run", "--port", "0", "--token-file", file.to_str().unwrap()];
    let secret_file = clawline::secret::Secret::new(format!("{secret} b\n"));
    clawline::owner_file::create_new(&file, &secret_file).unwrap();
    let (code, _, refused) = token("UNRELATED", "x", run).await;
    assert_eq!(code, Some(2), "{refused}");
    assert!(
        refused.contains("token-file has white space in it"),
        "{refused}"
    );
    std::fs::write(&file, format!("{secret}\n")).unwrap();
    let daemon = Daemon::started(home, program(home, run)).await;
    let device = Connect::cli(4, secret, &["operator.read"]).with_device(Device::new(1));
    enter(&daemon, &[], &device).await.unwrap();
    kill(daemon).await;
}

#[tokio::test]
async fn s75_nothing_in_the_directory_it_is_started_in_configures_the_daemon() {
    let home = tempfile::tempdir().unwrap();
    let hostile = tempfile::tempdir().unwrap();
    let evil = "{gateway: {auth: {mode: 'none'}, allowedHosts: ['evil.example']}}";
    for (name, text) in [
        ("clawline.json5", evil),
        ("openclaw.json", evil),
        (
            ".env",
            "CLAWLINE_GATEWAY_AUTH_MODE=none\nCLAWLINE_GATEWAY_TOKEN=known-to-all-of-them\n",
        ),
    ] {
        std::fs::write(hostile.path().join(name), text).unwrap();
    }
    let daemon = Daemon::start_in(home.path(), hostile.path(), &[]).await;
    let token = daemon.token();
    assert_ne!(token.trim(), "known-to-all-of-them");
    let nothing = Connect::cli(4, "", &["operator.read"]).without("/auth");
    enter(&daemon, &[], &nothing).await.unwrap_err();
    let evil = Client::try_open(daemon.address(), &[("host", "evil.example")]).await;
    assert_eq!(evil.err().map(|(status, _)| status), Some(421));
    // Named, the same file counts: it would have been seen.
    kill(daemon).await;
    let file = hostile.path().join("clawline.json5");
    let args = ["--config", file.to_str().unwrap()];
    let daemon = Daemon::start_in(home.path(), hostile.path(), &args).await;
    let evil = Client::try_open(daemon.address(), &[("host", "evil.example")]).await;
    assert!(evil.is_ok());
    kill(daemon).await;
}
