//! The check that every test client makes: it catches what does not fit, and knows all we send.

use clawline::protocol::{event, methods};
use serde_json::{Value, json};

use crate::support::schema::{answer_definition, check_frame, event_definition};
use crate::support::{Client, Connect, TestGateway};

#[test]
fn each_method_and_event_of_ours_has_its_row() {
    let unknown: Vec<&str> = methods::names()
        .into_iter()
        .filter(|name| answer_definition(name).is_none())
        .chain(
            event::NAMES
                .iter()
                .copied()
                .filter(|name| event_definition(name).is_none()),
        )
        .collect();
    assert!(
        unknown.is_empty(),
        "support/schema_table.rs lacks {unknown:?}"
    );
}

fn answer(payload: Value) -> Value {
    json!({"type": "res", "id": "x1", "ok": true, "payload": payload})
}

/// What the client's check says of an answer to `method`, on a connection of this version.
async fn verdict(version: u32, method: &str, frame: &Value) -> Result<(), String> {
    let gateway = TestGateway::start().await;
    let connect = Connect::cli(version, &gateway.secret, &["operator.admin"]);
    let (mut client, _) = Client::connect(gateway.address, &connect).await;
    client.expect_answer("x1", method);
    client.verdict(frame)
}

#[tokio::test]
async fn a_wrong_answer_is_caught() {
    let good = json!({"file": "a", "cursor": 0, "size": 0, "lines": [], "truncated": false, "reset": false});
    assert_eq!(verdict(4, "logs.tail", &answer(good.clone())).await, Ok(()));
    for (change, value, word) in [
        ("cursor", json!("0"), "/cursor"),
        ("cursor", json!(-1), "/cursor"),
        ("lines", json!([1]), "/lines/0"),
        ("clawline", json!(true), "clawline"),
    ] {
        let mut wrong = good.clone();
        wrong[change] = value;
        let why = verdict(4, "logs.tail", &answer(wrong)).await.unwrap_err();
        assert!(why.contains("logs.tail") && why.contains(word), "{why}");
    }
    let mut short = good;
    short.as_object_mut().unwrap().remove("size");
    let why = verdict(4, "logs.tail", &answer(short)).await.unwrap_err();
    assert!(why.contains("size"), "{why}");
    let why = verdict(4, "no.such", &answer(json!({}))).await.unwrap_err();
    assert!(why.contains("no row"), "{why}");
}

#[tokio::test]
async fn a_wrong_event_is_caught_and_the_known_extra_members_are_not() {
    let agent = json!({"runId": "r", "seq": 1, "stream": "lifecycle", "ts": 1, "data": {},
        "agentId": "main", "sessionKey": "agent:main:main", "lane": "main"});
    let event = |name: &str, payload: Value| json!({"type": "event", "event": name, "payload": payload, "seq": 1});
    for (frame, word) in [
        (event("agent", agent.clone()), ""),
        (event("tick", json!({"ts": 1.5})), "/ts"),
        (event("tick", json!({"ts": 1, "more": 1})), "more"),
        (
            event("shutdown", json!({"reason": "", "restartExpectedMs": null})),
            "/reason",
        ),
        (
            event("presence", json!({"presence": [{"host": "h"}]})),
            "\"ts\"",
        ),
        (
            event(
                "chat",
                json!({"runId": "r", "sessionKey": "k", "seq": 1, "state": "delta"}),
            ),
            "chat",
        ),
        (event("no.such", json!({})), "no row"),
    ] {
        let found = verdict(4, "health", &frame).await;
        match found {
            Ok(()) => assert_eq!(word, "", "{frame}"),
            Err(why) => assert!(!word.is_empty() && why.contains(word), "{why}"),
        }
    }
}

#[tokio::test]
async fn version_3_is_sent_no_member_and_no_error_code_that_it_does_not_know() {
    let mut frame = json!({"type": "event", "event": "tick", "payload": {"ts": 1}, "seq": 4});
    assert_eq!(verdict(3, "health", &frame).await, Ok(()));
    frame["recipientProfileId"] = json!("me");
    let why = verdict(3, "health", &frame).await.unwrap_err();
    assert!(why.contains("recipientProfileId"), "{why}");
    let refusal = |code: &str| json!({"type": "res", "id": "x1", "ok": false, "error": {"code": code, "message": "m"}});
    assert_eq!(verdict(3, "health", &refusal("UNAVAILABLE")).await, Ok(()));
    let why = verdict(3, "health", &refusal("FORBIDDEN"))
        .await
        .unwrap_err();
    assert!(why.contains("FORBIDDEN"), "{why}");
}

#[test]
fn a_frame_has_its_members_and_no_others() {
    for wrong in [
        json!({"type": "res", "id": "", "ok": true}),
        json!({"type": "res", "id": "1", "ok": "yes"}),
        json!({"type": "res", "id": "1", "ok": false, "error": {"code": "X"}}),
        json!({"type": "res", "id": "1", "ok": true, "traceparent": "x"}),
        json!({"type": "event", "event": "tick", "seq": -1}),
        json!({"type": "event", "event": "health", "stateVersion": {"health": 1}}),
        json!({"type": "req", "id": "1", "method": "health"}),
    ] {
        assert!(check_frame(&wrong).is_err(), "{wrong}");
    }
}
