//! Pages cost the same with a thousand sessions and with a hundred thousand. Run by hand, because filling
//! takes a while: `cargo test --release -p clawline-gateway --test it -- --ignored pages --nocapture`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Client, Connect, Device, TestGateway};

const ALL: &[&str] = &["operator.admin", "operator.read", "operator.write"];
/// Calls of each kind that are timed.
const CALLS: usize = 40;
/// A page of the large store may take this much longer than one of the small store.
const FACTOR: f64 = 3.0;
/// Times below this are not compared: they are the wire's.
const FLOOR: Duration = Duration::from_millis(4);

/// Fills a stopped gateway's store: half of the messages stand in one long session. What is rare is found as often in the
/// small store as in the large one, so that the answers are equally long.
async fn fill(gateway: &TestGateway, sessions: i64, messages: i64) {
    let path = gateway.settings.state_dir.join("gateway.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(path)
        .synchronous(sqlx::sqlite::SqliteSynchronous::Off);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    let rest = messages / 2 / sessions;
    for (statement, numbers) in [
        (SESSIONS, [sessions, messages / 2, rest]),
        (TRANSCRIPTS, [0, 0, 0]),
        (MESSAGES, [1, 1, messages / 2]),
        (MESSAGES, [2, sessions, rest]),
        (WORDS, [0, 0, 0]),
    ] {
        let mut query = sqlx::query(statement);
        for number in numbers {
            query = query.bind(number);
        }
        query.execute(&pool).await.unwrap();
    }
    pool.close().await;
}

/// How many sessions, and how many messages the first one and each other one has.
const SESSIONS: &str = "WITH RECURSIVE count (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM count WHERE i < $1) \
     INSERT INTO sessions (key, session_id, agent_id, revision, label, created_at, \
     updated_at, settings, title, preview, message_count, n) \
     SELECT 'agent:main:s' || i, 'id-' || i, 'main', 1, NULL, i, 1700000000000 + i * 1000, \
     '{}', 'talk number ' || i || CASE WHEN i = 997 THEN ' of zebras' ELSE '' END, \
     'the end of ' || i, CASE WHEN i = 1 THEN $2 ELSE $3 END, i FROM count";
const TRANSCRIPTS: &str = "INSERT INTO transcripts (session_id, session_key, created_at, last_seq) \
     SELECT session_id, key, created_at, message_count FROM sessions WHERE $1 + $2 + $3 = 0";
/// The first session and the last one, and how many messages each of them has.
const MESSAGES: &str = "WITH RECURSIVE count (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM count WHERE i < $3) \
     INSERT INTO messages (id, session_id, seq, role, content, timestamp, n) \
     SELECT session_id || '-' || i, session_id, i, \
     CASE i % 2 WHEN 1 THEN 'user' ELSE 'assistant' END, \
     json_array(json_object('type', 'text', 'text', 'common words and word' || (i % 1000) \
     || ' in message ' || i || ' of ' || session_id \
     || CASE WHEN i = 4 AND sessions.n IN (1, 992) THEN ' quagga' ELSE '' END)), \
     1700000000000 + i, \
     (SELECT COALESCE(MAX(n), 0) FROM messages) + ROW_NUMBER() OVER () \
     FROM sessions CROSS JOIN count WHERE sessions.n BETWEEN $1 AND $2";
const WORDS: &str = "INSERT INTO message_words (rowid, text) \
     SELECT n, json_extract(content, '$[0].text') FROM messages WHERE $1 + $2 + $3 = 0";

async fn time(client: &mut Client, method: &str, params: &Value) -> Duration {
    let mut times = Vec::new();
    for _ in 0..CALLS {
        let begun = Instant::now();
        client.ok(method, params.clone()).await;
        times.push(begun.elapsed());
    }
    times.sort();
    times[CALLS / 2]
}

fn calls() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        (
            "first page",
            "sessions.list",
            json!({"limit": 50, "includeLastMessage": true}),
        ),
        (
            "active ones, as the TUI asks",
            "sessions.list",
            json!({"limit": 50, "activeMinutes": 10_000_000, "agentId": "main"}),
        ),
        (
            "page at 900",
            "sessions.list",
            json!({"limit": 50, "offset": 900}),
        ),
        (
            "search, rare",
            "sessions.list",
            json!({"limit": 50, "search": "zebra"}),
        ),
        (
            "search, frequent",
            "sessions.list",
            json!({"limit": 50, "search": "talk"}),
        ),
        (
            "search, two letters",
            "sessions.list",
            json!({"limit": 50, "search": "um"}),
        ),
        (
            "last 200",
            "chat.history",
            json!({"sessionKey": "s1", "limit": 200}),
        ),
        (
            "200 far back",
            "chat.history",
            json!({"sessionKey": "s1", "limit": 200, "offset": 4000}),
        ),
        (
            "of a small session",
            "chat.history",
            json!({"sessionKey": "s9", "limit": 200}),
        ),
        ("rare word", "sessions.search", json!({"query": "quagga"})),
        (
            "frequent words",
            "sessions.search",
            json!({"query": "common words"}),
        ),
        ("one row", "sessions.describe", json!({"key": "s77"})),
    ]
}

#[tokio::test]
#[ignore = "fills a million messages"]
async fn pages_are_flat_from_a_thousand_sessions_to_a_hundred_thousand() {
    let mut columns = Vec::new();
    for (sessions, messages) in [(1_000, 10_000), (100_000, 1_000_000)] {
        let gateway = TestGateway::start().await.pause().await;
        let begun = Instant::now();
        fill(&gateway, sessions, messages).await;
        println!(
            "{sessions} sessions, {messages} messages: filled in {:.1?}",
            begun.elapsed()
        );
        let gateway = gateway.resume().await;
        let connect = Connect::cli(4, &gateway.secret, ALL).with_device(Device::new(1));
        let mut client = Client::connect(gateway.address, &connect).await.0;
        let mut column = Vec::new();
        for (_, method, params) in calls() {
            column.push(time(&mut client, method, &params).await);
        }
        columns.push(column);
    }
    let mut late = Vec::new();
    for (at, (name, method, _)) in calls().into_iter().enumerate() {
        let (small, large) = (columns[0][at], columns[1][at]);
        println!("figure {method} ({name}): {small:.2?} of 1,000 sessions, {large:.2?} of 100,000");
        if large > FLOOR && large.as_secs_f64() > small.as_secs_f64() * FACTOR {
            late.push(name);
        }
    }
    assert!(late.is_empty(), "not flat: {late:?}");
}
