//! Frames that no client should send (docs/SECURITY.md): what is refused, how, and that the check is
//! what refuses it.

use clawline_gateway::policy::Policy;
use serde_json::{Value, json};

use crate::support::raw::{BINARY, PING, Raw, TEXT, frame};
use crate::support::{Connect, Stopped, TestGateway};

async fn under(leave: fn(&mut Policy)) -> TestGateway {
    TestGateway::start_under(Policy::leaving_out(leave), |_| {}).await
}

async fn greeted(gateway: &TestGateway) -> Raw {
    let scopes = ["operator.admin", "operator.read", "operator.write"];
    Raw::greeted(gateway.address, &Connect::cli(4, &gateway.secret, &scopes)).await
}

fn call(id: &Value, method: &str, params: &Value) -> String {
    json!({"type": "req", "id": id, "method": method, "params": params}).to_string()
}

/// The connection still answers.
async fn lives(raw: &mut Raw) {
    raw.text(&call(&json!("alive"), "health", &json!({}))).await;
    assert_eq!(raw.answer("alive").await["ok"], true);
}

#[tokio::test]
async fn the_first_frame_is_a_connect_or_the_last() {
    let gateway = TestGateway::start().await;
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    for (bytes, code, reason) in [
        (frame(TEXT, b"hello"), 1000, ""),
        (frame(BINARY, &[0xde, 0xad, 0xff]), 1000, ""),
        (frame(TEXT, "[".repeat(30_000).as_bytes()), 1000, ""),
        (frame(TEXT, deep.as_bytes()), 1000, ""),
        (frame(TEXT, b"7"), 1008, "invalid request frame"),
        (
            frame(TEXT, br#"{"type":"event","event":"x"}"#),
            1008,
            "invalid request frame",
        ),
        (frame(TEXT, &[b'x'; 65_537]), 1009, ""),
        (
            frame(TEXT, br#"{"type":"req","id":"1","method":"health"}"#),
            1008,
            "invalid handshake: first request must be connect",
        ),
    ] {
        let mut raw = Raw::open(gateway.address).await;
        raw.send(&bytes).await;
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
        assert_eq!(raw.close().await, (code, reason.to_owned()), "{shown}");
    }
    // The length alone is enough: none of it has come, and none is waited for.
    let mut raw = Raw::open(gateway.address).await;
    let mut huge = vec![TEXT, 0x80 | 127];
    huge.extend((1_u64 << 63).to_be_bytes());
    raw.send(&huge).await;
    raw.send(&[0; 4]).await;
    let (code, _) = raw.close().await;
    assert!(code == 1009 || code == 1002, "{code}");
}

#[tokio::test]
async fn what_breaks_the_rules_of_websocket_is_closed_with_the_code_for_it() {
    let gateway = TestGateway::start().await;
    let mut unmasked = frame(TEXT, b"{}");
    unmasked[1] &= 0x7f;
    let cases: &[(&str, Vec<u8>, u16)] = &[
        ("unmasked", unmasked, 1002),
        ("a reserved bit", frame(0xc1, b"{}"), 1002),
        ("a reserved opcode", frame(0x83, b"{}"), 1002),
        ("a long ping", frame(PING, &[0; 126]), 1002),
        ("a ping in two parts", frame(0x09, b"a"), 1002),
        ("the rest of nothing", frame(0x80, b"a"), 1002),
        (
            "a second beginning",
            [frame(0x01, b"a"), frame(TEXT, b"b")].concat(),
            1002,
        ),
        ("a close of one byte", frame(0x88, &[3]), 1002),
        (
            "a close that may not be sent",
            frame(0x88, &1005_u16.to_be_bytes()),
            1002,
        ),
        (
            "a close in no words",
            frame(0x88, &[0x03, 0xe8, 0xff, 0xff]),
            1007,
        ),
        ("no text", frame(TEXT, &[0xff]), 1007),
        ("an overlong text", frame(TEXT, &[0xc0, 0x80]), 1007),
    ];
    for (name, bytes, code) in cases {
        // Before hello and after it.
        let mut raw = Raw::open(gateway.address).await;
        raw.send(bytes).await;
        assert_eq!(raw.close().await.0, *code, "{name}, before hello");
        let mut raw = greeted(&gateway).await;
        raw.send(bytes).await;
        assert_eq!(raw.close().await.0, *code, "{name}, after hello");
    }
}

#[tokio::test]
async fn a_character_in_two_fragments_is_fine_and_compression_is_never_agreed() {
    let gateway = TestGateway::start().await;
    let mut raw = greeted(&gateway).await;
    let text = call(&json!("é1"), "health", &json!({}));
    let cut = text.find('é').unwrap() + 1;
    raw.send(&frame(0x01, &text.as_bytes()[..cut])).await;
    raw.send(&frame(PING, b"between")).await;
    raw.send(&frame(0x80, &text.as_bytes()[cut..])).await;
    assert_eq!(raw.answer("é1").await["ok"], true);

    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\nSec-WebSocket-Protocol: x\r\n";
    let (mut raw, head) = Raw::open_offering(gateway.address, offer).await;
    assert!(
        !head.to_lowercase().contains("sec-websocket-extensions"),
        "{head}"
    );
    assert!(
        !head.to_lowercase().contains("sec-websocket-protocol"),
        "{head}"
    );
    raw.send(&frame(0xc1, &[0; 64])).await;
    assert_eq!(raw.close().await.0, 1002);
}

#[tokio::test]
async fn after_hello_bad_frames_are_answered_and_the_connection_stays() {
    let gateway = TestGateway::start().await;
    let mut raw = greeted(&gateway).await;
    let keys: String = (0..100_000).map(|n| format!("\"k{n}\":1,")).collect();
    for (text, id) in [
        (call(&json!(5), "health", &json!({})), "invalid"),
        (call(&json!(null), "health", &json!({})), "invalid"),
        (
            call(&json!("x".repeat(10_240)), "health", &json!({})),
            "invalid",
        ),
        (call(&json!(""), "health", &json!({})), "invalid"),
        (r#"{"type":"req","id":"7","method":""}"#.into(), "7"),
        (r#"{"type":"res","id":"7","ok":true}"#.into(), "invalid"),
        ("[1]".into(), "invalid"),
        (
            r#"{"type":"req","id":"8","id":"9","method":"health"}"#.into(),
            "9",
        ),
    ] {
        raw.text(&text).await;
        let answer = raw.answer(id).await;
        if answer["ok"] == true {
            // The last of two members counts.
            assert_eq!(id, "9");
            continue;
        }
        assert_eq!(
            answer["error"]["code"],
            "INVALID_REQUEST",
            "{}",
            &text[..text.len().min(80)]
        );
    }
    // Not JSON, too deep, or no number: not answered, and no harm.
    for text in [
        "{".to_owned(),
        format!("{}{}", "[".repeat(20_000), "]".repeat(20_000)),
        r#"{"type":"req","id":"a","method":"health","params":{"n":1e400}}"#.to_owned(),
        r#"{"type":"req","id":"a","method":"health","params":{"n":"\ud800"}}"#.to_owned(),
    ] {
        raw.text(&text).await;
        lives(&mut raw).await;
    }
    // Large and fine.
    let many = format!(
        "{{\"type\":\"req\",\"id\":\"m\",\"method\":\"health\",\"params\":{{{keys}\"z\":1}}}}"
    );
    raw.text(&many).await;
    assert_eq!(raw.answer("m").await["ok"], true);
    raw.send(&frame(
        BINARY,
        call(&json!("b"), "health", &json!({})).as_bytes(),
    ))
    .await;
    assert_eq!(raw.answer("b").await["ok"], true);
}

#[tokio::test]
async fn a_message_beyond_25_mib_is_cut_at_its_head() {
    let gateway = TestGateway::start().await;
    let mut raw = greeted(&gateway).await;
    let mut head = vec![TEXT, 0x80 | 127];
    head.extend((25_u64 * 1024 * 1024 + 1).to_be_bytes());
    head.extend([0; 4]);
    raw.send(&head).await;
    assert_eq!(raw.close().await, (1009, String::new()));
}

/// Two calls of one id, the first still under way: what the second is told.
async fn second_of_two(gateway: &TestGateway) -> (Value, Value) {
    let mut raw = greeted(gateway).await;
    let long = "word ".repeat(2000);
    let send = json!({"sessionKey": "main", "message": long, "idempotencyKey": "r"});
    raw.text(&call(&json!("send"), "chat.send", &send)).await;
    assert_eq!(raw.answer("send").await["ok"], true);
    let wait = json!({"runId": "r", "timeoutMs": 600_000});
    let wait = call(&json!("same"), "agent.wait", &wait);
    raw.text(&wait).await;
    raw.text(&call(&json!("same"), "health", &json!({}))).await;
    let second = raw.any_answer().await;
    let stop = call(&json!("stop"), "chat.abort", &json!({"sessionKey": "main"}));
    raw.text(&stop).await;
    (second, raw.answer("same").await)
}

#[tokio::test]
async fn an_id_that_is_under_way_names_no_second_call() {
    let gateway = TestGateway::start().await;
    let (refusal, first) = second_of_two(&gateway).await;
    assert_eq!(refusal["id"], "invalid");
    let words = refusal["error"]["message"].as_str().unwrap();
    assert!(words.contains("\"same\" is under way"), "{words}");
    assert_eq!(
        (&first["payload"]["runId"], &first["payload"]["error"]),
        (&json!("r"), &json!("aborted")),
        "the first call is answered: {first}"
    );
    let open = under(|policy| policy.call_ids = false).await;
    let (second, _) = second_of_two(&open).await;
    assert_eq!(
        (&second["id"], &second["payload"]["ok"]),
        (&json!("same"), &json!(true))
    );
}

/// A message of so many empty fragments: the close, or code 0 when it was taken.
async fn fragments(gateway: &TestGateway, count: usize) -> u16 {
    let mut raw = greeted(gateway).await;
    let text = call(&json!("f"), "health", &json!({}));
    let mut bytes = frame(0x01, text.as_bytes());
    bytes.extend(frame(0x00, b"").repeat(count));
    bytes.extend(frame(0x80, b""));
    raw.send(&bytes).await;
    raw.close_or_text().await.0
}

#[tokio::test]
async fn a_message_in_too_many_fragments_is_closed() {
    let gateway = TestGateway::start().await;
    assert_eq!(fragments(&gateway, 4000).await, 0);
    assert_eq!(fragments(&gateway, 5000).await, 1008);
    let open = under(|policy| policy.fragment_cap = false).await;
    assert_eq!(fragments(&open, 5000).await, 0);
}

/// Pongs to so many pings, and whether the connection still answers.
async fn ping(gateway: &TestGateway, count: usize) -> (usize, bool) {
    let mut raw = greeted(gateway).await;
    let mut bytes = frame(PING, b"p").repeat(count);
    bytes.extend(frame(
        TEXT,
        call(&json!("p"), "health", &json!({})).as_bytes(),
    ));
    raw.send(&bytes).await;
    raw.pongs().await
}

#[tokio::test]
async fn a_flood_of_pings_ends_the_connection_and_a_few_do_not() {
    let gateway = TestGateway::start().await;
    let open = under(|policy| policy.ping_budget = false).await;
    // However slowly they are taken, it is a flood.
    let _clock = Stopped::now();
    assert!(ping(&gateway, 100).await.1);
    let (pongs, lives) = ping(&gateway, 2000).await;
    assert!(!lives && pongs < 1000, "{pongs} pongs");
    assert!(ping(&open, 2000).await.1);
}

/// So many calls of an unknown method at once: the close, or code 0 when all are answered.
async fn unknown(gateway: &TestGateway, count: usize) -> (u16, String) {
    let mut raw = greeted(gateway).await;
    let bytes: Vec<u8> = (0..count)
        .flat_map(|n| {
            frame(
                TEXT,
                call(&json!(n.to_string()), "no.such", &json!({})).as_bytes(),
            )
        })
        .collect();
    raw.send(&bytes).await;
    let last = (count - 1).to_string();
    raw.close_or_answer(&last).await
}

#[tokio::test]
async fn a_flood_of_refused_calls_ends_the_connection_and_others_go_on() {
    let gateway = TestGateway::start().await;
    let open = under(|policy| policy.fault_budget = false).await;
    // However slowly they are taken, it is a flood.
    let _clock = Stopped::now();
    let mut other = greeted(&gateway).await;
    assert_eq!(unknown(&gateway, 100).await.0, 0);
    assert_eq!(unknown(&gateway, 2000).await, (1008, "rate limit".into()));
    lives(&mut other).await;
    // What is taken has no such budget.
    let bytes: Vec<u8> = (0..2000)
        .flat_map(|n| {
            frame(
                TEXT,
                call(&json!(n.to_string()), "health", &json!({})).as_bytes(),
            )
        })
        .collect();
    let mut busy = greeted(&gateway).await;
    busy.send(&bytes).await;
    assert_eq!(busy.close_or_answer("1999").await.0, 0);
    assert_eq!(unknown(&open, 2000).await.0, 0);
}

/// A `connect` of more than 64 KiB: the close, or code 0 when it was taken.
async fn padded_connect(gateway: &TestGateway) -> u16 {
    let mut raw = Raw::open(gateway.address).await;
    let connect = Connect::cli(4, &gateway.secret, &["operator.read"]);
    let connect = connect.set("/pathEnv", json!("x".repeat(65_537)));
    let text = raw.connect_text(&connect);
    raw.send_until_told(&frame(TEXT, text.as_bytes())).await.0
}

#[tokio::test]
async fn it_is_our_limit_that_cuts_a_long_message() {
    let gateway = TestGateway::start().await;
    assert_eq!(padded_connect(&gateway).await, 1009);
    let open = under(|policy| policy.message_limits = false).await;
    assert_eq!(padded_connect(&open).await, 0);
}

/// A call without a mask: the close, or code 0 when it was answered.
async fn unmasked_call(gateway: &TestGateway) -> u16 {
    let mut raw = greeted(gateway).await;
    let text = call(&json!("u"), "health", &json!({}));
    let length = u8::try_from(text.len()).unwrap();
    assert!(length < 126);
    let bytes = [&[TEXT, length], text.as_bytes()].concat();
    raw.send_until_told(&bytes).await.0
}

#[tokio::test]
async fn it_is_our_choice_that_refuses_what_is_not_masked() {
    let gateway = TestGateway::start().await;
    assert_eq!(unmasked_call(&gateway).await, 1002);
    let open = under(|policy| policy.masked_frames = false).await;
    assert_eq!(unmasked_call(&open).await, 0);
}

/// A call under an id of ten thousand bytes: what it is answered under.
async fn long_id(gateway: &TestGateway) -> Value {
    let mut raw = greeted(gateway).await;
    raw.text(&call(&json!("x".repeat(10_240)), "health", &json!({})))
        .await;
    raw.any_answer().await["id"].clone()
}

#[tokio::test]
async fn an_id_of_ten_kilobytes_names_no_call() {
    let gateway = TestGateway::start().await;
    assert_eq!(long_id(&gateway).await, "invalid");
    let open = under(|policy| policy.call_ids = false).await;
    assert_eq!(long_id(&open).await.as_str().map(str::len), Some(10_240));
}

#[tokio::test]
async fn a_frame_of_too_many_values_is_refused_before_anything_is_made_of_it() {
    let zeros = format!("[0{}]", ",0".repeat(200_000));
    let params =
        format!(r#"{{"type":"req","id":"many","method":"health","params":{{"z":{zeros}}}}}"#);
    let gateway = TestGateway::start().await;
    let mut raw = greeted(&gateway).await;
    raw.text(&params).await;
    let answer = raw.answer("many").await;
    assert_eq!(answer["error"]["code"], "INVALID_REQUEST");
    let words = answer["error"]["message"].as_str().unwrap();
    assert!(words.contains("more than 200000 values"), "{words}");
    lives(&mut raw).await;
    let open = under(|policy| policy.value_cap = false).await;
    let mut raw = greeted(&open).await;
    raw.text(&params).await;
    assert_eq!(raw.answer("many").await["ok"], true);
}

#[tokio::test]
async fn what_a_call_holds_is_not_looked_at_before_its_caller_may_make_it() {
    async fn told(gateway: &TestGateway, role: &str, method: &str) -> String {
        let mut connect = Connect::cli(4, &gateway.secret, &[]);
        if role == "node" {
            connect = crate::nodes::node(4, &gateway.secret, 3);
        }
        let mut raw = Raw::greeted(gateway.address, &connect).await;
        raw.text(&call(&json!("bad"), method, &json!(7))).await;
        let answer = raw.answer("bad").await;
        answer["error"]["message"].as_str().unwrap().to_owned()
    }
    let gateway = TestGateway::start().await;
    let open = under(|policy| policy.unread_params = false).await;
    for (role, method, refusal) in [
        ("operator", "sessions.list", "missing scope: operator.read"),
        // Parameters can make it more, and never less.
        ("operator", "node.invoke", "missing scope: operator.write"),
        ("node", "sessions.list", "unauthorized role: node"),
    ] {
        assert_eq!(told(&gateway, role, method).await, refusal);
        let words = told(&open, role, method).await;
        assert!(words.contains("params"), "{role} {method}: {words}");
    }
}
