//! The small methods and events around the gateway itself.

use serde_json::{Value, json};

use crate::support::{Client, Connect, Device, TestGateway};

const ALL: [&str; 6] = [
    "operator.admin",
    "operator.read",
    "operator.write",
    "operator.approvals",
    "operator.pairing",
    "operator.questions",
];

async fn operator(gateway: &TestGateway, version: u32, scopes: &[&str]) -> Client {
    let connect = Connect::cli(version, &gateway.secret, scopes).with_device(Device::new(1));
    Client::connect(gateway.address, &connect).await.0
}

#[tokio::test]
async fn the_gateway_knows_itself_and_its_machine() {
    let gateway = TestGateway::start().await;
    let mut client = operator(&gateway, 4, &["operator.read"]).await;
    let info = client.ok("system.info", json!({})).await;
    assert_eq!(info["port"], gateway.address.port());
    assert_eq!(info["pid"], std::process::id());
    assert!(info["memoryTotalBytes"].as_u64().unwrap() > 0, "{info}");
    let own = client.ok("gateway.identity.get", json!({})).await;
    assert_eq!(own["deviceId"].as_str().unwrap().len(), 64);
    let gateway = gateway.restart().await;
    let mut client = operator(&gateway, 4, &["operator.read"]).await;
    let after = client.ok("gateway.identity.get", json!({})).await;
    assert_eq!(after, own, "the key outlives the process");
}

#[tokio::test]
async fn a_file_that_does_not_come_holds_up_its_caller_alone() {
    let gateway = TestGateway::start().await;
    let mut waiting = operator(&gateway, 4, &["operator.read"]).await;
    let mut other = operator(&gateway, 4, &["operator.read"]).await;
    // Who reads a pipe waits until its last writer has gone.
    let path = gateway.settings.state_dir.join("identity.json");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let id = waiting.start("gateway.identity.get", json!({})).await;
    // Who opens it to write waits until somebody reads.
    let open = move || std::fs::OpenOptions::new().write(true).open(path);
    let writer = tokio::task::spawn_blocking(open).await.unwrap().unwrap();
    // The gateway runs on this test's one thread: it answers because that is free.
    other.ok("system.info", json!({})).await;
    waiting.ok("health", json!({})).await;
    drop(writer);
    let answer = waiting.response(&id).await;
    assert_eq!(answer["error"]["code"], "UNAVAILABLE", "{answer}");
}

#[tokio::test]
async fn status_names_sessions_and_paths_to_administrators_alone() {
    let gateway = TestGateway::start().await;
    let mut admin = operator(&gateway, 4, &["operator.admin"]).await;
    let label = json!({"key": "main", "label": "Mine"});
    admin.ok("sessions.patch", label).await;
    let told = admin.ok("status", json!({})).await["sessions"].take();
    assert_eq!(told["recent"][0]["key"], "agent:main:main");
    assert_eq!(told["byAgent"][0]["recent"], told["recent"]);
    let path = told["paths"][0].as_str().unwrap();
    assert_eq!(told["byAgent"][0]["path"], path);
    for version in [3, 4] {
        let scopes = ["operator.read", "operator.write"];
        let mut reader = operator(&gateway, version, &scopes).await;
        let told = reader.ok("status", json!({})).await;
        assert!(!told.to_string().contains(path), "{told}");
        assert_eq!(
            told["sessions"],
            json!({
                "paths": [], "count": 1, "recent": [],
                "defaults": {"model": null, "contextTokens": null},
                "byAgent": [{
                    "agentId": "main", "path": "[redacted]", "count": 1, "recent": [],
                }],
            })
        );
    }
}

#[tokio::test]
async fn wake_words_are_kept_and_told_to_readers_and_nodes() {
    let gateway = TestGateway::start().await;
    let mut client = operator(&gateway, 4, &["operator.write"]).await;
    let words = client.ok("voicewake.get", json!({})).await;
    assert_eq!(words["triggers"].as_array().unwrap().len(), 3);
    let chosen = client
        .ok("voicewake.set", json!({"triggers": [" claw ", "", "hey"]}))
        .await;
    assert_eq!(chosen, json!({"triggers": ["claw", "hey"]}));
    let event = client.event("voicewake.changed").await;
    assert_eq!(event["payload"], chosen);
    let wrong = client
        .error("voicewake.set", json!({"triggers": "claw"}))
        .await;
    assert_eq!(wrong["code"], "INVALID_REQUEST");
    let gateway = gateway.restart().await;
    let mut reader = operator(&gateway, 3, &["operator.read"]).await;
    assert_eq!(reader.ok("voicewake.get", json!({})).await, chosen);
    let refused = reader.error("voicewake.set", json!({"triggers": []})).await;
    assert_eq!(refused["message"], "missing scope: operator.write");
}

