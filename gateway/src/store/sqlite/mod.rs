//! The SQLite behind the traits: one writing connection, a few reading ones.

mod approvals;
mod backup;
mod commands;
mod devices;
mod files;
mod nodes;
mod open;
mod pages;
mod pairing;
mod restore;
mod rows;
mod runs;
mod search;
mod sessions;
mod setup_codes;
mod statement;
mod usage;

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clawline::secret::Secret;
use sqlx::{Sqlite, SqlitePool, Transaction};
use tokio::sync::watch;

use super::{StoreError, StoreHealth};

pub use backup::{Inspection, copy, inspect, is_behind};
use open::BUSY_TIMEOUT;
pub use restore::{Carried, Decisions, carry_over, decisions, forget_devices};

/// After the disk was full, one write in this time may try whether there is room again.
const FULL_DISK_RETRY: Duration = Duration::from_secs(5);

/// A writer that cannot be opened for so long is not waited for any more.
const UNOPENED_PATIENCE: Duration = Duration::from_secs(60);

/// Takes the right to write at once, so that nothing is found busy half-way.
const BEGIN: &str = "BEGIN IMMEDIATE";

type Tx = Transaction<'static, Sqlite>;

/// The open database; implements every store trait.
pub(super) struct Db {
    path: PathBuf,
    writer: SqlitePool,
    readers: SqlitePool,
    health: watch::Sender<StoreHealth>,
    /// When the disk was last found full; the one reason for read-only that can pass.
    full_at: Mutex<Option<Instant>>,
    /// Since when no try to open the writer has succeeded.
    unopened_since: Mutex<Option<Instant>>,
    secret: Secret,
}

impl Db {
    pub(super) fn health(&self) -> watch::Receiver<StoreHealth> {
        self.health.subscribe()
    }

    pub(super) fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Starts a writing transaction; refused while the store is read-only.
    async fn begin(&self) -> Result<Tx, StoreError> {
        if let StoreHealth::ReadOnly { why } = &*self.health.borrow()
            && !self.may_try_again()
        {
            return Err(match self.is_full() {
                true => StoreError::Full,
                false => StoreError::ReadOnly { why: why.clone() },
            });
        }
        let mut begun = self.writer.begin_with(BEGIN).await;
        if matches!(begun, Err(sqlx::Error::InvalidSavePointStatement)) {
            // A full disk makes the engine roll back by itself, and the driver still counts a
            // transaction in this connection. Only another one helps.
            self.renew_writer().await?;
            begun = self.writer.begin_with(BEGIN).await;
        }
        let tx = begun.map_err(|error| self.noted_in_writing(error.into()))?;
        *self.unopened() = None;
        Ok(tx)
    }

    async fn renew_writer(&self) -> Result<(), StoreError> {
        let closed = match self.writer.acquire().await {
            Ok(connection) => connection.close().await,
            Err(error) => Err(error),
        };
        closed.map_err(|error| self.noted_in_writing(error.into()))
    }

    /// Commits after a success, rolls back after a failure.
    async fn end<T>(&self, tx: Tx, result: Result<T, StoreError>) -> Result<T, StoreError> {
        let committed = match result {
            Ok(value) => tx.commit().await.map(|()| value).map_err(StoreError::from),
            Err(error) => {
                drop(tx);
                Err(error)
            }
        };
        match committed {
            Ok(value) => {
                self.disk_has_room();
                Ok(value)
            }
            Err(error) => Err(self.noted_in_writing(error)),
        }
    }

    /// As [`Self::noted`], for what the writer met. It is opened anew only when its connection was given
    /// up; once that has failed for long while there are descriptors, no later try will do better.
    fn noted_in_writing(&self, error: StoreError) -> StoreError {
        let detail = match &error {
            StoreError::Sql(inner) if Trouble::of(inner) == Trouble::NotOpened => words(inner),
            _ => return self.noted(error),
        };
        let since = *self.unopened().get_or_insert_with(Instant::now);
        if since.elapsed() < UNOPENED_PATIENCE || is_out_of_descriptors() {
            return self.noted(error);
        }
        let path = self.path.display();
        let why = format!("{path} cannot be opened ({detail}); restart after it is repaired");
        self.turn_read_only_for_good(why.clone());
        StoreError::ReadOnly { why }
    }

