//! SECURITY S69, S70, F57: peers that take places and time, and the owner who still gets in.

use std::time::{Duration, SystemTime};

use clawline_gateway::policy::Policy;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::{enter_keeping, no_change, refused_on_time_unless, refused_unless};
use crate::support::raw::{Raw, TEXT, frame};
use crate::support::{Client, Connect, TestGateway};

/// A byte comes so often.
const DRIP: Duration = Duration::from_secs(1);
/// More than any deadline before hello has seconds.
const DRIPS: usize = 25;
/// Nothing in these tests takes longer.
const DEADLINE: Duration = Duration::from_secs(60);
/// More sockets than there are places.
const CROWD: usize = 140;

/// A request for a WebSocket, without the line that ends it.
fn head(gateway: &TestGateway) -> Vec<u8> {
    let host = gateway.address;
    format!(
        "GET / HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    .into_bytes()
}

async fn dial(gateway: &TestGateway, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

/// Sends a byte a second of a paused clock, until the end of the connection or of the bytes.
async fn drip(stream: &mut TcpStream, bytes: &[u8]) {
    let mut buffer = [0; 512];
    tokio::time::pause();
    for byte in bytes {
        if stream.write_all(&[*byte]).await.is_err() {
            break;
        }
        tokio::select! {
            biased;
            // The end, or a close frame before it.
            _ = stream.read(&mut buffer) => break,
            () = sleep(DRIP) => {}
        }
    }
    tokio::time::resume();
}

/// The beginning of a message that is dripped, and its end, which comes in one piece: it is answered where
/// somebody still listens. The first byte of the answer, or of nothing.
async fn answer_to(stream: &mut TcpStream, (slow, rest): (&[u8], &[u8])) -> Option<u8> {
    drip(stream, slow).await;
    let _ = stream.write_all(rest).await;
    let mut first = [0];
    let read = timeout(DEADLINE, stream.read(&mut first)).await;
    let count = read.expect("neither an answer nor the end").unwrap_or(0);
    (count == 1).then_some(first[0])
}

#[tokio::test]
async fn f57_a_head_of_a_byte_a_second_has_ten_seconds() {
    refused_on_time_unless(
        |policy| policy.deadlines = false,
        async |gateway| {
            let mut bytes = head(gateway);
            bytes.extend(b"X: ");
            let mut stream = dial(gateway, &bytes).await;
            // Accepted after it, and so a proof that its time runs before the clock does.
            let _later = Client::open(gateway.address).await;
            let slow = [b'y'; DRIPS];
            match answer_to(&mut stream, (&slow[..], b"\r\n\r\n")).await {
                Some(b'H') => Ok(json!("answered")),
                other => Err(json!(other)),
            }
        },
    )
    .await;
}

#[tokio::test]
async fn f57_a_first_frame_of_a_byte_a_second_has_ten_seconds() {
    refused_on_time_unless(
        |policy| policy.deadlines = false,
        async |gateway| {
            let mut bytes = head(gateway);
            bytes.extend(b"\r\n");
            let mut stream = dial(gateway, &bytes).await;
            let mut seen: Vec<u8> = Vec::new();
            // The challenge.
            while !seen.ends_with(b"}}") {
                seen.push(stream.read_u8().await.unwrap());
            }
            let frame = frame(TEXT, br#"{"type":"req","id":"1","method":"health"}"#);
            match answer_to(&mut stream, frame.split_at(DRIPS)).await {
                // It is told that something else comes first.
                Some(TEXT) => Ok(json!("answered")),
                other => Err(json!(other)),
            }
        },
    )
    .await;
}

#[tokio::test]
async fn f57_five_hundred_slow_writers_keep_the_owner_out_for_no_moment() {
    // Both ends of all these are in this process.
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if soft < hard.min(8192) {
        setrlimit(Resource::RLIMIT_NOFILE, hard.min(8192), hard).unwrap();
    }
    let gateway = TestGateway::start().await;
    let mut slow = Vec::new();
    for number in 0..500 {
        let mut bytes = head(&gateway);
        match number % 3 {
            0 => bytes.truncate(1),
            1 => bytes.extend(b"X: "),
            _ => bytes.extend(b"\r\n\x81"),
        }
        slow.push(dial(&gateway, &bytes).await);
        if number % 100 == 99 {
            let owner = Connect::cli(4, &gateway.secret, &["operator.read"]);
            let (mut owner, _) = enter_keeping(&gateway, &[], &owner).await.unwrap();
            owner.ok("health", json!({})).await;
        }
    }
}

#[tokio::test]
async fn s69_more_silent_sockets_than_there_are_places_cost_the_oldest_its_own() {
    refused_unless(
        |policy| policy.places = false,
        no_change,
        async |gateway| {
            let mut first = dial(gateway, b"").await;
            let mut crowd = Vec::new();
            for _ in 0..CROWD {
                crowd.push(dial(gateway, b"").await);
            }
            // They were all accepted before this one, which is answered in any case.
            let owner = Connect::cli(4, &gateway.secret, &["operator.read"]);
            let (mut owner, _) = enter_keeping(gateway, &[], &owner).await.unwrap();
            owner.ok("health", json!({})).await;
            let host = gateway.address;
            let probe = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let _ = first.write_all(probe.as_bytes()).await;
            let mut answer = Vec::new();
            let _ = first.read_to_end(&mut answer).await;
            match answer.is_empty() {
                true => Err(json!("closed")),
                false => Ok(json!(String::from_utf8_lossy(&answer))),
            }
        },
    )
    .await;
}

/// That it answers at once is in `bad_http`; here, that one which waits would be seen.
#[tokio::test]
async fn s70_b34_it_is_the_head_that_is_answered() {
    let policy = Policy::leaving_out(|policy| policy.body_unread = false);
    let waiting = TestGateway::start_under(policy, no_change).await;
    let host = waiting.address;
    let post =
        format!("POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\n\r\n");
    let mut stream = dial(&waiting, post.as_bytes()).await;
    let mut answer = [0; 12];
    let early = timeout(Duration::from_millis(300), stream.read(&mut answer)).await;
    assert!(early.is_err(), "it waits for the body");
    stream.write_all(b"12345").await.unwrap();
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 404");
}

#[tokio::test]
async fn f53_who_may_do_nothing_is_read_no_long_message() {
    let refusal = refused_unless(
        |policy| policy.long_words = false,
        no_change,
        async |gateway| {
            let mut raw =
                Raw::greeted(gateway.address, &Connect::cli(4, &gateway.secret, &[])).await;
            let ping =
                json!({"type": "req", "id": "1", "method": "health", "pad": "x".repeat(100_000)});
            raw.text(&ping.to_string()).await;
            match raw.close_or_answer("1").await {
                (0, answer) => Ok(json!(answer)),
                (code, reason) => Err(json!([code, reason])),
            }
        },
    )
    .await;
    assert_eq!(refusal, json!([1009, ""]));
}

#[tokio::test]
async fn f58_who_may_do_nothing_takes_few_places_and_the_oldest_goes() {
    let refusal = refused_unless(
        |policy| policy.few_guests = false,
        no_change,
        async |gateway| {
            let guest = Connect::cli(4, &gateway.secret, &[]);
            let mut first = Raw::greeted(gateway.address, &guest).await;
            // Its age is told apart from that of others by whole milliseconds.
            let greeted = SystemTime::now();
            while greeted.elapsed().unwrap_or_default() < Duration::from_millis(2) {
                tokio::task::yield_now().await;
            }
            let mut others = Vec::new();
            for _ in 0..64 {
                others.push(Raw::greeted(gateway.address, &guest).await);
            }
            let ask = json!({"type": "req", "id": "1", "method": "health"}).to_string();
            // It may answer once more before it knows.
            for _ in 0..50 {
                first.text(&ask).await;
                let (code, reason) = first.close_or_answer("1").await;
                if code != 0 {
                    return Err(json!([code, reason]));
                }
            }
            let last = others.last_mut().unwrap();
            last.text(&ask).await;
            Ok(json!(last.close_or_answer("1").await))
        },
    )
    .await;
    assert_eq!(
        refusal,
        json!([1013, "too many connections without scopes"])
    );
}
