//! The program itself: flags, signals, exit codes, and what it writes.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::program::{DEADLINE, Daemon, NOTICE, program, said};
use crate::support::{Client, Connect, Device};

fn every_file(below: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            every_file(&path, out);
        } else {
            out.push(path);
        }
    }
}

#[tokio::test]
async fn no_secret_reaches_log_or_terminal_and_every_file_is_owner_only() {
    let home = tempfile::tempdir().unwrap();
    let mut command = program(home.path(), &["run", "--port", "0"]);
    command.env("CLAWLINE_LOG", "trace");
    let gateway = Daemon::started(home.path(), command).await;
    let address = gateway.address();
    let token_file = gateway.notice.token_file.clone().unwrap();
    let token = gateway.token();
    let connect = Connect::cli(4, &token, &["operator.admin"]).with_device(Device::new(1));
    let (mut client, hello) = Client::connect(address, &connect).await;
    let device_token = hello["auth"]["deviceToken"].as_str().unwrap().to_owned();
    Client::refused(address, &Connect::cli(4, "GUESSED-TOKEN", &[])).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /?token={token} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    let tail = client.ok("logs.tail", json!({})).await;
    assert!(!tail["lines"].as_array().unwrap().is_empty());

    let mut files = Vec::new();
    every_file(home.path(), &mut files);
    assert!(files.len() >= 5, "{files:?}");
    for file in &files {
        let mode = std::fs::metadata(file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.display());
    }
    gateway.signal(Signal::SIGTERM);
    assert_eq!(client.closed().await.0, 1012);
    drop(client);
    let output = gateway.child.wait_with_output();
    let output = tokio::time::timeout(DEADLINE, output)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(!home.path().join(NOTICE).exists());
    let log = files.iter().find(|f| f.ends_with("gateway.jsonl")).unwrap();
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("connect refused"), "the log was looked at");
    let terminal = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    for secret in [token.as_str(), &device_token, "GUESSED-TOKEN"] {
        assert!(!log.contains(secret) && !terminal.contains(secret));
    }
    assert!(terminal.contains(&format!("token in {}", token_file.display())));
    assert!(terminal.contains("echo: no model configured, answers repeat what you say"));
}

#[tokio::test]
async fn wrong_usage_a_second_instance_and_a_taken_port_have_their_own_exit_codes() {
    let home = tempfile::tempdir().unwrap();
    let said = async |home: &Path, args: &[&str]| said(program(home, args)).await;
    let (code, text) = said(home.path(), &["status"]).await;
    assert_eq!(code, 1, "{text}");
    let mut gateway = Daemon::start(home.path()).await;
    let (code, text) = said(home.path(), &["status"]).await;
    assert_eq!(code, 0, "{text}");
    let (code, text) = said(home.path(), &["run", "--port", "0"]).await;
    assert_eq!(code, 2, "{text}");
    let pid = gateway.notice.pid.to_string();
    assert!(text.contains(&format!("(pid {pid}")), "{text}");
    let other = tempfile::tempdir().unwrap();
    let port = gateway.notice.port.to_string();
    let (code, text) = said(other.path(), &["run", "--port", &port]).await;
    assert_eq!(code, 8, "{text}");
    for args in [
        &["run", "--bind", "everywhere", "--token", "t"][..],
        &["run", "--auth", "guess"],
        &["run", "--token-file", "/does/not/exist"],
        &["run", "--profile", "../x"],
        &["nonsense"],
    ] {
        let (code, text) = said(other.path(), args).await;
        assert_eq!(code, 2, "{args:?}: {text}");
    }
    let (code, token) = said(home.path(), &["token"]).await;
    assert_eq!((code, token.trim()), (0, gateway.token().as_str()));
    gateway.signal(Signal::SIGINT);
    let status = tokio::time::timeout(DEADLINE, gateway.child.wait())
        .await
        .unwrap();
    assert_eq!(status.unwrap().code(), Some(0));
}

#[tokio::test]
async fn the_help_teaches_by_examples_and_says_variables_and_exit_codes() {
    let home = tempfile::tempdir().unwrap();
    let (code, text) = said(program(home.path(), &["--help"])).await;
    assert_eq!(code, 0, "{text}");
    for words in [
        "clawline-gateway run ",
        "CLAWLINE_CONFIG",
        "CLAWLINE_GATEWAY_PORT",
        "Exit codes: 0 good",
        "8 the port cannot be bound",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    for command in [
        "run", "token", "tls", "devices", "nodes", "install", "config", "backup", "restore",
    ] {
        let (code, text) = said(program(home.path(), &[command, "--help"])).await;
        assert_eq!(code, 0, "{text}");
        let example = format!("\n  clawline-gateway {command} ");
        let alone = format!("\n  clawline-gateway stop && clawline-gateway {command} ");
        assert!(text.contains(&example) || text.contains(&alone), "{text}");
    }
}
