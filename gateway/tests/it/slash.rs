//! Slash commands: answered by the gateway, once a key, seen by people and not by models.

use serde_json::{Value, json};

use crate::support::program::Daemon;
use crate::support::{Client, Connect, Device, TestGateway};

const ALL: &[&str] = &["operator.admin", "operator.read", "operator.write"];

async fn operator(gateway: &TestGateway, version: u32) -> Client {
    let connect = Connect::cli(version, &gateway.secret, ALL).with_device(Device::new(1));
    Client::connect(gateway.address, &connect).await.0
}

async fn writer(gateway: &TestGateway, version: u32) -> Client {
    let connect = Connect::cli(version, &gateway.secret, &["operator.write"]);
    let connect = connect.with_device(Device::new(9));
    Client::connect(gateway.address, &connect).await.0
}

fn message(key: &str, text: &str, run: &str) -> Value {
    json!({"sessionKey": key, "message": text, "idempotencyKey": run, "deliver": false})
}

fn end_of(run: &str) -> impl Fn(&Value) -> bool + '_ {
    move |frame| frame["event"] == "chat" && frame["payload"]["runId"] == run
}

fn said(frame: &Value) -> String {
    let text = &frame["payload"]["message"]["content"][0]["text"];
    text.as_str().unwrap_or_default().to_owned()
}

/// Sends a command to the main session; what the gateway answers with.
async fn command(client: &mut Client, text: &str, run: &str) -> String {
    let sent = client.ok("chat.send", message("main", text, run)).await;
    assert_eq!(sent["status"], "started", "{text}: {sent}");
    let end = client.until(end_of(run)).await;
    assert_eq!(end["payload"]["state"], "final", "{text}: {end}");
    said(&end)
}

async fn described(client: &mut Client) -> Value {
    let described = client.ok("sessions.describe", json!({"key": "main"})).await;
    described["session"].clone()
}

#[tokio::test]
async fn every_listed_command_is_answered_with_one_visible_reply_in_both_versions() {
    for version in [3, 4] {
        let gateway = TestGateway::start().await;
        let mut client = operator(&gateway, version).await;
        let listed = client.ok("commands.list", json!({})).await;
        for row in listed["commands"].as_array().unwrap() {
            let name = row["name"].as_str().unwrap();
            if name == "stop" {
                continue;
            }
            let answer = command(&mut client, &format!("/{name}"), name).await;
            assert!(!answer.is_empty(), "/{name}");
            client.ok("health", json!({})).await;
            let ends = client.seen.iter().filter(|frame| end_of(name)(frame));
            assert_eq!(ends.count(), 1, "/{name}");
        }
        let agent = client.seen.iter().find(|frame| frame["event"] == "agent");
        assert_eq!(agent, None, "no model runs for a command");
    }
}

