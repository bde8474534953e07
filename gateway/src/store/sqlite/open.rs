//! Opening and closing: options, migrations, and what an unclean stop asks for.

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clawline::secret::Secret;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Row, SqlSafeStr, SqliteConnection, SqlitePool};
use tokio::sync::watch;

use super::{Db, StoreError, StoreHealth, Trouble, files, words};

/// How long one writer waits for another process, such as a backup.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a caller waits for a connection of ours.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// Reading connections that nobody uses are given back after this time, all but one.
const READER_IDLE: Duration = Duration::from_secs(30);
/// One is always there, so that reading needs no new descriptor.
const MIN_READERS: u32 = 1;
const MAX_READERS: u32 = 3;
/// The check of the whole file waits so long before it asks for a connection again.
const CHECK_RETRY: Duration = Duration::from_secs(1);
/// Page cache of one connection in KiB; small, because the kernel caches the file anyway.
const CACHE_KIB: i64 = 512;
/// The write-ahead log is cut back to this size after a checkpoint.
const LOG_BYTES: i64 = 8 << 20;
/// Prepared statements kept by each connection.
const STATEMENTS: usize = 48;
const SECRET_BYTES: usize = 32;

const CLEAN: &str = "clean_shutdown";
/// The name of the secret from which device tokens are derived, in `meta`.
pub(super) const SECRET: &str = "gateway_secret";

