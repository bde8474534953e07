//! SECURITY S77: where on its machine the gateway lives, and how the machine is called, is for admins.

use std::time::Duration;

use clawline_gateway::settings::GatewaySettings;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{enter_keeping, refused_unless};
use crate::support::{Client, Connect, Device, TestGateway};

/// For an answer, or an event, among others.
const DEADLINE: Duration = Duration::from_secs(30);
/// How the machine is called in these tests.
const HOST: &str = "machine-of-this-test.example";
/// Every scope but the one for everything.
const NOT_ADMIN: [&str; 5] = [
    "operator.read",
    "operator.write",
    "operator.approvals",
    "operator.pairing",
    "operator.questions",
];
/// What reads, with parameters with which it has something to answer.
const READS: &[(&str, &str)] = &[
    ("health", "{}"),
    ("status", "{}"),
    ("system-presence", "{}"),
    ("last-heartbeat", "{}"),
    ("channels.status", "{}"),
    ("logs.tail", "{}"),
    ("config.get", "{}"),
    ("system.info", "{}"),
    ("gateway.identity.get", "{}"),
    ("gateway.suspend.status", r#"{"suspensionId": "x"}"#),
    ("tools.catalog", "{}"),
    ("skills.status", "{}"),
    ("usage.status", "{}"),
    ("usage.cost", "{}"),
    ("cron.list", "{}"),
    ("cron.status", "{}"),
    ("taskSuggestions.list", "{}"),
    ("node.list", "{}"),
    ("sessions.list", "{}"),
    ("sessions.subscribe", r#"{"limit": 5}"#),
    ("sessions.describe", r#"{"key": "main"}"#),
    ("sessions.messages.subscribe", r#"{"key": "main"}"#),
    ("sessions.messages.unsubscribe", r#"{"key": "main"}"#),
    ("sessions.preview", r#"{"keys": ["main"]}"#),
    ("sessions.search", r#"{"query": "hello"}"#),
    ("agents.list", "{}"),
    ("agent.identity.get", "{}"),
    ("models.list", "{}"),
    ("commands.list", "{}"),
    ("chat.history", r#"{"sessionKey": "main"}"#),
    ("chat.startup", r#"{"sessionKey": "main"}"#),
    ("chat.metadata", r#"{"sessionKey": "main"}"#),
    ("voicewake.get", "{}"),
    ("voicewake.routing.get", "{}"),
];

/// A gateway that has much to tell: a configuration with paths, the machine's name and a mistake in it, and
/// a log with paths and with that name, alone and as the network has it.
fn talkative(settings: &mut GatewaySettings) {
    let home = settings.state_dir.parent().unwrap().to_owned();
    settings.host = HOST.to_owned();
    settings.config.path = home.join("clawline.json5");
    let tls = json!({"certPath": home.join("cert.pem"), "keyPath": "/etc/ssl/private/key.pem"});
    let config = json!({"gateway": {"tls": tls, "allowedHosts": [HOST, "machine-of-this-test"]}});
    std::fs::write(&settings.config.path, config.to_string()).unwrap();
    settings.config.effective = config;
    let log = settings.state_dir.join("logs/gateway.jsonl");
    std::fs::create_dir_all(log.parent().unwrap()).unwrap();
    let record = json!({
        "timestamp": "2026-11-22T14:33:17Z", "level": "WARN", "message": "cannot be read",
        "path": home.join("cert.pem"), "target": "clawline_gateway::tls",
    });
    let published = json!({
        "timestamp": "2026-11-22T14:33:18Z", "level": "INFO", "message": "published",
        "name": "machine-of-this-test.tailnet.ts.net", "target": "clawline_gateway::tailscale",
    });
    let plain = format!("a panic at {}/x.rs:1:2 on {HOST}\n", home.display());
    std::fs::write(log, format!("{record}\n{published}\n{plain}")).unwrap();
}

/// What in a text is for admins alone.
fn leaks(gateway: &TestGateway, text: &str) -> Option<String> {
    let home = gateway.settings.state_dir.parent().unwrap();
    let user = std::env::home_dir().unwrap_or_default();
    let user = user.to_str().filter(|user| user.len() > 1);
    let private = [
        home.to_str(),
        user,
        Some("/etc/ssl"),
        Some("machine-of-this-test"),
    ];
    let found = private
        .into_iter()
        .flatten()
        .find(|word| text.contains(word))?;
    Some(found.to_owned())
}

async fn connect(
    gateway: &TestGateway,
    version: u32,
    scopes: &[&str],
    device: u8,
) -> Result<(Client, Value), Value> {
    let connect = Connect::cli(version, &gateway.secret, scopes).with_device(Device::new(device));
    enter_keeping(gateway, &[], &connect).await
}

/// Calls everything that reads, and all else without parameters, and waits for an event of each kind that
/// says where one is; everything that came, each with its name.
async fn all_that_is_told(
    gateway: &TestGateway,
    version: u32,
    scopes: &[&str],
) -> Vec<(String, Value)> {
    let hello = connect(gateway, version, scopes, 1).await.unwrap();
    let (mut client, hello) = hello;
    let mut told = vec![("hello".to_owned(), hello.clone())];
    if scopes.contains(&"operator.write") {
        let key = format!("run-of-version-{version}");
        let say = json!({"sessionKey": "main", "message": "hello", "idempotencyKey": key});
        client.ok("chat.send", say).await;
        let ends = |frame: &Value| frame["payload"]["state"] == "final";
        let end = timeout(DEADLINE, client.until(ends)).await;
        end.expect("the run did not end");
    }
    for (method, params) in READS {
        let params = serde_json::from_str(params).unwrap();
        told.push(((*method).to_owned(), client.ok(method, params).await));
    }
    let names = hello["features"]["methods"].as_array().unwrap();
    let others = names.iter().filter_map(Value::as_str).filter(|name| {
        // These act on all of the configuration, or wait.
        let acts = ["connect", "exec.approval.request", "wake", "agent.wait"].contains(name);
        !acts && !READS.iter().any(|(read, _)| read == name)
    });
    for method in others {
        let answer = timeout(DEADLINE, client.call(method, json!({}))).await;
        let answer = answer.unwrap_or_else(|_| panic!("{method} does not answer"));
        told.push((method.to_owned(), answer));
    }
    let label = json!({"key": "main", "label": "x"});
    told.push((
        "sessions.patch".to_owned(),
        client.call("sessions.patch", label).await,
    ));
    // Somebody comes, and everybody is told.
    let (other, _) = connect(gateway, 4, &["operator.read"], 2).await.unwrap();
    let is_told = |frame: &Value| {
        let entries = frame["payload"]["presence"].as_array();
        frame["event"] == "presence" && entries.is_some_and(|entries| entries.len() == 3)
    };
    let all_told = timeout(DEADLINE, client.until(is_told)).await;
    all_told.expect("nobody was told that somebody came");
    drop(other);
    for frame in &client.seen {
        let name = frame["event"].as_str().unwrap_or("answer");
        told.push((name.to_owned(), frame.clone()));
    }
    told
}

#[tokio::test]
async fn s77_nobody_but_admins_is_told_where_the_gateway_is_and_how_the_machine_is_called() {
    for version in [3, 4] {
        let scopes: &[&[&str]] = &[&["operator.read"], &NOT_ADMIN];
        for scopes in scopes {
            refused_unless(
                |policy| policy.private_machine = false,
                talkative,
                async |gateway| {
                    let told = all_that_is_told(gateway, version, scopes).await;
                    let leak = |(name, text): &(String, Value)| {
                        let word = leaks(gateway, &text.to_string())?;
                        Some(json!({"in": name, "leaked": word, "text": text}))
                    };
                    match told.iter().find_map(leak) {
                        Some(leak) => Ok(leak),
                        None => Err(json!(told.len())),
                    }
                },
            )
            .await;
        }
    }
}

#[tokio::test]
async fn s77_admins_are_told_as_by_official_gateways() {
    let gateway = TestGateway::start_with(talkative).await;
    let state = gateway.settings.state_dir.to_str().unwrap();
    let config = gateway.settings.config.path.to_str().unwrap();
    for version in [3, 4] {
        let scopes = &["operator.admin", "operator.read", "operator.write"];
        let all = all_that_is_told(&gateway, version, scopes).await;
        let told = |name: &str, word: &str| {
            let mut named = all.iter().filter(|(found, _)| found == name);
            assert!(
                named.any(|(_, text)| text.to_string().contains(word)),
                "{name}: {word}"
            );
        };
        for name in [
            "hello",
            "health",
            "status",
            "sessions.list",
            "sessions.patch",
            "cron.status",
            "skills.status",
            "system.info",
            "logs.tail",
        ] {
            told(name, state);
        }
        for name in [
            "system.info",
            "system-presence",
            "presence",
            "hello",
            "config.get",
            "logs.tail",
        ] {
            told(name, HOST);
        }
        told("hello", config);
        told("config.get", config);
        told("config.get", "/etc/ssl/private/key.pem");
        let (_, hello) = &all[0];
        if version == 3 {
            assert_eq!(hello["server"]["host"], HOST);
        }
    }
}

#[tokio::test]
async fn s77_what_others_are_told_has_its_place_in_the_answers_still() {
    let gateway = TestGateway::start_with(talkative).await;
    for version in [3, 4] {
        let (mut client, hello) = connect(&gateway, version, &["operator.read"], 1)
            .await
            .unwrap();
        if version == 3 {
            assert_eq!(hello["server"]["host"], "gateway");
        }
        assert_eq!(hello["snapshot"]["presence"][0]["host"], "gateway");
        for (method, place, word) in [
            ("health", "/sessions/path", "gateway.db"),
            ("sessions.list", "/path", "gateway.db"),
            ("cron.status", "/storePath", "gateway.db"),
            ("status", "/sessions/byAgent/0/path", "[redacted]"),
            ("system.info", "/hostname", "gateway"),
            ("system-presence", "/0/host", "gateway"),
            ("config.get", "/path", "clawline.json5"),
            ("config.get", "/parsed/gateway/tls/certPath", "cert.pem"),
            ("config.get", "/parsed/gateway/allowedHosts/0", "gateway"),
            ("logs.tail", "/file", "gateway.jsonl"),
        ] {
            let payload = client.ok(method, json!({})).await;
            assert_eq!(
                payload.pointer(place),
                Some(&json!(word)),
                "{method} {payload}"
            );
        }
        let lines = client.ok("logs.tail", json!({})).await["lines"].to_string();
        assert!(lines.contains("cannot be read path=cert.pem"), "{lines}");
        let name = "published name=gateway.tailnet.ts.net";
        assert!(lines.contains(name), "{lines}");
        assert!(lines.contains("a panic at x.rs:1:2 on gateway"), "{lines}");
    }
}