#[tokio::test]
async fn a_model_is_not_shown_commands_and_people_are() {
    let gateway = TestGateway::start().await;
    let mut client = operator(&gateway, 4).await;
    command(&mut client, "/status", "c-1").await;
    client
        .ok("chat.send", message("main", "hello", "r-1"))
        .await;
    let end = client
        .until(|f| end_of("r-1")(f) && f["payload"]["state"] == "final")
        .await;
    // The echo introduces itself only to a conversation that has no answer yet.
    assert!(said(&end).starts_with("This is the built-in echo"));
    let history = client
        .ok("chat.history", json!({"sessionKey": "main"}))
        .await;
    let roles: Vec<&Value> = history["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| &message["role"])
        .collect();
    assert_eq!(roles, ["user", "assistant", "user", "assistant"]);
    assert_eq!(history["messages"][0]["excludeFromContext"], true);
    assert_eq!(history["messages"][0]["idempotencyKey"], "c-1:user");
    assert_eq!(history["messages"][1]["model"], "gateway-injected");
    let listed = json!({"includeDerivedTitles": true});
    let listed = client.ok("sessions.list", listed).await;
    assert_eq!(listed["sessions"][0]["derivedTitle"], "hello");
}

#[tokio::test]
async fn new_and_reset_start_over_once_a_key_for_an_admin_only() {
    let gateway = TestGateway::start().await;
    let mut admin = operator(&gateway, 4).await;
    admin.ok("chat.send", message("main", "hi", "r-1")).await;
    admin
        .until(|f| end_of("r-1")(f) && f["payload"]["state"] == "final")
        .await;
    let mut writer = writer(&gateway, 4).await;
    for text in ["/new", "/reset", "/compact", "/verbose on", "/usage full"] {
        let error = writer.error("chat.send", message("main", text, "w")).await;
        assert_eq!(error["message"], "missing scope: operator.admin", "{text}");
    }
    let before = described(&mut admin).await["sessionId"].clone();
    assert_eq!(
        command(&mut admin, "/new", "n-1").await,
        "New session started."
    );
    let after = described(&mut admin).await["sessionId"].clone();
    assert_ne!(before, after);
    admin.ok("chat.send", message("main", "kept", "r-2")).await;
    admin
        .until(|f| end_of("r-2")(f) && f["payload"]["state"] == "final")
        .await;
    let again = admin.ok("chat.send", message("main", "/new", "n-1")).await;
    assert_eq!(again["status"], "ok");
    assert_eq!(described(&mut admin).await["sessionId"], after);
    let conflict = admin
        .error("chat.send", message("main", "/reset", "n-1"))
        .await;
    assert_eq!(conflict["details"]["code"], "REQUEST_CONFLICT");
    let refused = command(&mut admin, "/new and more", "n-2").await;
    assert!(refused.starts_with("Nothing was changed"), "{refused}");
    assert_eq!(described(&mut admin).await["sessionId"], after);
}

#[tokio::test]
async fn a_reset_by_agent_happens_once_a_key_too() {
    let gateway = TestGateway::start().await;
    let mut admin = operator(&gateway, 4).await;
    let params = json!({"message": "/new", "idempotencyKey": "a-1"});
    let first = admin.ok("agent", params.clone()).await;
    let payload = &first["result"]["payloads"][0];
    assert_eq!(payload["text"], "New session started.");
    let after = described(&mut admin).await["sessionId"].clone();
    let second = admin.ok("agent", params.clone()).await;
    assert_eq!(second["status"], "ok");
    assert_eq!(described(&mut admin).await["sessionId"], after);
    let mut writer = writer(&gateway, 4).await;
    let error = writer.error("agent", params).await;
    assert_eq!(error["message"], "missing scope: operator.admin");
}

#[tokio::test]
async fn a_reset_that_was_acknowledged_before_kill_nine_is_not_done_again() {
    let home = tempfile::tempdir().unwrap();
    let mut sessions = Vec::new();
    let mut statuses = Vec::new();
    for _ in 0..2 {
        let mut gateway = Daemon::start(home.path()).await;
        let connect = Connect::cli(4, &gateway.token(), ALL);
        let mut client = Client::connect(gateway.address(), &connect).await.0;
        let sent = client.ok("chat.send", message("main", "/new", "n-1")).await;
        statuses.push(sent["status"].clone());
        sessions.push(described(&mut client).await["sessionId"].clone());
        gateway.child.kill().await.unwrap();
    }
    assert_eq!(statuses, ["started", "ok"]);
    assert_eq!(sessions[0], sessions[1]);
}

#[tokio::test]
async fn a_late_copy_of_stop_does_not_stop_what_came_after_it() {
    let gateway = TestGateway::start().await;
    let mut client = operator(&gateway, 4).await;
    let long = "word ".repeat(2000);
    client.ok("chat.send", message("main", &long, "l-1")).await;
    let stopped = client
        .ok("chat.send", message("main", "/stop", "s-1"))
        .await;
    assert_eq!(stopped["runIds"], json!(["l-1"]));
    client.ok("chat.send", message("main", &long, "l-2")).await;
    let again = client
        .ok("chat.send", message("main", "/stop", "s-1"))
        .await;
    assert_eq!(again, stopped);
    let second = client
        .ok("chat.send", message("main", "/stop", "s-2"))
        .await;
    assert_eq!(second["runIds"], json!(["l-2"]));
}

#[tokio::test]
async fn settings_are_shown_and_set_as_sessions_patch_would() {
    let gateway = TestGateway::start_with(|settings| {
        settings.models = serde_json::from_value(json!({
            "providers": {"other": {"kind": "echo", "models": ["loud"]}},
        }))
        .unwrap();
    })
    .await;
    let mut client = operator(&gateway, 4).await;
    let shown = command(&mut client, "/model", "m-1").await;
    assert!(shown.contains("/model other/loud"), "{shown}");
    for (text, run, member, value) in [
        ("/model builtin/echo", "m-2", "model", json!("echo")),
        ("/model default", "m-3", "model", json!("loud")),
        ("/think low", "t-1", "thinkingLevel", json!("low")),
        ("/t default", "t-2", "thinkingLevel", Value::Null),
        ("/verbose full", "v-1", "verboseLevel", json!("full")),
        ("/usage tokens", "u-1", "responseUsage", json!("tokens")),
    ] {
        command(&mut client, text, run).await;
        assert_eq!(described(&mut client).await[member], value, "{text}");
    }
    for (text, run) in [
        ("/model nobody/x", "b-1"),
        ("/think enormously", "b-2"),
        ("/compact none", "b-3"),
    ] {
        let before = described(&mut client).await;
        let answer = command(&mut client, text, run).await;
        assert!(!answer.is_empty(), "{text}");
        let after = described(&mut client).await;
        for member in ["model", "thinkingLevel", "sessionId"] {
            assert_eq!(before[member], after[member], "{text}");
        }
    }
    let mut writer = writer(&gateway, 4).await;
    command(&mut writer, "/think high", "w-1").await;
    assert_eq!(described(&mut client).await["thinkingLevel"], "high");
}

#[tokio::test]
async fn no_slash_command_reaches_the_configuration_or_a_model() {
    let gateway = TestGateway::start().await;
    let mut admin = operator(&gateway, 4).await;
    let before = admin.ok("config.get", json!({})).await;
    for version in [3, 4] {
        let mut writer = writer(&gateway, version).await;
        for (at, text) in [
            "/config set gateway.auth.mode none",
            "/CONFIG unset gateway.auth.token",
            "/debug set x=1",
            "/bash id",
            "/elevated full",
            "/approve x allow-always",
            "/restart",
        ]
        .into_iter()
        .enumerate()
        {
            let run = format!("x-{version}-{at}");
            let answer = command(&mut writer, text, &run).await;
            assert!(
                answer.starts_with("There is no command /"),
                "{text}: {answer}"
            );
        }
        let agent = writer.seen.iter().find(|frame| frame["event"] == "agent");
        assert_eq!(agent, None);
    }
    let after = admin.ok("config.get", json!({})).await;
    assert_eq!(before["hash"], after["hash"]);
}
