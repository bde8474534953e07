//! Stores of every released schema open and keep their data; a later one is refused; half a migration
//! is none.

use std::path::{Path, PathBuf};

use clawline_gateway::sessions::{SessionKey, Span};
use clawline_gateway::store::{self, Store, StoreError};
use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::support::program::{DEADLINE, program};

/// What each released schema wrote.
const RELEASED: [(i64, &str); 1] = [(1, include_str!("../data/schema-1.sql"))];

async fn open(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        // A dump tells rows in the order of the tables' names.
        .foreign_keys(false)
        .connect()
        .await
        .unwrap()
}

async fn run(path: &Path, sql: &'static str) {
    let mut connection = open(path).await;
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    sqlx::Connection::close(connection).await.unwrap();
}

/// A database as that release left it.
async fn released(dir: &Path, sql: &'static str) -> PathBuf {
    let path = dir.join("gateway.db");
    run(&path, sql).await;
    path
}

#[tokio::test]
async fn every_released_schema_opens_with_its_conversations_runs_and_devices() {
    for (schema, sql) in RELEASED {
        let dir = tempfile::tempdir().unwrap();
        let path = released(dir.path(), sql).await;
        let before = store::inspect(&path).await.unwrap();
        assert_eq!((before.schema, before.damage), (schema, None));
        let store = Store::open(&path).await.unwrap();
        assert!(store.was_stopped_cleanly());
        assert_eq!(
            store.gateway_secret().expose(),
            "a-secret-of-the-fixture-of-schema-one-000000"
        );
        let key = SessionKey::parse("agent:main:main").unwrap();
        let session = store.sessions().get(&key).await.unwrap().unwrap();
        let messages = store.sessions();
        let (messages, _) = messages
            .messages(&session.session_id, Span::Last, 10)
            .await
            .unwrap();
        assert_eq!(messages.len(), 2);
        assert_eq!(store.devices().list().await.unwrap().len(), 1);
        store.close().await;
        let after = store::inspect(&path).await.unwrap();
        assert_eq!((after.schema, after.damage), (after.known, None));
        // Once more: nothing is left to be done.
        Store::open(&path).await.unwrap().close().await;
    }
}

#[tokio::test]
async fn systemd_is_asked_for_time_while_a_store_is_migrated_and_only_then() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join(".local/state/clawline-gateway");
    clawline::owner_file::create_dir(&state).unwrap();
    released(&state, RELEASED[0].1).await;
    for is_old in [true, false] {
        let socket = home.path().join(format!("notify-{is_old}"));
        let systemd = tokio::net::UnixDatagram::bind(&socket).unwrap();
        let mut command = program(home.path(), &["run", "--port", "0"]);
        let mut daemon = command.env("NOTIFY_SOCKET", &socket).spawn().unwrap();
        let mut told = Vec::new();
        let ready = async {
            let mut word = [0; 256];
            loop {
                let length = systemd.recv(&mut word).await.unwrap();
                let word = String::from_utf8_lossy(&word[..length]).into_owned();
                if word.starts_with("READY=1") {
                    return;
                }
                told.push(word);
            }
        };
        tokio::time::timeout(DEADLINE, ready).await.unwrap();
        let is_asked = told
            .iter()
            .any(|word| word.starts_with("EXTEND_TIMEOUT_USEC=60000000\n"));
        assert_eq!(is_asked, is_old, "{told:?}");
        let pid = i32::try_from(daemon.id().unwrap()).unwrap();
        let pid = nix::unistd::Pid::from_raw(pid);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        let ended = tokio::time::timeout(DEADLINE, daemon.wait()).await;
        assert!(ended.unwrap().unwrap().success());
    }
}

#[tokio::test]
async fn a_later_schema_is_refused_in_words_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = released(dir.path(), RELEASED[0].1).await;
    run(
        &path,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9000, 'later', TRUE, x'00', 0)",
    )
    .await;
    let before = std::fs::read(&path).unwrap();
    let refused = Store::open(&path).await.err().unwrap();
    assert!(
        matches!(refused, StoreError::Newer { found: 9000, .. }),
        "{refused}"
    );
    assert!(
        refused.to_string().contains("run that version"),
        "{refused}"
    );
    assert_eq!(std::fs::read(&path).unwrap().len(), before.len());
}

#[tokio::test]
async fn a_migration_that_fails_half_way_changes_nothing_and_the_next_start_tries_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = released(dir.path(), RELEASED[0].1).await;
    // The second of the two tables of migration 3 is there already, as an incompatible view.
    let mut connection = open(&path).await;
    let tables = async |connection: &mut SqliteConnection| -> Vec<String> {
        sqlx::query_scalar(
            "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name",
        )
        .fetch_all(connection)
        .await
        .unwrap()
    };
    let block = "CREATE VIEW node_requests AS SELECT 1 AS x";
    sqlx::raw_sql(block).execute(&mut connection).await.unwrap();
    let blocked = tables(&mut connection).await;
    let refused = Store::open(&path).await.err();
    assert!(refused.is_some());
    assert_eq!(tables(&mut connection).await, blocked, "rolled back");
    let unblock = "DROP VIEW node_requests";
    sqlx::raw_sql(unblock)
        .execute(&mut connection)
        .await
        .unwrap();
    sqlx::Connection::close(connection).await.unwrap();
    let store = Store::open(&path).await.unwrap();
    let key = SessionKey::parse("agent:main:main").unwrap();
    assert!(store.sessions().get(&key).await.unwrap().is_some());
    store.close().await;
}
