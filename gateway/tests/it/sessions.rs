//! The methods of sessions and chat, each with its refusals; both versions where they differ.

use serde_json::{Value, json};

use crate::support::{Client, Connect, Device, TestGateway};

const ALL: &[&str] = &["operator.admin", "operator.read", "operator.write"];

async fn operator(gateway: &TestGateway, version: u32) -> Client {
    let connect = Connect::cli(version, &gateway.secret, ALL).with_device(Device::new(1));
    Client::connect(gateway.address, &connect).await.0
}

async fn with_scope(gateway: &TestGateway, version: u32, scope: &str, seed: u8) -> Client {
    let connect = Connect::cli(version, &gateway.secret, &[scope]).with_device(Device::new(seed));
    Client::connect(gateway.address, &connect).await.0
}

fn message(key: &str, text: &str, run: &str) -> Value {
    json!({"sessionKey": key, "message": text, "idempotencyKey": run, "deliver": false})
}

/// Sends a message and waits for the end of its answer.
async fn say(client: &mut Client, key: &str, text: &str, run: &str) {
    client.ok("chat.send", message(key, text, run)).await;
    let ends =
        |frame: &Value| frame["payload"]["runId"] == run && frame["payload"]["state"] == "final";
    client.until(ends).await;
}

#[tokio::test]
async fn messages_are_found_by_their_words() {
    let gateway = TestGateway::start().await;
    let mut client = operator(&gateway, 4).await;
    say(&mut client, "disk", "what eats the disk at home", "r-1").await;
    say(&mut client, "work", "Déjà vu of a DISK, twice: disk", "r-2").await;
    say(&mut client, "work", "/status", "r-3").await;
    let search = |query: &str| json!({"query": query});
    let found = client.ok("sessions.search", search("disk")).await;
    let hits = found["results"].as_array().unwrap();
    // Two questions, and the echo's two answers.
    assert_eq!(hits.len(), 4, "{found}");
    let hit = &hits[0];
    assert_eq!(hit["sessionKey"], "agent:main:work");
    assert!(hit["snippet"].as_str().unwrap().contains("disk"));
    let scores: Vec<f64> = hits.iter().map(|h| h["score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    let both = client.ok("sessions.search", search("deja DISK")).await;
    assert_eq!(both["results"].as_array().unwrap().len(), 2);
    let one = json!({"query": "disk", "sessionKeys": ["disk"], "limit": 1});
    let one = client.ok("sessions.search", one).await;
    assert_eq!(one["results"][0]["sessionKey"], "agent:main:disk");
    assert_eq!(
        (one["results"].as_array().unwrap().len(), &one["truncated"]),
        (1, &json!(true))
    );
    for nothing in ["nowhere", "status", "\"", "disk NEAR nothing", "* OR -"] {
        let found = client.ok("sessions.search", search(nothing)).await;
        assert_eq!(found["results"], json!([]), "{nothing}");
    }
    client.ok("sessions.delete", json!({"key": "work"})).await;
    let left = client.ok("sessions.search", search("disk")).await;
    assert_eq!(left["results"].as_array().unwrap().len(), 2);
    for bad in [
        json!({"query": ""}),
        json!({"query": "x", "limit": 26}),
        json!({}),
    ] {
        let error = client.error("sessions.search", bad).await;
        assert_eq!(error["code"], "INVALID_REQUEST");
    }
    let mut pairer = with_scope(&gateway, 4, "operator.pairing", 2).await;
    let error = pairer.error("sessions.search", search("disk")).await;
    assert_eq!(error["message"], "missing scope: operator.read");
}

#[tokio::test]
async fn what_sessions_are_looked_for_by_is_no_longer_than_their_names() {
    let gateway = TestGateway::start().await;
    let connect = Connect::cli(4, &gateway.secret, &["operator.read"]);
    let (mut client, _) = Client::connect(gateway.address, &connect).await;
    for name in ["search", "label", "agentId"] {
        client
            .ok("sessions.list", json!({name: "a".repeat(512)}))
            .await;
        let long = json!({name: "a".repeat(513)});
        let error = client.error("sessions.list", long).await;
        assert_eq!(error["code"], "INVALID_REQUEST");
        let words = error["message"].as_str().unwrap();
        assert!(words.contains(&format!("{name}: at most 512")), "{words}");
    }
}

#[tokio::test]
async fn a_list_is_searched_by_any_part_of_a_name() {
    let gateway = TestGateway::start().await;
    let mut client = operator(&gateway, 4).await;
    for (key, label) in [
        ("kitchen", "The Küche"),
        ("garage", "Tools 100%"),
        ("k9", "dogs"),
    ] {
        let patch = json!({"key": key, "label": label});
        client.ok("sessions.patch", patch).await;
    }
    say(&mut client, "garage", "where is the hammer", "r-1").await;
    for (search, keys) in [
        ("itche", vec!["agent:main:kitchen"]),
        ("KÜCHE", vec!["agent:main:kitchen"]),
        ("agent:main:gar", vec!["agent:main:garage"]),
        ("HAMMER", vec!["agent:main:garage"]),
        ("100%", vec!["agent:main:garage"]),
        ("k", vec!["agent:main:k9", "agent:main:kitchen"]),
        ("100_", vec![]),
        ("\" OR \"", vec![]),
    ] {
        let found = client.ok("sessions.list", json!({"search": search})).await;
        let mut found: Vec<&str> = found["sessions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["key"].as_str().unwrap())
            .collect();
        found.sort_unstable();
        assert_eq!(found, keys, "{search}");
    }
    let patch = json!({"key": "garage", "label": "Shed", "archived": true});
    client.ok("sessions.patch", patch).await;
    let gone = client.ok("sessions.list", json!({"search": "tools"})).await;
    assert_eq!(gone["count"], 0);
    let all = json!({"search": "shed", "archived": "all"});
    let all = client.ok("sessions.list", all).await;
    assert_eq!((&all["count"], &all["totalCount"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn compacting_hides_old_messages_from_the_model_and_from_nobody_else() {
    for version in [3, 4] {
        let gateway = TestGateway::start().await;
        let mut client = operator(&gateway, version).await;
        say(&mut client, "main", "one", "r-1").await;
        say(&mut client, "main", "two", "r-2").await;
        let already = client.ok("sessions.compact", json!({"key": "main"})).await;
        assert_eq!(
            (&already["ok"], &already["compacted"], &already["kept"]),
            (&json!(true), &json!(false), &json!(4))
        );
        let compact = json!({"key": "main", "maxLines": 1});
        let done = client.ok("sessions.compact", compact.clone()).await;
        assert_eq!(
            (&done["compacted"], &done["kept"]),
            (&json!(true), &json!(1))
        );
        client
            .ok("chat.send", message("main", "three", "r-3"))
            .await;
        let ends = |f: &Value| f["payload"]["runId"] == "r-3" && f["payload"]["state"] == "final";
        let end = client.until(ends).await;
        // The echo introduces itself to a conversation in which it sees no answer of its own.
        let text = end["payload"]["message"]["content"][0]["text"]
            .as_str()
            .unwrap();
        assert!(!text.is_empty());
        let history = client
            .ok("chat.history", json!({"sessionKey": "main"}))
            .await;
        assert_eq!(history["messages"].as_array().unwrap().len(), 6);
        let nobody = client
            .ok("sessions.compact", json!({"key": "nobody"}))
            .await;
        assert_eq!(nobody["compacted"], false);
        let none = json!({"key": "main", "maxLines": 0});
        client.error("sessions.compact", none).await;
        let mut writer = with_scope(&gateway, version, "operator.write", 2).await;
        let error = writer.error("sessions.compact", compact).await;
        assert_eq!(error["message"], "missing scope: operator.admin");
    }
}

#[tokio::test]
async fn a_note_is_added_in_the_assistants_name() {
    for version in [3, 4] {
        let gateway = TestGateway::start().await;
        let mut client = operator(&gateway, version).await;
        let note = json!({"sessionKey": "main", "message": "injected note", "label": "note"});
        let added = client.ok("chat.inject", note.clone()).await;
        let event = client.event("chat").await;
        assert_eq!(event["payload"]["state"], "final");
        let content = &event["payload"]["message"]["content"];
        assert_eq!(content[0]["text"], "[note]\n\ninjected note");
        let history = client
            .ok("chat.history", json!({"sessionKey": "main"}))
            .await;
        let kept = &history["messages"][0];
        assert_eq!(kept["content"], *content);
        // Version 3 has no place for a message's id.
        let id = if version == 4 {
            &added["messageId"]
        } else {
            &Value::Null
        };
        assert_eq!(kept["__openclaw"]["id"], *id);
        for bad in [
            json!({"sessionKey": "main", "message": " "}),
            json!({"sessionKey": "main", "message": "a\u{0}b"}),
            json!({"sessionKey": "main", "message": "x", "label": "l".repeat(101)}),
            json!({"sessionKey": "agent:nobody:main", "message": "x"}),
        ] {
            let error = client.error("chat.inject", bad).await;
            assert_eq!(error["code"], "INVALID_REQUEST");
        }
        let mut writer = with_scope(&gateway, version, "operator.write", 2).await;
        let error = writer.error("chat.inject", note).await;
        assert_eq!(error["message"], "missing scope: operator.admin");
    }
}

#[tokio::test]
async fn startup_is_history_and_metadata_in_one() {
    let gateway = TestGateway::start().await;
    let mut client = operator(&gateway, 4).await;
    say(&mut client, "main", "hello", "r-1").await;
    let startup = client
        .ok("chat.startup", json!({"sessionKey": "main"}))
        .await;
    assert_eq!(startup["messages"].as_array().unwrap().len(), 2);
    assert_eq!(startup["sessionInfo"]["key"], "agent:main:main");
    let metadata = client
        .ok("chat.metadata", json!({"sessionKey": "main"}))
        .await;
    assert_eq!(startup["metadata"], metadata);
    assert_eq!(metadata["models"][0]["id"], "echo");
    let listed = client.ok("commands.list", json!({})).await;
    assert_eq!(metadata["commands"], listed["commands"]);
    let error = client
        .error("chat.metadata", json!({"agentId": "nobody"}))
        .await;
    assert_eq!(error["details"]["code"], "UNKNOWN_AGENT_ID");
    let mut pairer = with_scope(&gateway, 4, "operator.pairing", 2).await;
    for method in ["chat.startup", "chat.metadata", "chat.history"] {
        let error = pairer.error(method, json!({"sessionKey": "main"})).await;
        assert_eq!(error["message"], "missing scope: operator.read", "{method}");
    }
}

#[tokio::test]
async fn a_preview_tells_ok_empty_missing_and_error_apart() {
    for version in [3, 4] {
        let gateway = TestGateway::start().await;
        let mut client = operator(&gateway, version).await;
        let long = "word ".repeat(100);
        say(&mut client, "a", &long, "r-1").await;
        client
            .ok("sessions.patch", json!({"key": "b", "label": "b"}))
            .await;
        let keys = json!(["agent:main:a", "agent:main:b", "agent:main:c", "agent:main"]);
        let preview = json!({"keys": keys, "limit": 1, "maxChars": 20});
        let preview = client.ok("sessions.preview", preview).await;
        let previews = preview["previews"].as_array().unwrap();
        let statuses: Vec<&Value> = previews.iter().map(|p| &p["status"]).collect();
        assert_eq!(statuses, ["ok", "empty", "missing", "error"]);
        let items = previews[0]["items"].as_array().unwrap();
        assert_eq!(items.len(), 1);
        assert_eq!(items[0]["text"].as_str().unwrap().chars().count(), 20);
    }
}

#[tokio::test]
async fn a_session_is_resolved_by_key_id_or_label() {
    let gateway = TestGateway::start().await;
    let mut client = operator(&gateway, 4).await;
    let made = json!({"key": "tui-1", "agentId": "main", "parentSessionKey": "agent:main:main",
        "succeedsParent": true, "emitCommandHooks": true, "label": "made here"});
    let made = client.ok("sessions.create", made).await;
    assert_eq!(made["key"], "agent:main:tui-1");
    for asked in [
        json!({"key": "tui-1"}),
        json!({"sessionId": made["sessionId"]}),
        json!({"label": "made here"}),
    ] {
        let found = client.ok("sessions.resolve", asked).await;
        assert_eq!(found["key"], "agent:main:tui-1");
    }
    let none = client
        .error("sessions.resolve", json!({"key": "agent:main:none"}))
        .await;
    assert_eq!(none["message"], "No session found: agent:main:none");
    client.error("sessions.resolve", json!({})).await;
    let twice = json!({"key": "tui-2", "label": "made here"});
    let error = client.error("sessions.create", twice).await;
    assert_eq!(error["code"], "INVALID_REQUEST");
    let mut reader = with_scope(&gateway, 4, "operator.read", 2).await;
    let error = reader.error("sessions.create", json!({"key": "x"})).await;
    assert_eq!(error["message"], "missing scope: operator.write");
    let mut old = with_scope(&gateway, 3, "operator.read", 3).await;
    let error = old.error("sessions.resolve", json!({"key": "tui-1"})).await;
    assert_eq!(error["message"], "missing scope: operator.admin");
}

#[tokio::test]
async fn sending_and_stopping_by_key_are_as_chat_send_and_abort() {
    let gateway = TestGateway::start().await;
    let mut client = operator(&gateway, 4).await;
    let long = "word ".repeat(2000);
    let send = json!({"key": "work", "message": long, "idempotencyKey": "s-1"});
    let sent = client.ok("sessions.send", send.clone()).await;
    assert_eq!(
        (&sent["runId"], &sent["status"]),
        (&json!("s-1"), &json!("started"))
    );
    let stopped = client.ok("sessions.abort", json!({"key": "work"})).await;
    assert_eq!(
        stopped,
        json!({"ok": true, "abortedRunId": "s-1", "status": "aborted"})
    );
    let nothing = client.ok("sessions.abort", json!({"runId": "s-1"})).await;
    assert_eq!(nothing["status"], "no-active-run");
    client.error("sessions.abort", json!({})).await;
    let mut reader = with_scope(&gateway, 4, "operator.read", 2).await;
    for (method, params) in [
        ("sessions.send", send),
        ("sessions.abort", json!({"key": "work"})),
        ("chat.abort", json!({"sessionKey": "work"})),
        ("chat.send", message("work", "x", "y")),
        ("agent", json!({"message": "x", "idempotencyKey": "z"})),
        ("agent.wait", json!({"runId": "s-1"})),
    ] {
        let error = reader.error(method, params).await;
        assert_eq!(
            error["message"], "missing scope: operator.write",
            "{method}"
        );
    }
}

#[tokio::test]
async fn only_what_is_archived_is_deleted_by_a_writer() {
    let gateway = TestGateway::start().await;
    let mut admin = operator(&gateway, 4).await;
    let mut writer = with_scope(&gateway, 4, "operator.write", 2).await;
    admin
        .ok("sessions.patch", json!({"key": "old", "label": "old"}))
        .await;
    let archived = json!({"key": "old", "archivedOnly": true});
    let error = writer.error("sessions.delete", archived.clone()).await;
    assert_eq!(error["message"], "Session is not archived: agent:main:old");
    let error = writer.error("sessions.delete", json!({"key": "old"})).await;
    assert_eq!(error["message"], "missing scope: operator.admin");
    writer
        .ok("sessions.patch", json!({"key": "old", "archived": true}))
        .await;
    let deleted = writer.ok("sessions.delete", archived).await;
    assert_eq!(deleted["deleted"], true);
    for (params, missing) in [
        (json!({"key": "x", "verboseLevel": "on"}), "operator.admin"),
        (json!({"key": "x", "execHost": "node"}), "operator.admin"),
        (
            json!({"key": "x", "permissionMode": "full"}),
            "operator.admin",
        ),
    ] {
        let error = writer.error("sessions.patch", params).await;
        assert_eq!(error["message"], format!("missing scope: {missing}"));
    }
    let mut old = with_scope(&gateway, 3, "operator.write", 3).await;
    let error = old
        .error("sessions.patch", json!({"key": "x", "label": "y"}))
        .await;
    assert_eq!(error["message"], "missing scope: operator.admin");
}

#[tokio::test]
async fn what_is_no_key_no_session_and_no_text_is_refused_by_name() {
    for version in [3, 4] {
        let gateway = TestGateway::start().await;
        let mut client = operator(&gateway, version).await;
        for key in [
            "",
            "a b",
            "a\nb",
            "a/b",
            "ü",
            &"x".repeat(129),
            &"x".repeat(10 << 10),
        ] {
            for (method, params) in [
                ("chat.send", message("main", "hi", key)),
                ("agent", json!({"message": "hi", "idempotencyKey": key})),
                (
                    "sessions.send",
                    json!({"key": "main", "message": "hi", "idempotencyKey": key}),
                ),
            ] {
                let error = client.error(method, params).await;
                assert_eq!(error["code"], "INVALID_REQUEST");
                let why = error["message"].as_str().unwrap();
                assert!(
                    why.contains("the idempotency key must have 1 to 128"),
                    "{why}"
                );
            }
        }
        let longest = "x".repeat(128);
        let sent = client.ok("chat.send", message("ok", "hi", &longest)).await;
        assert_eq!(sent["runId"], longest);
        for key in [
            "",
            "agent:main",
            "../../etc/passwd",
            "a b",
            "a\u{0}",
            &"k".repeat(4096),
        ] {
            for (method, params) in [
                ("chat.send", message(key, "hi", "r")),
                ("chat.history", json!({"sessionKey": key})),
                ("sessions.patch", json!({"key": key, "label": "x"})),
                ("sessions.reset", json!({"key": key})),
                ("sessions.delete", json!({"key": key})),
                ("sessions.describe", json!({"key": key})),
                ("sessions.messages.subscribe", json!({"key": key})),
            ] {
                let error = client.error(method, params).await;
                assert_eq!(error["code"], "INVALID_REQUEST");
                let why = error["message"].as_str().unwrap();
                assert!(
                    why.starts_with("malformed session key"),
                    "{method} {key}: {why}"
                );
            }
        }
        for (text, why) in [
            ("a\u{0}b", "message must not contain null bytes"),
            ("", "message or attachment required"),
            (" \n\t ", "message or attachment required"),
        ] {
            let error = client
                .error("chat.send", message("main", text, "r-1"))
                .await;
            assert_eq!(error["message"], why);
        }
        let million = "m".repeat(1_000_000);
        let sent = client
            .ok("chat.send", message("big", &million, "r-2"))
            .await;
        assert_eq!(sent["status"], "started");
        let lines = "line\n".repeat(100_000);
        client
            .ok("chat.send", message("lines", &lines, "r-3"))
            .await;
        client
            .ok("chat.send", message("odd", "a\u{ffff}b", "r-4"))
            .await;
        let kept = client
            .ok("chat.history", json!({"sessionKey": "main"}))
            .await;
        assert_eq!(kept["messages"], json!([]));
    }
}

#[tokio::test]
async fn half_a_surrogate_is_answered_and_the_connection_stays() {
    let gateway = TestGateway::start().await;
    let mut client = operator(&gateway, 4).await;
    let frame = r#"{"type":"req","id":"s1","method":"chat.send","params":{"sessionKey":"main","message":"\ud800","idempotencyKey":"r-1"}}"#;
    client.send_text(frame.to_owned()).await;
    let answer = client.until(|frame| frame["type"] == "res").await;
    assert_eq!(answer["ok"], false);
    assert_eq!(answer["error"]["code"], "INVALID_REQUEST");
    client.ok("health", json!({})).await;
}
