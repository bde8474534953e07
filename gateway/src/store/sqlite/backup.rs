//! Copies of the database, and looks at a file that nobody serves.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use super::open::{known_schema, open_error};
use super::{BUSY_TIMEOUT, StoreError};

/// What a database file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The newest migration that it has.
    pub schema: i64,
    /// The newest that this program knows.
    pub known: i64,
    /// Devices that were paired without anybody having been asked.
    pub silent_devices: u64,
    /// What is wrong in it; `None` when nothing is.
    pub damage: Option<String>,
}

/// Writes a whole copy of the database at `path` to `target`, which must not exist. Works while a
/// gateway serves the file; the copy is one moment of it.
pub async fn copy(path: &Path, target: &Path) -> Result<(), StoreError> {
    let mut connection = reader(path).await?;
    let name = target.to_string_lossy().into_owned();
    let copied = sqlx::query("VACUUM INTO $1")
        .bind(name)
        .execute(&mut connection)
        .await;
    let _ = connection.close().await;
    copied.map(|_| ()).map_err(|error| open_error(path, error))
}

/// Reads the whole file and says what it is.
pub async fn inspect(path: &Path) -> Result<Inspection, StoreError> {
    let named = |error| open_error(path, error);
    let mut connection = reader(path).await?;
    let verdict = sqlx::query_scalar::<_, String>("PRAGMA quick_check(1)")
        .fetch_one(&mut connection)
        .await
        .map_err(named)?;
    let schema = schema(&mut connection).await.map_err(named)?;
    let silent: Option<i64> = sqlx::query_scalar("SELECT COUNT(*) FROM devices WHERE silent <> 0")
        .fetch_one(&mut connection)
        .await
        .ok();
    let _ = connection.close().await;
    Ok(Inspection {
        silent_devices: silent.and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
        schema,
        known: known_schema(),
        damage: (verdict != "ok").then_some(verdict),
    })
}

/// Whether opening the database at `path` would migrate it. False as well where that cannot be told:
/// opening it tells more.
pub async fn is_behind(path: &Path) -> bool {
    if !path.exists() {
        return false;
    }
    let schema = async {
        let mut connection = reader(path).await?;
        let schema = schema(&mut connection).await;
        let _ = connection.close().await;
        schema.map_err(|error| open_error(path, error))
    };
    schema.await.is_ok_and(|schema| schema < known_schema())
}

async fn schema(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations")
        .fetch_one(connection)
        .await
}

/// A connection that changes nothing.
pub(super) async fn reader(path: &Path) -> Result<SqliteConnection, StoreError> {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .read_only(true)
        .busy_timeout(BUSY_TIMEOUT)
        .connect()
        .await
        .map_err(|error| open_error(path, error))
}