impl Db {
    /// Opens, migrates, and says whether the last stop was clean.
    pub(in crate::store) async fn open(path: &Path) -> Result<(Self, bool), StoreError> {
        let is_new = files::prepare(path)?;
        let named = |error: sqlx::Error| open_error(path, error);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_with(options(path))
            .await
            .map_err(named)?;
        // The steps of a migration need their order, but not each a disk that has written: the
        // commit of `start` syncs the log with all of them in it.
        sync_commits(&writer, false).await.map_err(named)?;
        migrator()
            .run(&writer)
            .await
            .map_err(|error| migrate_error(path, error))?;
        sync_commits(&writer, true).await.map_err(named)?;
        let (secret, was_clean) = start(&writer).await.map_err(named)?;
        let is_sound = is_new || was_clean;
        let readers = SqlitePoolOptions::new()
            .max_connections(MAX_READERS)
            .min_connections(MIN_READERS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .idle_timeout(READER_IDLE)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_with(options(path).read_only(true))
            .await
            .map_err(named)?;
        let db = Self {
            path: path.to_owned(),
            writer,
            readers,
            health: watch::Sender::new(if is_sound {
                StoreHealth::Ok
            } else {
                StoreHealth::Checking
            }),
            full_at: Mutex::new(None),
            unopened_since: Mutex::new(None),
            secret,
        };
        Ok((db, is_sound))
    }

    /// Reads the whole file and turns the store read-only when something is wrong in it.
    pub(in crate::store) async fn check(&self) {
        let checked = loop {
            let check = sqlx::query_scalar::<_, String>("PRAGMA quick_check(1)");
            let checked = check.fetch_one(&self.readers).await;
            let is_passing =
                |error| matches!(Trouble::of(error), Trouble::Busy | Trouble::NotOpened);
            match &checked {
                Err(error) if is_passing(error) => tokio::time::sleep(CHECK_RETRY).await,
                _ => break checked,
            }
        };
        match checked {
            Ok(verdict) if verdict == "ok" => {
                self.health.send_if_modified(|health| {
                    let ends = *health == StoreHealth::Checking;
                    if ends {
                        *health = StoreHealth::Ok;
                    }
                    ends
                });
            }
            Ok(verdict) => self
                .turn_read_only_for_good(format!("{} is damaged: {verdict}", self.path.display())),
            Err(error) => {
                let detail = words(&error);
                let _ = self.noted(error.into());
                self.turn_read_only_for_good(format!(
                    "{} cannot be checked: {detail}",
                    self.path.display()
                ));
            }
        }
    }

    /// Closes the file, and notes a clean stop where nothing is left to be checked.
    pub(in crate::store) async fn close(&self, is_checked: bool) {
        if is_checked
            && self.health.borrow().is_writable()
            && let Err(error) = set_meta(&self.writer, CLEAN, "1").await
        {
            tracing::warn!(%error, "the clean stop could not be noted");
        }
        self.readers.close().await;
        self.writer.close().await;
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .statement_cache_capacity(STATEMENTS)
        .thread_name(|id| format!("store-{id}"))
        .pragma("cache_size", (-CACHE_KIB).to_string())
        .pragma("journal_size_limit", LOG_BYTES.to_string())
        .pragma("temp_store", "MEMORY")
        // Only macOS knows a difference: its fsync does not reach the disk.
        .pragma("fullfsync", "ON")
        .pragma("checkpoint_fullfsync", "ON")
}

/// Whether each commit waits for the disk.
async fn sync_commits(writer: &SqlitePool, on: bool) -> Result<(), sqlx::Error> {
    let text = if on {
        "PRAGMA synchronous = FULL"
    } else {
        "PRAGMA synchronous = NORMAL"
    };
    sqlx::query(text).execute(writer).await?;
    Ok(())
}

fn migrations() -> Vec<Migration> {
    let steps = [
        ("start", include_str!("../../../migrations/0001_start.sql")),
        (
            "asides",
            include_str!("../../../migrations/0002_asides.sql"),
        ),
        ("nodes", include_str!("../../../migrations/0003_nodes.sql")),
        (
            "exec approvals",
            include_str!("../../../migrations/0004_exec_approvals.sql"),
        ),
        (
            "search",
            include_str!("../../../migrations/0005_search.sql"),
        ),
        (
            "setup codes",
            include_str!("../../../migrations/0006_setup_codes.sql"),
        ),
        ("usage", include_str!("../../../migrations/0007_usage.sql")),
        (
            "approvals by state",
            include_str!("../../../migrations/0008_exec_approvals_by_state.sql"),
        ),
    ];
    (1..)
        .zip(steps)
        .map(|(version, (name, sql))| {
            let sql = sql.into_sql_str();
            Migration::new(version, name.into(), MigrationType::Simple, sql, false)
        })
        .collect()
}

/// The newest schema that this program knows.
pub(super) fn known_schema() -> i64 {
    migrations().last().map_or(0, |last| last.version)
}

fn migrator() -> Migrator {
    Migrator::with_migrations(migrations())
}

/// Marks the store as in use and returns the gateway's secret, made on the first start.
async fn start(writer: &SqlitePool) -> Result<(Secret, bool), sqlx::Error> {
    let mut tx = writer.begin_with("BEGIN IMMEDIATE").await?;
    let was_clean = get_meta(&mut tx, CLEAN).await?.as_deref() == Some("1");
    let secret = match get_meta(&mut tx, SECRET).await? {
        Some(secret) => Secret::new(secret),
        None => {
            let fresh = URL_SAFE_NO_PAD.encode(rand::random::<[u8; SECRET_BYTES]>());
            set_meta(&mut *tx, SECRET, &fresh).await?;
            Secret::new(fresh)
        }
    };
    set_meta(&mut *tx, CLEAN, "0").await?;
    tx.commit().await?;
    Ok((secret, was_clean))
}

async fn get_meta(
    connection: &mut SqliteConnection,
    name: &str,
) -> Result<Option<String>, sqlx::Error> {
    let row = sqlx::query("SELECT value FROM meta WHERE name = $1")
        .bind(name)
        .fetch_optional(connection)
        .await?;
    row.map(|row| row.try_get("value")).transpose()
}

async fn set_meta<'c>(
    executor: impl sqlx::SqliteExecutor<'c>,
    name: &str,
    value: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO meta (name, value) VALUES ($1, $2) \
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )
    .bind(name)
    .bind(value)
    .execute(executor)
    .await?;
    Ok(())
}

pub(super) fn open_error(path: &Path, error: sqlx::Error) -> StoreError {
    let path = path.to_owned();
    let detail = words(&error);
    match Trouble::of(&error) {
        Trouble::Damaged => StoreError::Corrupt { path, detail },
        _ => StoreError::Open { path, detail },
    }
}

fn migrate_error(path: &Path, error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            open_error(path, error)
        }
        MigrateError::VersionMissing(found) => StoreError::Newer {
            path: path.to_owned(),
            found,
            known: known_schema(),
        },
        error => StoreError::Open {
            path: path.to_owned(),
            detail: error.to_string(),
        },
    }
}
