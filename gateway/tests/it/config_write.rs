//! `config.set`, `config.patch`, `config.apply` over the wire: what they write, and what they refuse.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use clawline::protocol::methods::config::REDACTED;
use serde_json::{Value, json};

use crate::support::{Client, Connect, TestGateway};

const FILE: &str = r#"{
  // what it costs
  gateway: { port: 18789, auth: { token: "T0P-secret" } },
  models: { providers: { x: { kind: "openai", baseUrl: "http://me:T1P@127.0.0.1:1/v1", apiKey: "T2P" } } },
}
"#;

const ADMIN: [&str; 2] = ["operator.admin", "operator.read"];

/// A gateway with this file as its config, and an admin.
async fn started(text: &str) -> (TestGateway, Client) {
    let gateway = TestGateway::start().await;
    fs::write(&gateway.settings.config.path, text).unwrap();
    let connect = Connect::cli(4, &gateway.secret, &ADMIN);
    let (client, _) = Client::connect(gateway.address, &connect).await;
    (gateway, client)
}

fn parsed(path: &Path) -> Value {
    json5::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

async fn hash(client: &mut Client) -> String {
    let shown = client.ok("config.get", json!({})).await;
    assert_eq!(shown["valid"], true, "{shown}");
    shown["hash"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_config_get_showed_can_be_sent_back_and_keeps_every_secret() {
    let (gateway, mut client) = started(FILE).await;
    let path = &gateway.settings.config.path;
    let before = parsed(path);
    let shown = client.ok("config.get", json!({})).await;
    assert!(!shown.to_string().contains("T0P"), "{shown}");
    assert!(!shown.to_string().contains("T1P"), "{shown}");
    for method in ["config.set", "config.apply"] {
        let base = hash(&mut client).await;
        let sent = json!({"raw": shown["raw"], "baseHash": base});
        let reply = client.ok(method, sent).await;
        assert_eq!(parsed(path), before, "{method}");
        assert_eq!(reply["config"], shown["parsed"], "{method}");
        assert_eq!(reply["hash"], hash(&mut client).await, "{method}");
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_a_text_keeps_its_comments() {
    let (gateway, mut client) = started(FILE).await;
    let path = &gateway.settings.config.path;
    let base = hash(&mut client).await;
    let raw = r#"{gateway: {port: 19000, auth: {token: "__OPENCLAW_REDACTED__"}}, models: {providers: {x: null}}}"#;
    let patch = json!({"raw": raw, "baseHash": base, "sessionKey": "main", "note": "n"});
    let reply = client.ok("config.patch", patch).await;
    assert_eq!(reply["commentsKept"], false);
    assert_eq!(
        parsed(path),
        json!({"gateway": {"port": 19000, "auth": {"token": "T0P-secret"}}, "models": {"providers": {}}})
    );
    let base = hash(&mut client).await;
    let raw = "{ /* mine */ gateway: { port: 19001 } }";
    let reply = client
        .ok("config.set", json!({"raw": raw, "baseHash": base}))
        .await;
    assert_eq!(reply["commentsKept"], true);
    assert_eq!(fs::read_to_string(path).unwrap(), raw);
}

#[tokio::test]
async fn a_change_that_was_not_seen_or_is_no_config_leaves_the_file_alone() {
    let (gateway, mut client) = started(FILE).await;
    let path = &gateway.settings.config.path;
    let base = hash(&mut client).await;
    for (raw, base, word) in [
        ("{}", None, "base hash required"),
        ("{}", Some("hmac-sha256:v1:00"), "changed since last load"),
        ("{", Some(base.as_str()), "invalid config"),
        ("[]", Some(base.as_str()), "one object"),
        ("{gatway: {}}", Some(base.as_str()), "gatway"),
        (
            "{gateway: {port: 99999}}",
            Some(base.as_str()),
            "gateway.port",
        ),
        (
            "{gateway: {bind: \"lan\", auth: {mode: \"none\"}}}",
            Some(base.as_str()),
            "gateway",
        ),
        (
            "{models: {providers: {y: {kind: \"openai\", apiKey: \"__OPENCLAW_REDACTED__\"}}}}",
            Some(base.as_str()),
            "models.providers.y.apiKey",
        ),
    ] {
        for method in ["config.set", "config.patch", "config.apply"] {
            let params = json!({"raw": raw, "baseHash": base});
            let error = client.error(method, params).await;
            // A patch of nothing with the right hash would be one; here each has a fault.
            assert_eq!(error["code"], "INVALID_REQUEST", "{method} {raw}");
            let message = error["message"].as_str().unwrap();
            let fits = message.contains(word) || (method == "config.patch" && raw == "[]");
            assert!(fits, "{method} {raw}: {message}");
            assert_eq!(fs::read_to_string(path).unwrap(), FILE, "{method} {raw}");
        }
    }
    let long = format!("{{/*{}*/}}", "x".repeat(1024 * 1024));
    let error = client
        .error("config.set", json!({"raw": long, "baseHash": base}))
        .await;
    assert!(error["message"].as_str().unwrap().contains("/raw"));
}

#[tokio::test]
async fn two_who_saw_the_same_file_cannot_both_write() {
    let (gateway, mut client) = started(FILE).await;
    let base = hash(&mut client).await;
    let connect =
        Connect::cli(3, &gateway.secret, &ADMIN).with_device(crate::support::Device::new(7));
    let (mut other, _) = Client::connect(gateway.address, &connect).await;
    let params =
        |port: u16| json!({"raw": format!("{{gateway: {{port: {port}}}}}"), "baseHash": base});
    let (one, two) = tokio::join!(
        client.call("config.set", params(19001)),
        other.call("config.set", params(19002)),
    );
    let good = [&one, &two]
        .iter()
        .filter(|answer| answer["ok"] == true)
        .count();
    assert_eq!(good, 1, "{one} {two}");
}

#[tokio::test]
async fn openclaws_own_file_is_never_written() {
    let gateway = TestGateway::start_with(|settings| {
        settings.config.path = settings.state_dir.with_file_name("openclaw.json");
    })
    .await;
    let path = &gateway.settings.config.path;
    fs::write(path, "{}").unwrap();
    let connect = Connect::cli(4, &gateway.secret, &ADMIN);
    let (mut client, _) = Client::connect(gateway.address, &connect).await;
    let base = hash(&mut client).await;
    let error = client
        .error(
            "config.set",
            json!({"raw": "{gateway: {port: 1}}", "baseHash": base}),
        )
        .await;
    assert!(error["message"].as_str().unwrap().contains("never writes"));
    assert_eq!(fs::read_to_string(path).unwrap(), "{}");
}

#[tokio::test]
async fn who_only_reads_writes_nothing() {
    let (gateway, mut admin) = started(FILE).await;
    let base = hash(&mut admin).await;
    let connect = Connect::cli(4, &gateway.secret, &["operator.read", "operator.write"]);
    let (mut client, _) = Client::connect(gateway.address, &connect).await;
    for method in ["config.set", "config.patch", "config.apply"] {
        let error = client
            .error(method, json!({"raw": "{}", "baseHash": base}))
            .await;
        assert_eq!(
            error["message"], "missing scope: operator.admin",
            "{method}"
        );
    }
}

#[tokio::test]
async fn a_key_that_is_kept_goes_to_no_other_address() {
    let (gateway, mut client) = started(FILE).await;
    let base = hash(&mut client).await;
    let patch = r#"{models: {providers: {x: {baseUrl: "http://127.0.0.1:2/v1"}}}}"#;
    let sent = json!({"raw": patch, "baseHash": base});
    let error = client.error("config.patch", sent).await;
    let words = error["message"].as_str().unwrap();
    assert!(words.contains("models.providers.x.apiKey"), "{words}");
    let shown = client.ok("config.get", json!({})).await;
    let raw = shown["raw"].as_str().unwrap();
    let moved = raw.replace("127.0.0.1:1/v1", "127.0.0.1:2/v1");
    let moved = moved.replace(&format!("{REDACTED}@"), "");
    assert_ne!(raw, moved);
    for method in ["config.set", "config.apply"] {
        let sent = json!({"raw": moved, "baseHash": base});
        let error = client.error(method, sent).await;
        assert_eq!(error["code"], "INVALID_REQUEST", "{error}");
    }
    assert_eq!(hash(&mut client).await, base);
    // With the key it is whoever has it's own affair.
    let patch = r#"{models: {providers: {x: {baseUrl: "http://127.0.0.1:2/v1", apiKey: "T2P"}}}}"#;
    let sent = json!({"raw": patch, "baseHash": base});
    client.ok("config.patch", sent).await;
    let provider = &parsed(&gateway.settings.config.path)["models"]["providers"]["x"];
    assert_eq!(provider["baseUrl"], "http://127.0.0.1:2/v1");
}
