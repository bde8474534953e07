//! What must not bring the gateway down, or lock its owner out.

use std::time::{Duration, Instant};

use clawline::protocol::limits::TICK_INTERVAL;
use clawline_gateway::policy::Policy;
use clawline_gateway::settings::RateLimit;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::program::DEADLINE;
use crate::support::{Client, Connect, Device, Stopped, TestGateway};

#[tokio::test]
async fn requests_for_another_name_of_a_foreign_page_or_through_a_proxy_never_reach_the_handshake()
{
    let gateway = TestGateway::start().await;
    let port = gateway.address.port();
    for (name, value, status, kind) in [
        (
            "host",
            "evil.example".to_owned(),
            421,
            "misdirected_request",
        ),
        (
            "origin",
            "https://evil.example".to_owned(),
            403,
            "origin_not_allowed",
        ),
        (
            "origin",
            "http://127.0.0.1:1".to_owned(),
            403,
            "origin_not_allowed",
        ),
        (
            "x-forwarded-for",
            "203.0.113.9".to_owned(),
            403,
            "proxy_attribution_required",
        ),
        (
            "cf-connecting-ip",
            "203.0.113.9".to_owned(),
            403,
            "proxy_attribution_required",
        ),
        (
            "tailscale-user-login",
            "me".to_owned(),
            403,
            "proxy_attribution_required",
        ),
        (
            "sec-websocket-version",
            "8".to_owned(),
            426,
            "websocket_version",
        ),
    ] {
        let Err((got, body)) = Client::try_open(gateway.address, &[(name, &value)]).await else {
            panic!("{name}: {value} was let in");
        };
        assert_eq!(got, status, "{name}: {value}: {body}");
        assert!(body.contains(kind), "{name}: {value}: {body}");
    }
    let localhost = format!("localhost:{port}");
    let opened = Client::try_open(gateway.address, &[("host", &localhost)]).await;
    assert!(opened.is_ok());
}

#[tokio::test]
async fn guessing_locks_the_guesser_and_never_the_owner() {
    let gateway = TestGateway::start_with(|settings| {
        settings.rate_limit = RateLimit {
            max_attempts: 3,
            ..RateLimit::default()
        };
    })
    .await;
    gateway.peers.become_user(4001);
    let wrong = Connect::cli(4, "guess", &[]);
    let began = Instant::now();
    for _ in 0..3 {
        let (error, ..) = Client::refused(gateway.address, &wrong).await;
        assert_eq!(error["details"]["code"], "AUTH_TOKEN_MISMATCH");
    }
    for connect in [wrong.clone(), Connect::cli(4, &gateway.secret, &[])] {
        let (error, code, _) = Client::refused(gateway.address, &connect).await;
        assert_eq!(error["details"]["code"], "AUTH_RATE_LIMITED");
        assert_eq!(error["retryable"], true);
        let passed = u64::try_from(began.elapsed().as_millis()).unwrap();
        let wait = error["retryAfterMs"].as_u64().unwrap();
        assert!((299_999 - passed..=300_000).contains(&wait), "{wait}");
        assert_eq!(code, 1008);
    }
    // The owner's own failures lock guesses, not the right secret.
    gateway.peers.become_user(crate::support::OWN_UID);
    for _ in 0..4 {
        Client::refused(gateway.address, &wrong).await;
    }
    let right = Connect::cli(4, &gateway.secret, &["operator.read"]);
    Client::connect(gateway.address, &right).await;
}

#[tokio::test]
async fn a_device_token_does_not_make_guesses_free() {
    let gateway = TestGateway::start_with(|settings| {
        settings.rate_limit = RateLimit {
            max_attempts: 3,
            ..RateLimit::default()
        };
    })
    .await;
    let paired = Connect::cli(4, &gateway.secret, &["operator.read"]).with_device(Device::new(5));
    let (_, hello) = Client::connect(gateway.address, &paired).await;
    let token = &hello["auth"]["deviceToken"];
    gateway.peers.become_user(4001);
    let own = paired.clone().set("/auth", json!({"token": token}));
    let guess = paired.set("/auth", json!({"token": "guess", "deviceToken": token}));
    for _ in 0..3 {
        Client::connect(gateway.address, &own).await;
        Client::connect(gateway.address, &guess).await;
    }
    let (error, ..) = Client::refused(gateway.address, &guess).await;
    assert_eq!(error["details"]["code"], "AUTH_RATE_LIMITED");
    // The owner passes from a program, and not from a page in the browser.
    gateway.peers.become_user(crate::support::OWN_UID);
    for _ in 0..4 {
        Client::connect(gateway.address, &guess).await;
    }
    Client::connect(gateway.address, &own).await;
    let own_page = format!("http://{}", gateway.address);
    let page = Client::try_open(gateway.address, &[("origin", &own_page)]).await;
    let response = page
        .unwrap_or_else(|refused| panic!("{refused:?}"))
        .greet(&own)
        .await;
    assert_eq!(response["error"]["details"]["code"], "AUTH_RATE_LIMITED");
}

