//! Requests that no client should send (docs/SECURITY.md): what is refused, how, and that the check
//! is what refuses it.

use clawline_gateway::policy::Policy;

use crate::support::raw::{exchange, status};
use crate::support::{Client, Connect, TestGateway};

async fn under(leave: fn(&mut Policy)) -> TestGateway {
    TestGateway::start_under(Policy::leaving_out(leave), |_| {}).await
}

/// A request for the probe with these lines instead of, or besides, the plain ones.
fn request(gateway: &TestGateway, first: &str, lines: &str, body: &str) -> Vec<u8> {
    let host = gateway.address;
    format!("{first}\r\nHost: {host}\r\nConnection: close\r\n{lines}\r\n{body}").into_bytes()
}

#[tokio::test]
async fn a_head_that_could_be_read_in_two_ways_is_refused() {
    let gateway = TestGateway::start().await;
    let open = under(|policy| policy.strict_heads = false).await;
    let probe = "GET /healthz HTTP/1.1";
    let chunks = "0\r\n\r\n";
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    let long = format!("X: {}\r\n", "y".repeat(20_000));
    // The last member says whether hyper alone would let it pass, so that our own check is needed.
    for (name, first, lines, body, wanted, passes) in [
        ("plain", probe, "", "", 200, true),
        (
            "two lengths",
            probe,
            "Content-Length: 0\r\nContent-Length: 0\r\n",
            "",
            400,
            true,
        ),
        (
            "two different lengths",
            probe,
            "Content-Length: 0\r\nContent-Length: 4\r\n",
            "",
            400,
            false,
        ),
        (
            "length and chunks",
            probe,
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            chunks,
            400,
            true,
        ),
        (
            "an unknown encoding",
            probe,
            "Transfer-Encoding: xchunked\r\n",
            "",
            400,
            false,
        ),
        ("a bare LF", probe, "X: y\nZ: w\r\n", "", 400, true),
        (
            "a space before the colon",
            probe,
            "X : y\r\n",
            "",
            400,
            false,
        ),
        ("a folded header", probe, "X: y\r\n z\r\n", "", 400, false),
        ("two hosts", probe, "Host: 127.0.0.1\r\n", "", 400, false),
        ("a NUL", probe, "X: a\0b\r\n", "", 400, false),
        ("200 headers", probe, &many, "", 431, false),
        ("a long head", probe, &long, "", 431, false),
        (
            "another version",
            "GET /healthz HTTP/9.9",
            "",
            "",
            505,
            false,
        ),
        ("no request", "hello", "", "", 400, false),
    ] {
        let answer = exchange(gateway.address, &request(&gateway, first, lines, body)).await;
        assert_eq!(status(&answer), wanted, "{name}: {answer}");
        assert!(
            answer.to_lowercase().contains("connection: close"),
            "{name}: {answer}"
        );
        let answer = exchange(open.address, &request(&open, first, lines, body)).await;
        assert_eq!(
            status(&answer) == 200,
            passes,
            "{name}, check left out: {answer}"
        );
    }
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n\r\n",
    ] {
        let answer = exchange(gateway.address, garbage).await;
        assert!(matches!(status(&answer), 400 | 505), "{answer}");
    }
}

#[tokio::test]
async fn one_connection_is_one_request() {
    let gateway = TestGateway::start().await;
    let host = gateway.address;
    let two = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n").repeat(2);
    let answer = exchange(host, two.as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
}

#[tokio::test]
async fn a_path_that_could_be_read_in_two_ways_reaches_no_route() {
    let gateway = TestGateway::start().await;
    let open = under(|policy| policy.plain_paths = false).await;
    for path in [
        "/..%2f..%2fetc/passwd",
        "/%2e%2e/",
        "/%zz",
        "/%00",
        "//evil",
        "/api/channels/%2e%2e/x",
        "/api//channels",
        "/%252e%252e/healthz",
    ] {
        let get = format!("GET {path} HTTP/1.1");
        let answer = exchange(gateway.address, &request(&gateway, &get, "", "")).await;
        assert_eq!(status(&answer), 400, "{path}: {answer}");
        let answer = exchange(open.address, &request(&open, &get, "", "")).await;
        assert_eq!(status(&answer), 404, "{path}, check left out: {answer}");
    }
    for (get, allowed) in [
        ("GET /\\evil HTTP/1.1", [400, 404]),
        ("GET /api%2fchannels HTTP/1.1", [404, 404]),
        ("GET /API/channels HTTP/1.1", [404, 404]),
        ("GET /api/channels;a HTTP/1.1", [404, 404]),
        ("CONNECT x:80 HTTP/1.1", [400, 421]),
        ("GET http://169.254.169.254/ HTTP/1.1", [400, 421]),
        ("GET /HEALTHZ HTTP/1.1", [404, 404]),
    ] {
        let answer = exchange(gateway.address, &request(&gateway, get, "", "")).await;
        assert!(allowed.contains(&status(&answer)), "{get}: {answer}");
        assert!(
            !answer.to_lowercase().contains("location:"),
            "{get}: {answer}"
        );
        assert!(!answer.contains("root:"), "{get}: {answer}");
    }
}

#[tokio::test]
async fn it_is_our_limits_that_refuse_a_long_head_and_a_crowd_of_headers() {
    let gateway = TestGateway::start().await;
    let open = under(|policy| {
        policy.strict_heads = false;
        policy.head_limits = false;
    })
    .await;
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    let long = format!("X: {}\r\n", "y".repeat(20_000));
    for lines in [many, long] {
        let probe = "GET /healthz HTTP/1.1";
        let answer = exchange(gateway.address, &request(&gateway, probe, &lines, "")).await;
        assert_eq!(status(&answer), 431, "{answer}");
        let answer = exchange(open.address, &request(&open, probe, &lines, "")).await;
        assert_eq!(status(&answer), 200, "{answer}");
    }
}

#[tokio::test]
async fn a_malformed_path_upgrades_to_nothing() {
    let gateway = TestGateway::start().await;
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let answer = exchange(
        gateway.address,
        &request(&gateway, "GET /%2e%2e/ HTTP/1.1", upgrade, ""),
    )
    .await;
    assert_eq!(status(&answer), 400, "{answer}");
}

#[tokio::test]
async fn a_body_is_neither_wanted_nor_waited_for() {
    let gateway = TestGateway::start().await;
    for (post, wanted) in [
        ("POST /v1/chat/completions HTTP/1.1", 404),
        ("POST /tools/invoke HTTP/1.1", 404),
        ("POST /healthz HTTP/1.1", 405),
    ] {
        let lines = "Content-Type: application/json\r\nContent-Length: 62914560\r\n";
        // Not one byte of it is sent: the answer comes all the same.
        let answer = exchange(gateway.address, &request(&gateway, post, lines, "")).await;
        assert_eq!(status(&answer), wanted, "{answer}");
    }
}

#[tokio::test]
async fn bytes_right_behind_the_upgrade_are_the_first_frame() {
    let gateway = TestGateway::start().await;
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let host = gateway.address;
    let mut bytes = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{upgrade}\r\n").into_bytes();
    let first = r#"{"type":"req","id":"1","method":"health"}"#;
    bytes.extend(crate::support::raw::frame(0x81, first.as_bytes()));
    let answer = exchange(host, &bytes).await;
    assert_eq!(status(&answer), 101);
    assert!(answer.contains("first request must be connect"), "{answer}");
    // And an ordinary client is still served.
    let connect = Connect::cli(4, &gateway.secret, &["operator.read"]);
    let (mut client, _) = Client::connect(gateway.address, &connect).await;
    client.ok("health", serde_json::json!({})).await;
}