    fn unopened(&self) -> MutexGuard<'_, Option<Instant>> {
        let since = self.unopened_since.lock();
        since.unwrap_or_else(PoisonError::into_inner)
    }

    /// Turns a reading failure into one that names the file, and notes damage.
    fn seen<T, E: Into<StoreError>>(&self, result: Result<T, E>) -> Result<T, StoreError> {
        result.map_err(|error| self.noted(error.into()))
    }

    /// Recognises what the engine says, and turns the store read-only where nothing else is safe.
    fn noted(&self, error: StoreError) -> StoreError {
        let StoreError::Sql(inner) = error else {
            return error;
        };
        match Trouble::of(&inner) {
            Trouble::Busy => StoreError::Busy,
            // Mostly there is no descriptor left for one more connection. What is open goes on, and the
            // next call tries again.
            Trouble::NotOpened => {
                let detail = words(&inner);
                tracing::warn!(detail, "a connection to the store could not be opened");
                StoreError::Busy
            }
            Trouble::Full => {
                *self.full_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                self.turn_read_only("the disk is full".to_owned());
                StoreError::Full
            }
            // A failed flush is never tried again: the kernel may have dropped the pages.
            Trouble::Disk => {
                let detail = words(&inner);
                self.turn_read_only_for_good(format!(
                    "the disk failed a write ({detail}); restart after it is repaired"
                ));
                StoreError::Disk { detail }
            }
            Trouble::Damaged => {
                let detail = inner.to_string();
                self.turn_read_only_for_good(format!(
                    "{} is damaged: {detail}",
                    self.path.display()
                ));
                StoreError::Corrupt {
                    path: self.path.clone(),
                    detail,
                }
            }
            Trouble::Other => StoreError::Sql(inner),
        }
    }

    /// For good: nothing but a restart takes this back.
    fn turn_read_only_for_good(&self, why: String) {
        *self.full_at.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.turn_read_only(why);
    }

    fn turn_read_only(&self, why: String) {
        self.health.send_if_modified(|health| {
            if matches!(health, StoreHealth::ReadOnly { why: known } if *known == why) {
                return false;
            }
            tracing::error!(why, "the store turned read-only");
            *health = StoreHealth::ReadOnly { why };
            true
        });
    }

    /// Makes the file look as if a later version had migrated it.
    #[cfg(test)]
    pub(super) async fn pretend_newer(&self, version: i64) {
        sqlx::query(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, \
             execution_time) VALUES ($1, 'later', TRUE, x'00', 0)",
        )
        .bind(version)
        .execute(&self.writer)
        .await
        .unwrap();
    }

    /// Lets the file grow no further than a few pages, as a full disk would.
    #[cfg(test)]
    pub(super) async fn limit_size(&self, limited: bool) {
        let pages: i64 = sqlx::query_scalar("PRAGMA page_count")
            .fetch_one(&self.writer)
            .await
            .unwrap();
        let pages = if limited { pages + 3 } else { 1 << 20 };
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
            "PRAGMA max_page_count = {pages}"
        )))
        .execute(&self.writer)
        .await
        .unwrap();
    }

    /// Rolls back as the engine does by itself when a disk is full: the driver does not notice.
    #[cfg(test)]
    pub(super) async fn roll_back_unseen(&self) {
        let mut tx = self.begin().await.unwrap();
        sqlx::query("ROLLBACK").execute(&mut *tx).await.unwrap();
    }

    /// Takes the readers that are open, so that the next read has to open one.
    #[cfg(test)]
    pub(super) async fn hold_readers(&self) -> Vec<sqlx::pool::PoolConnection<Sqlite>> {
        let mut held = Vec::new();
        while self.readers.num_idle() > 0 {
            held.push(self.readers.acquire().await.unwrap());
        }
        held
    }

    /// Gives up the writer's connection, so that the next write has to open one.
    #[cfg(test)]
    pub(super) async fn close_writer(&self) {
        self.renew_writer().await.unwrap();
    }

    /// The time for which a writer that cannot be opened is waited for is over.
    #[cfg(test)]
    pub(super) fn lose_patience(&self) {
        *self.unopened() = Some(Instant::now() - UNOPENED_PATIENCE);
    }

    #[cfg(test)]
    pub(super) fn break_for_test(&self) {
        self.turn_read_only_for_good("a test says so".to_owned());
    }

    /// The pause before a full disk is tried again is over.
    #[cfg(test)]
    pub(super) fn forget_pause(&self) {
        *self.full_at.lock().unwrap() = Some(Instant::now() - FULL_DISK_RETRY);
    }

    fn is_full(&self) -> bool {
        let full_at = self.full_at.lock();
        full_at.unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn may_try_again(&self) -> bool {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        match *full_at {
            Some(at) if at.elapsed() >= FULL_DISK_RETRY => {
                *full_at = Some(Instant::now());
                true
            }
            _ => false,
        }
    }

    fn disk_has_room(&self) {
        let was_full = self
            .full_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .is_some();
        if was_full {
            tracing::info!("the disk has room again; the store takes writes");
            self.health.send_replace(StoreHealth::Ok);
        }
    }
}

/// Whether not even this can be opened.
fn is_out_of_descriptors() -> bool {
    std::fs::File::open("/dev/null").is_err()
}

/// What a failure of the engine means for the store.
#[derive(Debug, PartialEq, Eq)]
enum Trouble {
    Busy,
    NotOpened,
    Full,
    Disk,
    Damaged,
    Other,
}

impl Trouble {
    fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::PoolTimedOut => Self::Busy,
            // The file is read and written by the engine; the driver itself only starts its thread.
            sqlx::Error::Io(_) => Self::NotOpened,
            sqlx::Error::Database(error) => {
                let code = error.code().and_then(|code| code.parse::<u32>().ok());
                Self::of_code(code.unwrap_or(0))
            }
            _ => Self::Other,
        }
    }

    /// The primary result codes of SQLite: <https://www.sqlite.org/rescode.html>.
    fn of_code(extended: u32) -> Self {
        match extended & 0xff {
            5 | 6 => Self::Busy,
            13 => Self::Full,
            // READONLY, IOERR
            8 | 10 => Self::Disk,
            // CANTOPEN
            14 => Self::NotOpened,
            // CORRUPT, NOTADB
            11 | 26 => Self::Damaged,
            _ => Self::Other,
        }
    }
}

/// The engine's own words and its code.
fn words(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => match error.code() {
            Some(code) => format!("{}, code {code}", error.message()),
            None => error.message().to_owned(),
        },
        other => other.to_string(),
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_codes_are_told_apart() {
        for (code, trouble) in [
            (5, Trouble::Busy),
            (517, Trouble::Busy),
            (13, Trouble::Full),
            (1034, Trouble::Disk),
            (778, Trouble::Disk),
            (14, Trouble::NotOpened),
            (11, Trouble::Damaged),
            (26, Trouble::Damaged),
            (2067, Trouble::Other),
        ] {
            assert_eq!(Trouble::of_code(code), trouble, "{code}");
        }
    }
}
