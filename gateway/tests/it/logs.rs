//! What strangers can put into the log, and how it is followed.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::program::Daemon;
use crate::support::{Client, Connect};

#[tokio::test]
async fn strangers_cannot_forge_lines_or_drown_the_log() {
    let home = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(home.path()).await;
    let mut forged = Connect::cli(4, "wrong", &[]);
    forged = forged.set(
        "/client/version",
        json!(format!("1\u{1b}[2J\r\n[INFO] ok{}", "x".repeat(9000))),
    );
    Client::refused(daemon.address(), &forged).await;
    let mut stream = TcpStream::connect(daemon.address()).await.unwrap();
    let head = format!(
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://{}\r\nUser-Agent: a\x1b[2J\r\n\r\n",
        "o".repeat(12_000)
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let log = daemon.logs("connect refused").await;
    for line in log.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        assert!(event["timestamp"].is_string(), "{line}");
        let longest = event.as_object().unwrap().values();
        let longest = longest
            .filter_map(Value::as_str)
            .map(|text| text.chars().count());
        assert!(longest.max().unwrap() <= 257, "{line}");
        assert!(!line.contains('\u{1b}'), "{line}");
    }
}

#[tokio::test]
async fn a_run_that_fails_is_in_the_log_with_its_session_and_once() {
    let home = tempfile::tempdir().unwrap();
    // Nobody listens on port 1.
    let config = "{models: {default: 'p/m', providers: {p: {kind: 'openai',
        baseUrl: 'http://127.0.0.1:1/v1', apiKey: 'key-of-this-test', models: ['m']}}}}";
    Daemon::configure(home.path(), config);
    let daemon = Daemon::start(home.path()).await;
    let connect = Connect::cli(4, &daemon.token(), &["operator.read", "operator.write"]);
    let (mut client, _) = Client::connect(daemon.address(), &connect).await;
    let message = json!({"sessionKey": "main", "message": "hello", "idempotencyKey": "r-1"});
    client.ok("chat.send", message).await;
    let log = daemon.logs("the run failed").await;
    let is_trouble = |line: &Value| {
        // A slow machine is told of by the database.
        let is_ours = line["target"].as_str().unwrap().starts_with("clawline");
        is_ours && (line["level"] == "WARN" || line["level"] == "ERROR")
    };
    let lines = log.lines().map(|line| serde_json::from_str(line).unwrap());
    let told: Vec<Value> = lines.filter(is_trouble).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["run"], "r-1");
    assert_eq!(told[0]["session"], "agent:main:main");
    assert!(told[0]["error"].as_str().unwrap().starts_with("p/m: "));
    assert!(!log.contains("key-of-this-test"));
}

#[tokio::test]
async fn a_follower_sees_every_line_once_while_files_turn_over() {
    let home = tempfile::tempdir().unwrap();
    Daemon::configure(
        home.path(),
        "{logging: {level: 'trace', maxFileBytes: 65536, maxFiles: 4}}",
    );
    let daemon = Daemon::start(home.path()).await;
    let connect = Connect::cli(4, &daemon.token(), &["operator.admin"]);
    let (mut client, _) = Client::connect(daemon.address(), &connect).await;
    let aside = home
        .path()
        .join(".local/state/clawline-gateway/logs/gateway.jsonl.1");
    let mut follower = Follower::default();
    while !aside.exists() || follower.seen.len() < 100 {
        follower.look(&mut client).await;
        Client::refused(daemon.address(), &Connect::cli(4, "wrong", &[])).await;
    }
    // Another file may have been put aside since the last look: what is in it is seen at the next ones.
    let written: Vec<String> = std::fs::read_to_string(&aside)
        .unwrap()
        .lines()
        .map(|line| member(line, "timestamp"))
        .collect();
    for _ in 0..MOST_LOOKS {
        if follower.seen.contains(written.last().unwrap()) {
            break;
        }
        follower.look(&mut client).await;
    }
    // Records are told in the form of official clients; their times stay, and two may have the same one.
    let mut seen = follower.seen.windows(written.len());
    assert!(seen.any(|seen| seen == written), "{written:?}");
}

fn member(line: &str, name: &str) -> String {
    let record: Value = serde_json::from_str(line).unwrap();
    record[name].as_str().unwrap().to_owned()
}

/// Looks that must be enough to read four files of 64 KiB.
const MOST_LOOKS: usize = 50;

/// Somebody who reads the log as `logs --follow` does.
#[derive(Default)]
struct Follower {
    cursor: Value,
    /// The times of the records.
    seen: Vec<String>,
}

impl Follower {
    async fn look(&mut self, client: &mut Client) {
        let mut params = json!({"limit": 5000, "maxBytes": 1_000_000});
        if !self.cursor.is_null() {
            params["cursor"] = self.cursor.clone();
        }
        let tail = client.ok("logs.tail", params).await;
        assert_ne!(tail["reset"], true, "{tail}");
        self.cursor = tail["cursor"].clone();
        let lines = tail["lines"].as_array().unwrap().clone();
        self.seen.extend(
            lines
                .iter()
                .map(|line| member(line.as_str().unwrap(), "time")),
        );
    }
}