#[tokio::test]
async fn silent_sockets_make_room_for_the_owner() {
    let gateway = TestGateway::start().await;
    let mut first = TcpStream::connect(gateway.address).await.unwrap();
    let mut crowd = Vec::new();
    for _ in 0..140 {
        crowd.push(TcpStream::connect(gateway.address).await.unwrap());
    }
    let connect = Connect::cli(4, &gateway.secret, &["operator.read"]);
    let (mut client, _) = Client::connect(gateway.address, &connect).await;
    client.ok("health", json!({})).await;
    let mut nothing = [0; 1];
    let evicted = tokio::time::timeout(DEADLINE, first.read(&mut nothing)).await;
    assert!(matches!(evicted, Ok(Ok(0) | Err(_))), "{evicted:?}");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_and_the_others_do_not_notice() {
    let gateway = TestGateway::start().await;
    let scopes = ["operator.read", "operator.write"];
    let connect = |seed| Connect::cli(4, &gateway.secret, &scopes).with_device(Device::new(seed));
    let mut slow = Client::open_with_small_buffer(gateway.address).await;
    assert_eq!(slow.greet(&connect(1)).await["ok"], true);
    slow.ok("sessions.subscribe", json!({})).await;
    let (mut good, _) = Client::connect(gateway.address, &connect(2)).await;
    // Each message comes back to the slow one as an event that cannot be merged.
    let large = "x".repeat(900_000);
    let mut number = 0;
    while good.ok("health", json!({})).await["connections"] == 2 {
        number += 1;
        assert!(number < 60, "the slow one was never cut");
        let run = format!("r-{number}");
        let params = json!({"sessionKey": "main", "message": large, "idempotencyKey": run});
        good.ok("chat.send", params).await;
        good.ok("chat.abort", json!({"sessionKey": "main"})).await;
        good.skipped.clear();
        good.seen.clear();
    }
    let (code, reason) = slow.closed().await;
    assert_eq!((code, reason.as_str()), (1008, "slow consumer"));
    let again = Client::connect(gateway.address, &connect(1)).await;
    drop(again);
}

#[tokio::test]
async fn calls_of_the_wrong_role_end_the_connection_after_a_while() {
    let gateway = TestGateway::start().await;
    let node = Connect::cli(4, &gateway.secret, &[])
        .set("/role", json!("node"))
        .set("/client/id", json!("node-host"))
        .set("/client/mode", json!("node"))
        .with_device(Device::new(4));
    let (mut node, _) = Client::connect(gateway.address, &node).await;
    node.ok("health", json!({})).await;
    for _ in 0..10 {
        let error = node.error("sessions.list", json!({})).await;
        assert_eq!(error["message"], "unauthorized role: node");
    }
    node.start("sessions.list", json!({})).await;
    assert_eq!(
        node.closed().await,
        (1008, "repeated unauthorized calls".to_owned())
    );
}

#[tokio::test]
async fn silent_sockets_are_closed_after_ten_seconds_at_every_stage() {
    let gateway = TestGateway::start_punctual(Policy::default()).await;
    let mut no_head = TcpStream::connect(gateway.address).await.unwrap();
    let mut half_a_head = TcpStream::connect(gateway.address).await.unwrap();
    half_a_head
        .write_all(b"GET / HTTP/1.1\r\nHost: x")
        .await
        .unwrap();
    let mut no_connect = Client::open(gateway.address).await;
    // Nothing but the clock is waited for from here on.
    tokio::time::pause();
    let mut rest = Vec::new();
    let _ = no_head.read_to_end(&mut rest).await;
    let _ = half_a_head.read_to_end(&mut rest).await;
    let code = no_connect.closed_at_last().await;
    assert_eq!(code, (1000, String::new()));
}

#[tokio::test]
async fn ticks_come_and_a_peer_that_shows_no_life_is_let_go() {
    let gateway = TestGateway::start_punctual(Policy::default()).await;
    let connect = Connect::cli(4, &gateway.secret, &["operator.read"]);
    let (mut client, _) = Client::connect(gateway.address, &connect).await;
    let (dead, _) = Client::connect(gateway.address, &connect).await;
    // Timers count whole milliseconds.
    const MORE: Duration = Duration::from_secs(1);
    let clock = Stopped::now();
    for _ in 0..4 {
        clock.advance(TICK_INTERVAL + MORE).await;
        let tick = client.event("tick").await;
        assert!(tick["payload"]["ts"].is_i64() && tick["seq"].is_u64());
        // Before the first answer it was pinged, and its pong came before its second call.
        client.ok("health", json!({})).await;
        client.ok("health", json!({})).await;
    }
    while client.ok("health", json!({})).await["connections"] != 1 {}
    drop(dead);
}
