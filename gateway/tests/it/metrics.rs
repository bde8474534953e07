//! The probes and the page for Prometheus: who is told how much.

use std::net::SocketAddr;

use clawline_gateway::policy::Policy;
use clawline_gateway::settings::{GatewaySettings, IpRange};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Client, Connect, TestGateway};

/// Status and body of one GET.
pub async fn get(address: SocketAddr, path: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

fn value(page: &str, name: &str) -> f64 {
    let line = page
        .lines()
        .find(|line| line.starts_with(&format!("clawline_gateway_{name} ")));
    let line = line.unwrap_or_else(|| panic!("{name} in {page}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn the_page_is_for_who_shows_the_secret_and_counts_what_happens() {
    let gateway = TestGateway::start().await;
    let bearer = format!("Authorization: Bearer {}\r\n", gateway.secret);
    let connect = Connect::cli(4, &gateway.secret, &["operator.admin"]);
    let (mut client, _) = Client::connect(gateway.address, &connect).await;
    Client::refused(gateway.address, &Connect::cli(4, "wrong", &[])).await;
    let send = json!({"sessionKey": "main", "message": "hi", "idempotencyKey": "one"});
    client.ok("chat.send", send).await;
    client
        .until(|frame| frame["payload"]["state"] == "final")
        .await;

    let (status, page) = get(gateway.address, "/metrics", &bearer).await;
    assert_eq!(status, 200, "{page}");
    assert!(
        page.contains("content-type: text/plain; version=0.0.4"),
        "{page}"
    );
    assert_eq!(value(&page, "connections"), 1.0);
    assert_eq!(value(&page, "sessions"), 1.0);
    assert_eq!(value(&page, "messages_total"), 2.0);
    assert!(value(&page, "events_sent_total") >= 2.0);
    assert!(value(&page, "resident_memory_bytes") > 1e6);
    assert!(value(&page, "open_fds") > 3.0);
    assert!(value(&page, "store_read_seconds") > 0.0);
    assert!(page.contains("runs_total{result=\"done\"} 1"), "{page}");
    let failed = "auth_failures_total{kind=\"AUTH_TOKEN_MISMATCH\"} 1";
    assert!(page.contains(failed), "{page}");
    assert!(!page.contains(&gateway.secret) && !page.contains("main"));
}

#[tokio::test]
async fn without_the_secret_there_is_no_page_and_guessing_it_locks() {
    let gateway = TestGateway::start_with(|settings| settings.rate_limit.max_attempts = 3).await;
    gateway.peers.become_user(4001);
    assert_eq!(get(gateway.address, "/metrics", "").await.0, 401);
    let in_query = format!("/metrics?token={}", gateway.secret);
    assert_eq!(get(gateway.address, &in_query, "").await.0, 401);
    for _ in 0..3 {
        let (status, _) = get(
            gateway.address,
            "/metrics",
            "Authorization: Bearer guess\r\n",
        )
        .await;
        assert_eq!(status, 401);
    }
    let bearer = format!("Authorization: Bearer {}\r\n", gateway.secret);
    let (status, answer) = get(gateway.address, "/metrics", &bearer).await;
    assert_eq!(status, 429, "{answer}");
    assert!(answer.contains("retry-after: "), "{answer}");
    // The owner is not kept out by what others guess.
    gateway.peers.become_user(crate::support::OWN_UID);
    assert_eq!(get(gateway.address, "/metrics", &bearer).await.0, 200);
    // The guards of all routes hold here, too.
    let forwarded = format!("{bearer}X-Forwarded-For: 10.0.0.1\r\n");
    assert_eq!(get(gateway.address, "/metrics", &forwarded).await.0, 403);
    let page = format!("{bearer}Origin: https://evil.example\r\n");
    assert_eq!(get(gateway.address, "/metrics", &page).await.0, 403);
}

#[tokio::test]
async fn probes_tell_details_to_this_machine_alone() {
    let gateway = TestGateway::start_with(|settings| {
        settings.trusted_proxies = vec![IpRange::parse("127.0.0.1").unwrap()];
    })
    .await;
    let body = |answer: &str| -> Value {
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    };
    let (status, answer) = get(gateway.address, "/readyz", "").await;
    assert_eq!((status, &body(&answer)["failing"]), (200, &json!([])));
    let (_, answer) = get(gateway.address, "/startup", "").await;
    assert_eq!(body(&answer)["status"], "started");
    assert!(body(&answer)["version"].is_string());
    let elsewhere = "X-Forwarded-For: 203.0.113.9\r\n";
    let (_, answer) = get(gateway.address, "/readyz", elsewhere).await;
    assert_eq!(body(&answer), json!({"ready": true}));
    let (_, answer) = get(gateway.address, "/startup", elsewhere).await;
    assert_eq!(body(&answer), json!({"ok": true, "status": "started"}));
    let known = format!("{elsewhere}Authorization: Bearer {}\r\n", gateway.secret);
    let (_, answer) = get(gateway.address, "/readyz", &known).await;
    assert!(body(&answer)["uptimeMs"].is_u64(), "{answer}");
}

#[tokio::test]
async fn many_callers_together_guess_no_faster_than_one() {
    let gateway = TestGateway::start().await;
    let mut told = Vec::new();
    // Twenty, and one more each second that they take.
    for user in 0..2000 {
        gateway.peers.become_user(5000 + user);
        let guess = "Authorization: Bearer guess\r\n";
        told.push(get(gateway.address, "/metrics", guess).await.0);
        if told.last() == Some(&429) {
            break;
        }
    }
    assert_eq!(told[..20], [401; 20]);
    assert!(told.contains(&429), "{told:?}");
}

/// A bearer that is wrong too often is told when to come back, wherever one is looked at (B34); what
/// asks for none is answered as before.
#[tokio::test]
async fn a_probe_with_wrong_bearers_is_told_when_to_come_back() {
    for path in ["/readyz", "/startup", "/metrics"] {
        let behind_proxy = |settings: &mut GatewaySettings| {
            settings.trusted_proxies = vec![IpRange::parse("127.0.0.1").unwrap()];
        };
        let elsewhere = "X-Forwarded-For: 203.0.113.9\r\n";
        let guess = format!("{elsewhere}Authorization: Bearer guess\r\n");
        let twenty_five = async |gateway: &TestGateway| {
            let mut told = Vec::new();
            for _ in 0..25 {
                told.push(get(gateway.address, path, &guess).await);
            }
            told
        };
        let gateway = TestGateway::start_with(behind_proxy).await;
        let told = twenty_five(&gateway).await;
        let (status, answer) = &told[24];
        assert_eq!(*status, 429, "{path}: {answer}");
        let wait = answer
            .lines()
            .find_map(|line| line.strip_prefix("retry-after: "));
        let wait: u64 = wait.unwrap().parse().unwrap();
        assert!((1..=301).contains(&wait), "{wait}");
        assert!(told[..10].iter().all(|(status, _)| *status != 429));
        assert_eq!(get(gateway.address, "/healthz", elsewhere).await.0, 200);
        if path != "/metrics" {
            assert_eq!(get(gateway.address, path, elsewhere).await.0, 200);
        }
        let open = Policy::leaving_out(|policy| {
            policy.lockout = false;
            policy.guess_budget = false;
        });
        let open = TestGateway::start_under(open, behind_proxy).await;
        let told = twenty_five(&open).await;
        assert!(told.iter().all(|(status, _)| *status != 429), "{path}");
    }
}
