//! The outbox on disk: one SQLite file a gateway, written through before anything is sent.

use std::path::Path;

use sqlx::Row as _;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use super::{Delivery, Message};

/// Two windows of the app may share the file; a writer waits so long for the other.
const BUSY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS outbox (
    key TEXT PRIMARY KEY NOT NULL,
    session TEXT NOT NULL,
    text TEXT NOT NULL,
    at INTEGER NOT NULL,
    state TEXT NOT NULL,
    why TEXT NOT NULL DEFAULT ''
)";

/// Why the outbox cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The directory cannot be made.
    #[error("cannot create {path}: {why}")]
    Directory {
        /// The directory.
        path: String,
        /// The system's words.
        why: std::io::Error,
    },
    /// SQLite says no.
    #[error("outbox {path}: {why}")]
    Database {
        /// The file.
        path: String,
        /// SQLite's words.
        why: sqlx::Error,
    },
}

/// The file.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pool: SqlitePool,
    path: String,
}

impl Store {
    /// Opens the file, or makes it, readable by its owner alone.
    ///
    /// # Errors
    /// [`StoreError`], naming the file.
    pub(crate) async fn open(path: &Path) -> Result<Self, StoreError> {
        let shown = path.display().to_string();
        if let Some(directory) = path.parent() {
            clawline::owner_file::create_dir(directory).map_err(|why| StoreError::Directory {
                path: directory.display().to_string(),
                why,
            })?;
        }
        // Made before SQLite sees it: its journal then gets the same narrow mode.
        let made = clawline::owner_file::create_new(path, &clawline::secret::Secret::default());
        if let Err(why) = made
            && why.kind() != std::io::ErrorKind::AlreadyExists
        {
            return Err(StoreError::Directory { path: shown, why });
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT);
        let database = |why| StoreError::Database {
            path: shown.clone(),
            why,
        };
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options)
            .await
            .map_err(database)?;
        sqlx::query(SCHEMA).execute(&pool).await.map_err(database)?;
        Ok(Self { pool, path: shown })
    }

    fn error(&self, why: sqlx::Error) -> StoreError {
        StoreError::Database {
            path: self.path.clone(),
            why,
        }
    }

    /// Every message that is not settled, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn all(&self) -> Result<Vec<Message>, StoreError> {
        let rows =
            sqlx::query("SELECT key, session, text, at, state, why FROM outbox ORDER BY at, key")
                .fetch_all(&self.pool)
                .await
                .map_err(|why| self.error(why))?;
        let message = |row: &sqlx::sqlite::SqliteRow| -> Result<Message, sqlx::Error> {
            let why: String = row.try_get("why")?;
            let delivery = match row.try_get::<String, _>("state")?.as_str() {
                "queued" => Delivery::Queued,
                "failed" => Delivery::Failed(why),
                _ => Delivery::Sent,
            };
            Ok(Message {
                key: row.try_get("key")?,
                session: row.try_get("session")?,
                text: row.try_get("text")?,
                at: row.try_get("at")?,
                delivery,
            })
        };
        rows.iter()
            .map(message)
            .collect::<Result<_, _>>()
            .map_err(|why| self.error(why))
    }

    /// Adds a message; it is on disk when this returns. A known key is left as it is.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing may be sent.
    pub(crate) async fn add(&self, message: &Message) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO outbox (key, session, text, at, state) VALUES ($1, $2, $3, $4, 'queued')
             ON CONFLICT (key) DO NOTHING",
        )
        .bind(&message.key)
        .bind(&message.session)
        .bind(&message.text)
        .bind(message.at)
        .execute(&self.pool)
        .await
        .map_err(|why| self.error(why))?;
        Ok(())
    }

    /// Notes on disk how far a message has come; a settled one leaves the file.
    ///
    /// # Errors
    /// [`StoreError`]; a message whose `Sent` cannot be noted must not be sent.
    pub(crate) async fn set(&self, key: &str, delivery: &Delivery) -> Result<(), StoreError> {
        let (state, why) = match delivery {
            Delivery::Queued => ("queued", ""),
            Delivery::Sent => ("sent", ""),
            Delivery::Failed(why) => ("failed", why.as_str()),
            Delivery::Accepted => return self.remove(key).await,
        };
        sqlx::query("UPDATE outbox SET state = $1, why = $2 WHERE key = $3")
            .bind(state)
            .bind(why)
            .bind(key)
            .execute(&self.pool)
            .await
            .map_err(|why| self.error(why))?;
        Ok(())
    }

    /// Forgets a message.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn remove(&self, key: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM outbox WHERE key = $1")
            .bind(key)
            .execute(&self.pool)
            .await
            .map_err(|why| self.error(why))?;
        Ok(())
    }

    /// Closes the file.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(key: &str, at: i64) -> Message {
        Message {
            key: key.into(),
            session: "agent:main:main".into(),
            text: "hello\nthere".into(),
            at,
            delivery: Delivery::Queued,
        }
    }

    #[tokio::test]
    async fn what_was_added_is_there_after_opening_again_and_gone_once_accepted() {
        let home = tempfile::tempdir().expect("directory");
        let path = home.path().join("gateways/x/outbox.db");
        let store = Store::open(&path).await.expect("store");
        store.add(&message("b", 2)).await.expect("add");
        store.add(&message("a", 1)).await.expect("add");
        store
            .add(&message("a", 9))
            .await
            .expect("a known key is left alone");
        store.set("a", &Delivery::Sent).await.expect("set");
        store.close().await;

        let store = Store::open(&path).await.expect("store");
        let mut sent = message("a", 1);
        sent.delivery = Delivery::Sent;
        assert_eq!(store.all().await.expect("all"), [sent, message("b", 2)]);
        store.set("a", &Delivery::Accepted).await.expect("set");
        store
            .set("b", &Delivery::Failed("too long".into()))
            .await
            .expect("set");
        let left = store.all().await.expect("all");
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].delivery, Delivery::Failed("too long".into()));
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn only_the_owner_can_read_the_file() {
        use std::os::unix::fs::PermissionsExt as _;
        let home = tempfile::tempdir().expect("directory");
        let path = home.path().join("outbox.db");
        let store = Store::open(&path).await.expect("store");
        store.add(&message("a", 1)).await.expect("add");
        for name in ["outbox.db", "outbox.db-wal"] {
            let mode = std::fs::metadata(home.path().join(name))
                .expect(name)
                .permissions()
                .mode();
            assert_eq!(mode & 0o077, 0, "{name}");
        }
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_named() {
        let home = tempfile::tempdir().expect("directory");
        let path = home.path().join("outbox.db");
        std::fs::write(&path, "not a database, and long enough to be read as one").expect("write");
        let error = Store::open(&path).await.expect_err("opened").to_string();
        assert!(error.contains("outbox.db"), "{error}");
    }
}
