//! SECURITY S24 and F41 against the program itself: what its log says, and what a kill leaves.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::told;
use crate::support::program::{Daemon, program, said};
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
    let log = daemon.log();
    let output = daemon.child.wait_with_output().await.unwrap();
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
