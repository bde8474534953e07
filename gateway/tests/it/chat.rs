//! Conversations over the wire: sending, streaming, stopping, history, and who is told what.

use serde_json::{Value, json};

use crate::support::{Client, Connect, Device, TestGateway};

const ALL: &[&str] = &["operator.admin", "operator.read", "operator.write"];

async fn operator(gateway: &TestGateway, seed: u8, version: u32) -> Client {
    let connect = Connect::cli(version, &gateway.secret, ALL).with_device(Device::new(seed));
    Client::connect(gateway.address, &connect).await.0
}

fn message(key: &str, text: &str, run: &str) -> Value {
    json!({"sessionKey": key, "message": text, "idempotencyKey": run, "deliver": false})
}

#[tokio::test]
async fn an_answer_streams_ends_once_and_stands_in_history() {
    let gateway = TestGateway::start().await;
    let mut client = operator(&gateway, 1, 4).await;
    let sent = client
        .ok("chat.send", message("main", "hello there", "run-1"))
        .await;
    assert_eq!(
        (&sent["runId"], &sent["status"]),
        (&json!("run-1"), &json!("started"))
    );
    let ends = |frame: &Value| frame["event"] == "chat" && frame["payload"]["state"] == "final";
    let end = client.until(ends).await;
    assert_eq!(end["payload"]["sessionKey"], "agent:main:main");
    let text = end["payload"]["message"]["content"][0]["text"].clone();
    assert!(text.as_str().unwrap().contains("hello there"), "{text}");
    let streams: Vec<&Value> = client
        .skipped
        .iter()
        .filter(|frame| frame["event"] == "agent")
        .map(|frame| &frame["payload"]["data"]["phase"])
        .collect();
    assert_eq!(streams.first(), Some(&&json!("start")), "{streams:?}");
    assert_eq!(streams.last(), Some(&&json!("end")), "{streams:?}");

    let history = client
        .ok("chat.history", json!({"sessionKey": "main", "limit": 10}))
        .await;
    let messages = history["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0]["role"], "user");
    assert_eq!(messages[0]["idempotencyKey"], "run-1:user");
    assert_eq!(messages[1]["content"][0]["text"], text);
    assert_eq!(history["sessionInfo"]["status"], "done");

    let again = client
        .ok("chat.send", message("main", "hello there", "run-1"))
        .await;
    assert_eq!(again["status"], "ok");
    let conflict = client
        .error("chat.send", message("main", "something else", "run-1"))
        .await;
    assert_eq!(conflict["code"], "INVALID_REQUEST");
}

#[tokio::test]
async fn a_v3_client_is_answered_too_and_gets_no_session_events() {
    let gateway = TestGateway::start().await;
    let mut v4 = operator(&gateway, 1, 4).await;
    v4.ok("sessions.subscribe", json!({})).await;
    let mut v3 = operator(&gateway, 2, 3).await;
    v3.ok("chat.send", message("agent:main:work", "hi", "r"))
        .await;
    let ends = |frame: &Value| frame["event"] == "chat" && frame["payload"]["state"] == "final";
    v3.until(ends).await;
    for frame in &v3.skipped {
        assert!(
            !frame["event"]
                .as_str()
                .unwrap_or_default()
                .starts_with("session"),
            "{frame}"
        );
    }
    let user = v4.event("session.message").await;
    assert_eq!(user["payload"]["message"]["role"], "user");
    let changed = v4
        .until(|frame| frame["event"] == "sessions.changed" && frame["payload"]["phase"] == "end")
        .await;
    assert_eq!(changed["payload"]["session"]["key"], "agent:main:work");
}

#[tokio::test]
async fn events_are_numbered_without_gaps_and_kept_from_those_who_may_not_read() {
    let gateway = TestGateway::start().await;
    let mut reader = operator(&gateway, 1, 4).await;
    let connect = Connect::cli(4, &gateway.secret, &["operator.pairing"])
        .with_device(Device::new(2))
        .set("/client/displayName", json!("pairing only"));
    let (mut outsider, _) = Client::connect(gateway.address, &connect).await;
    for run in ["a", "b", "c"] {
        reader
            .ok("chat.send", message("main", "one two three", run))
            .await;
        let ends = |frame: &Value| {
            frame["payload"]["runId"] == run && frame["payload"]["state"] == "final"
        };
        reader.until(ends).await;
    }
    let numbers: Vec<u64> = reader
        .seen
        .iter()
        .filter_map(|frame| frame["seq"].as_u64())
        .collect();
    let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
    assert_eq!(numbers, expected);
    outsider.ok("health", json!({})).await;
    for frame in &outsider.seen {
        let event = frame["event"].as_str().unwrap_or_default();
        assert!(!["chat", "agent", "presence"].contains(&event), "{frame}");
    }
}

#[tokio::test]
async fn agent_answers_twice_and_remembers_its_key() {
    let gateway = TestGateway::start().await;
    let connect = Connect::cli(4, &gateway.secret, &["operator.write"]);
    let (mut client, _) = Client::connect(gateway.address, &connect).await;
    let params = json!({"message": "do it", "idempotencyKey": "k-1", "sessionKey": "job"});
    let id = client.start("agent", params.clone()).await;
    let first = client.response(&id).await;
    assert_eq!(first["payload"]["status"], "accepted");
    assert_eq!(first["payload"]["sessionKey"], "agent:main:job");
    let second = client.response(&id).await;
    assert_eq!(second["payload"]["status"], "ok", "{second}");
    let text = &second["payload"]["result"]["payloads"][0]["text"];
    assert!(text.as_str().unwrap().contains("do it"));
    let once = client.ok("agent", params).await;
    assert_eq!(once["result"]["payloads"][0]["text"], *text);
    let waited = client.ok("agent.wait", json!({"runId": "k-1"})).await;
    assert_eq!(waited["status"], "ok");
    let unknown = client
        .ok("agent.wait", json!({"runId": "nope", "timeoutMs": 1}))
        .await;
    assert_eq!(unknown["status"], "timeout");
    let error = client
        .error(
            "agent",
            json!({"message": "x", "agentId": "nope", "idempotencyKey": "q"}),
        )
        .await;
    assert_eq!(
        error["message"],
        "invalid agent params: unknown agent id \"nope\""
    );
}

#[tokio::test]
async fn agent_says_so_when_the_end_of_its_run_is_not_stored() {
    let gateway = TestGateway::start().await;
    let path = gateway.settings.state_dir.join("gateway.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    let trigger = "CREATE TRIGGER refuse BEFORE UPDATE OF state ON runs WHEN NEW.state = 'done' \
                   BEGIN SELECT RAISE(ABORT, 'no end'); END";
    sqlx::query(trigger).execute(&pool).await.unwrap();
    pool.close().await;
    let mut client = operator(&gateway, 1, 4).await;
    let params = json!({"message": "do it", "idempotencyKey": "k-1"});
    let id = client.start("agent", params).await;
    assert_eq!(client.response(&id).await["payload"]["status"], "accepted");
    let second = client.response(&id).await;
    assert_eq!(second["error"]["code"], "UNAVAILABLE", "{second}");
    let why = second["error"]["message"].as_str().unwrap();
    assert!(why.contains("could not be stored"), "{why}");
}

#[tokio::test]
async fn stop_and_abort_end_a_run_and_nothing_to_stop_is_no_error() {
    let gateway = TestGateway::start().await;
    let mut client = operator(&gateway, 1, 4).await;
    let long = "word ".repeat(2000);
    client
        .ok("chat.send", message("main", &long, "long-1"))
        .await;
    let stopped = client
        .ok("chat.send", message("main", "/stop", "s-1"))
        .await;
    assert_eq!(stopped["aborted"], true);
    assert_eq!(stopped["runIds"], json!(["long-1"]));
    let aborted = |frame: &Value| frame["payload"]["state"] == "aborted";
    assert_eq!(client.until(aborted).await["payload"]["runId"], "long-1");
    let nothing = client.ok("chat.abort", json!({"sessionKey": "main"})).await;
    assert_eq!(nothing, json!({"ok": true, "aborted": false, "runIds": []}));
}

#[tokio::test]
async fn sessions_are_patched_reset_listed_and_deleted() {
    let gateway = TestGateway::start().await;
    let mut client = operator(&gateway, 1, 4).await;
    let patched = client
        .ok(
            "sessions.patch",
            json!({"key": "work", "label": "Work", "newer": {"a": 1}}),
        )
        .await;
    assert_eq!(patched["key"], "agent:main:work");
    assert_eq!(patched["entry"]["label"], "Work");
    let error = client
        .error(
            "sessions.patch",
            json!({"key": "work", "thinkingLevel": "bogus"}),
        )
        .await;
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .starts_with("invalid thinkingLevel (use off|")
    );
    client.ok("chat.send", message("work", "hi", "r-1")).await;
    client
        .until(|frame| frame["payload"]["state"] == "final")
        .await;
    let listed = client
        .ok("sessions.list", json!({"includeLastMessage": true}))
        .await;
    assert_eq!(listed["count"], 1);
    assert!(listed["sessions"][0]["lastMessagePreview"].is_string());
    let before = client.ok("sessions.describe", json!({"key": "work"})).await;
    client.ok("sessions.reset", json!({"key": "work"})).await;
    let after = client.ok("sessions.describe", json!({"key": "work"})).await;
    assert_ne!(
        before["session"]["sessionId"],
        after["session"]["sessionId"]
    );
    let history = client
        .ok("chat.history", json!({"sessionKey": "work"}))
        .await;
    assert_eq!(history["messages"], json!([]));
    let main = client
        .error("sessions.delete", json!({"key": "main"}))
        .await;
    assert_eq!(
        main["message"],
        "Cannot delete the main session (agent:main:main)."
    );
    let deleted = client.ok("sessions.delete", json!({"key": "work"})).await;
    assert_eq!(deleted["deleted"], true);
    let gone = client.ok("sessions.delete", json!({"key": "work"})).await;
    assert_eq!(gone["deleted"], false);
    let none = client.ok("sessions.describe", json!({"key": "work"})).await;
    assert_eq!(none["session"], Value::Null);
}

#[tokio::test]
async fn large_pages_are_cut_with_and_without_a_cursor() {
    let gateway = TestGateway::start().await;
    let mut client = operator(&gateway, 1, 4).await;
    let page = json!({"sessionKey": "main"});
    client
        .ok("chat.send", message("main", "first", "r-0"))
        .await;
    client.ok("chat.abort", page.clone()).await;
    let before = client.ok("chat.history", page.clone()).await;
    let large = "x".repeat(900_000);
    for number in 1..9 {
        let run = format!("r-{number}");
        client.ok("chat.send", message("main", &large, &run)).await;
        client.ok("chat.abort", page.clone()).await;
    }
    let since = json!({"sessionKey": "main", "cursor": before["deltaCursor"]});
    let delta = client.ok("chat.history", since).await;
    assert_eq!(delta["kind"], "reset");
    let whole = client.ok("chat.history", page).await;
    assert_eq!(whole["hasMore"], true);
    assert!(whole.to_string().len() < 8_000_000);
    let preview = json!({"keys": ["main"], "maxChars": 1_000_000});
    let preview = client.ok("sessions.preview", preview).await;
    assert!(preview.to_string().len() < 12 * 2100);
}

#[tokio::test]
async fn a_cursor_brings_what_came_after_it() {
    let gateway = TestGateway::start().await;
    let mut client = operator(&gateway, 1, 4).await;
    for (run, text) in [("r-1", "first"), ("r-2", "second")] {
        client.ok("chat.send", message("main", text, run)).await;
        let ends = |frame: &Value| {
            frame["payload"]["runId"] == run && frame["payload"]["state"] == "final"
        };
        client.until(ends).await;
    }
    let page = client
        .ok("chat.history", json!({"sessionKey": "main", "limit": 1}))
        .await;
    assert_eq!(
        (&page["hasMore"], &page["nextOffset"]),
        (&json!(true), &json!(1))
    );
    let cursor = page["deltaCursor"].clone();
    client
        .ok("chat.send", message("main", "third", "r-3"))
        .await;
    client
        .until(|f| f["payload"]["runId"] == "r-3" && f["payload"]["state"] == "final")
        .await;
    let delta = client
        .ok(
            "chat.history",
            json!({"sessionKey": "main", "cursor": cursor}),
        )
        .await;
    assert_eq!(delta["kind"], "delta");
    assert_eq!(delta["messages"].as_array().unwrap().len(), 2);
    client.ok("sessions.reset", json!({"key": "main"})).await;
    let reset = client
        .ok(
            "chat.history",
            json!({"sessionKey": "main", "cursor": cursor}),
        )
        .await;
    assert_eq!(reset["kind"], "reset");
}

#[tokio::test]
async fn a_session_scoped_client_hears_only_of_sessions_that_it_follows() {
    let gateway = TestGateway::start().await;
    let mut talker = operator(&gateway, 1, 4).await;
    let connect = Connect::cli(4, &gateway.secret, ALL)
        .with_device(Device::new(2))
        .set("/caps", json!(["session-scoped-events"]));
    let (mut scoped, _) = Client::connect(gateway.address, &connect).await;
    let subscribed = scoped
        .ok("sessions.messages.subscribe", json!({"key": "b"}))
        .await;
    assert_eq!(
        subscribed,
        json!({"subscribed": true, "key": "agent:main:b"})
    );
    for (key, run) in [("a", "r-a"), ("b", "r-b")] {
        talker.ok("chat.send", message(key, "hi", run)).await;
        talker
            .until(|f| f["payload"]["runId"] == run && f["payload"]["state"] == "final")
            .await;
    }
    scoped
        .until(|f| f["payload"]["runId"] == "r-b" && f["payload"]["state"] == "final")
        .await;
    assert!(!scoped.seen.iter().any(|f| f["payload"]["runId"] == "r-a"));
}

#[tokio::test]
async fn presence_tells_who_comes_and_goes() {
    let gateway = TestGateway::start().await;
    let mut first = operator(&gateway, 1, 4).await;
    let devices = |frame: &Value| frame["payload"]["presence"].as_array().unwrap().len();
    let second = operator(&gateway, 2, 3).await;
    let both = first
        .until(|f| f["event"] == "presence" && devices(f) == 3)
        .await;
    assert_eq!(both["payload"]["presence"][0]["mode"], "gateway");
    assert!(both["stateVersion"]["presence"].as_u64().unwrap() >= 2);
    first.skipped.clear();
    drop(second);
    first
        .until(|f| f["event"] == "presence" && devices(f) == 2)
        .await;
}

#[tokio::test]
async fn a_message_is_at_most_1_mib_long_and_is_then_told_to_readers_that_keep_up() {
    let gateway = TestGateway::start().await;
    let scopes = ["operator.read", "operator.write", "operator.admin"];
    let connect = Connect::cli(4, &gateway.secret, &scopes);
    let (mut client, _) = Client::connect(gateway.address, &connect).await;
    let send = |bytes: usize, key: &str| {
        let message = "x".repeat(bytes);
        json!({"sessionKey": "main", "message": message, "idempotencyKey": key})
    };
    let error = client.error("chat.send", send((1 << 20) + 1, "r1")).await;
    assert_eq!(error["code"], "INVALID_REQUEST");
    let words = error["message"].as_str().unwrap();
    assert!(words.contains("at most 1 MiB"), "{words}");
    client.ok("chat.send", send(1 << 20, "r2")).await;
    let wait = json!({"runId": "r2", "timeoutMs": 60_000});
    let ended = client.ok("agent.wait", wait).await;
    assert_eq!(ended["status"], "ok", "{ended}");
}