#[tokio::test]
async fn wake_starts_a_run_now_and_tells_it_as_a_heartbeat() {
    let gateway = TestGateway::start().await;
    let mut client = operator(&gateway, 4, &["operator.write"]).await;
    assert_eq!(client.ok("last-heartbeat", json!({})).await, Value::Null);
    let wake = json!({"mode": "now", "text": "look at the disk"});
    assert_eq!(client.ok("wake", wake).await, json!({"ok": true}));
    let event = client.event("heartbeat").await;
    assert_eq!(event["payload"]["status"], "sent");
    assert_eq!(
        client.ok("last-heartbeat", json!({})).await,
        event["payload"]
    );
    client.until(|f| f["payload"]["state"] == "final").await;
    for params in [
        json!({"mode": "next-heartbeat", "text": "x"}),
        json!({"mode": "now", "text": " "}),
        json!({"mode": "later", "text": "x"}),
        json!({"mode": "now"}),
    ] {
        let error = client.error("wake", params.clone()).await;
        assert_eq!(error["code"], "INVALID_REQUEST", "{params}");
    }
}

#[tokio::test]
async fn send_says_in_each_version_s_words_that_there_is_no_channel() {
    let gateway = TestGateway::start().await;
    for (version, start) in [
        (3, "unsupported channel: whatsapp"),
        (
            4,
            "Error: Channel is required (no configured channels detected)",
        ),
    ] {
        let mut client = operator(&gateway, version, &["operator.write"]).await;
        let params = json!({"to": "+100", "message": "x", "idempotencyKey": "s1"});
        let error = client.error("send", params).await;
        assert_eq!(error["code"], "INVALID_REQUEST");
        let message = error["message"].as_str().unwrap();
        assert!(message.starts_with(start), "{message}");
    }
}

#[tokio::test]
async fn lists_of_what_is_not_there_are_empty_and_say_so() {
    let gateway = TestGateway::start().await;
    let mut client = operator(&gateway, 4, &ALL).await;
    for (method, member, empty) in [
        ("cron.list", "/jobs", json!([])),
        ("cron.list", "/hasMore", json!(false)),
        ("cron.status", "/enabled", json!(false)),
        ("tools.catalog", "/groups", json!([])),
        ("skills.status", "/skills", json!([])),
        ("usage.status", "/providers", json!([])),
        ("voicewake.routing.get", "/config/routes", json!([])),
        ("gateway.suspend.status", "/status", json!("running")),
        ("channels.status", "/channels", json!({})),
    ] {
        let params = json!({"suspensionId": "x"});
        let payload = client.ok(method, params).await;
        assert_eq!(payload.pointer(member), Some(&empty), "{method} {payload}");
    }
    let error = client
        .error("tools.catalog", json!({"agentId": "nope"}))
        .await;
    assert_eq!(error["message"], "unknown agent id \"nope\"");
    let schema = client.ok("config.schema", json!({})).await;
    let port = schema.pointer("/schema/properties/gateway/properties/port/type");
    assert_eq!(port, Some(&json!("number")));
    assert_eq!(schema["uiHints"]["gateway.auth.token"]["sensitive"], true);
}

/// Scopes by PROTOCOL.md §5.3: method, needed by version 3, by version 4.
const NEEDED: &[(&str, &str, &str)] = &[
    ("health", "", ""),
    ("status", "read", "read"),
    ("system-presence", "read", "read"),
    ("last-heartbeat", "read", "read"),
    ("channels.status", "read", "read"),
    ("logs.tail", "read", "read"),
    ("config.get", "read", "read"),
    ("config.schema", "admin", "read"),
    ("config.set", "admin", "admin"),
    ("config.patch", "admin", "admin"),
    ("config.apply", "admin", "admin"),
    ("voicewake.get", "read", "read"),
    ("voicewake.set", "write", "write"),
    ("voicewake.routing.get", "read", "read"),
    ("send", "write", "write"),
    ("wake", "write", "write"),
    ("usage.status", "read", "read"),
    ("cron.list", "read", "read"),
    ("cron.status", "read", "read"),
    ("skills.status", "read", "read"),
    ("tools.catalog", "read", "read"),
    ("system.info", "read", "read"),
    ("gateway.identity.get", "read", "read"),
    ("question.list", "questions", "questions"),
    ("plugin.approval.list", "approvals", "approvals"),
    ("taskSuggestions.list", "read", "read"),
];

#[tokio::test]
async fn each_method_needs_its_scope_in_both_versions() {
    let gateway = TestGateway::start().await;
    // Members that some of them need before their scope is looked at.
    let params = json!({"raw": "x", "triggers": [], "to": "a", "idempotencyKey": "k", "mode": "now", "text": "x"});
    for version in [3, 4] {
        let connect = Connect::cli(version, &gateway.secret, &["operator.talk"])
            .with_device(Device::new(u8::try_from(version).unwrap()));
        let (mut client, _) = Client::connect(gateway.address, &connect).await;
        for (method, v3, v4) in NEEDED {
            let scope = if version == 3 { v3 } else { v4 };
            let answer = client.call(method, params.clone()).await;
            if scope.is_empty() {
                assert_eq!(answer["ok"], true, "{method}");
                continue;
            }
            let wanted = format!("missing scope: operator.{scope}");
            assert_eq!(
                answer["error"]["message"], wanted,
                "{method}, version {version}"
            );
        }
    }
}
