//! Stopping under load: nothing new comes in, nothing that was begun is lost.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::metrics::get;
use crate::support::program::{DEADLINE, Daemon, wait_for};
use crate::support::{Client, Connect};

/// A text that the echo takes longer to repeat than this test.
fn long_text() -> String {
    "word ".repeat(4000)
}

#[tokio::test]
async fn while_it_stops_new_callers_are_told_to_come_back_and_a_second_signal_does_not_wait() {
    let home = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start_with(home.path(), &["--grace", "60"]).await;
    let connect = Connect::cli(4, &daemon.token(), &["operator.admin"]);
    let (mut client, _) = Client::connect(daemon.address(), &connect).await;
    let send = json!({"sessionKey": "main", "message": long_text(), "idempotencyKey": "one"});
    client.ok("chat.send", send).await;
    client.event("chat").await;
    daemon.signal(Signal::SIGTERM);
    let shutdown = client.event("shutdown").await;
    assert_eq!(shutdown["payload"]["reason"], "gateway stopping");
    let (status, answer) = get(daemon.address(), "/", "").await;
    assert_eq!(status, 503, "{answer}");
    assert!(answer.contains("retry-after: "), "{answer}");
    let (status, answer) = get(daemon.address(), "/readyz", "").await;
    assert_eq!(status, 503, "{answer}");
    assert!(answer.contains("stopping"), "{answer}");
    assert_eq!(get(daemon.address(), "/healthz", "").await.0, 200);
    daemon.signal(Signal::SIGTERM);
    // Who waits for the answer to end, ends with success.
    let status = tokio::time::timeout(DEADLINE, daemon.child.wait()).await;
    assert_eq!(status.unwrap().unwrap().code(), Some(130));

    // What was being answered is marked, not lost and not repeated.
    let daemon = Daemon::start(home.path()).await;
    let (mut client, _) = Client::connect(daemon.address(), &connect).await;
    let history = wait_for("the conversation", async || {
        let history = client
            .ok("chat.history", json!({"sessionKey": "main"}))
            .await;
        let messages = history["messages"].as_array().unwrap().clone();
        (!messages.is_empty()).then_some(messages)
    })
    .await;
    let said = |role: &str| history.iter().filter(|m| m["role"] == role).count();
    assert_eq!(said("user"), 1, "{history:?}");
    assert!(said("assistant") <= 1, "{history:?}");
}

#[tokio::test]
async fn an_idle_daemon_hands_over() {
    let home = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(home.path()).await;
    let connect = Connect::cli(4, &daemon.token(), &["operator.admin"]);
    let (mut client, _) = Client::connect(daemon.address(), &connect).await;
    client.ok("health", json!({})).await;
    daemon.signal(Signal::SIGTERM);
    let status = tokio::time::timeout(DEADLINE, daemon.child.wait()).await;
    assert_eq!(status.unwrap().unwrap().code(), Some(0));
    Daemon::start(home.path()).await;
}
