//! Decisions about devices that putting an older database back must not undo.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use clawline::secret::Secret;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode};
use sqlx::{ConnectOptions as _, Connection as _};

use super::backup::reader;
use super::open::{SECRET, open_error};
use super::{BUSY_TIMEOUT, StoreError};

type Sql<T> = Result<T, sqlx::Error>;
/// A device and a role, or a node alone.
type Place = (String, String);
/// Scopes, generation of the token, when it was revoked and rotated.
type Role = (String, i64, Option<i64>, Option<i64>);
/// What is approved, when, and the digest of the pairing token.
type Node = (Option<String>, Option<i64>, Option<String>);

/// What a database says of devices and nodes: who is paired, and which tokens count.
#[derive(Debug)]
pub struct Decisions {
    /// From which tokens are derived; two databases with the same one are two moments of one gateway.
    secret: Option<Secret>,
    devices: BTreeSet<String>,
    roles: BTreeMap<Place, Role>,
    generations: BTreeMap<Place, i64>,
    nodes: BTreeMap<String, Node>,
}

/// What was carried over into an older database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Carried {
    /// Devices that were removed since.
    pub removed: usize,
    /// Tokens that were revoked or replaced since.
    pub revoked: usize,
}

/// Reads what the database at `path` says of devices. It is not changed.
pub async fn decisions(path: &Path) -> Result<Decisions, StoreError> {
    let mut connection = reader(path).await?;
    let read = read(&mut connection).await;
    let _ = connection.close().await;
    read.map_err(|error| open_error(path, error))
}

/// Lets no device into the database at `path`, which nobody serves, that `since` shows to have been
/// removed, and no token count that was revoked or replaced. One-time codes are forgotten: used ones
/// would be good again. `None` when the two are not of the same gateway, and nothing can be said.
pub async fn carry_over(path: &Path, since: &Decisions) -> Result<Option<Carried>, StoreError> {
    change(path, async |connection: &mut SqliteConnection| {
        forget_codes(connection).await?;
        let then = read(connection).await?;
        if then.secret.is_none() || then.secret != since.secret {
            return Ok(None);
        }
        merge(connection, &then, since).await.map(Some)
    })
    .await
}

/// Forgets every device, node and one-time code in the database at `path`, which nobody serves, and the
/// secret from which their tokens are derived: no token of any time counts there again.
pub async fn forget_devices(path: &Path) -> Result<(), StoreError> {
    change(path, async |connection: &mut SqliteConnection| {
        forget_codes(connection).await?;
        for table in ["devices", "pairing_requests", "nodes", "node_requests"] {
            if has_table(connection, table).await? {
                let sql = sqlx::AssertSqlSafe(format!("DELETE FROM {table}"));
                sqlx::query(sql).execute(&mut *connection).await?;
            }
        }
        sqlx::query("DELETE FROM meta WHERE name = $1")
            .bind(SECRET)
            .execute(connection)
            .await?;
        Ok(())
    })
    .await
}

/// One transaction in a file that nobody serves; everything is in the file itself afterwards.
async fn change<T>(
    path: &Path,
    act: impl AsyncFnOnce(&mut SqliteConnection) -> Sql<T>,
) -> Result<T, StoreError> {
    let changed = async {
        let mut connection = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Delete)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .connect()
            .await?;
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        let done = act(&mut *tx).await?;
        tx.commit().await?;
        connection.close().await?;
        Ok(done)
    };
    changed.await.map_err(|error| open_error(path, error))
}

async fn read(connection: &mut SqliteConnection) -> Sql<Decisions> {
    let secret: Option<String> = sqlx::query_scalar("SELECT value FROM meta WHERE name = $1")
        .bind(SECRET)
        .fetch_optional(&mut *connection)
        .await?;
    let devices: Vec<String> = sqlx::query_scalar("SELECT device_id FROM devices")
        .fetch_all(&mut *connection)
        .await?;
    type RoleRow = (String, String, String, i64, Option<i64>, Option<i64>);
    let roles: Vec<RoleRow> = sqlx::query_as(
        "SELECT device_id, role, scopes, token_generation, revoked_at, rotated_at \
         FROM device_roles",
    )
    .fetch_all(&mut *connection)
    .await?;
    let generations: Vec<(String, String, i64)> =
        sqlx::query_as("SELECT device_id, role, generation FROM device_generations")
            .fetch_all(&mut *connection)
            .await?;
    type NodeRow = (String, Option<String>, Option<i64>, Option<String>);
    let nodes: Vec<NodeRow> = if has_table(connection, "nodes").await? {
        sqlx::query_as("SELECT node_id, approved, approved_at, token_hash FROM nodes")
            .fetch_all(connection)
            .await?
    } else {
        Vec::new()
    };
    Ok(Decisions {
        secret: secret.map(Secret::new),
        devices: devices.into_iter().collect(),
        roles: roles
            .into_iter()
            .map(|(device, role, scopes, generation, revoked, rotated)| {
                ((device, role), (scopes, generation, revoked, rotated))
            })
            .collect(),
        generations: generations
            .into_iter()
            .map(|(device, role, generation)| ((device, role), generation))
            .collect(),
        nodes: nodes
            .into_iter()
            .map(|(node, approved, at, hash)| (node, (approved, at, hash)))
            .collect(),
    })
}

async fn merge(
    connection: &mut SqliteConnection,
    then: &Decisions,
    since: &Decisions,
) -> Sql<Carried> {
    let mut carried = Carried::default();
    for device in then.devices.difference(&since.devices) {
        sqlx::query("DELETE FROM devices WHERE device_id = $1")
            .bind(device)
            .execute(&mut *connection)
            .await?;
        carried.removed += 1;
    }
    for ((device, role), held) in &then.roles {
        if !since.devices.contains(device) {
            continue;
        }
        match since.roles.get(&(device.clone(), role.clone())) {
            Some(now) if now == held => continue,
            Some((scopes, generation, revoked_at, rotated_at)) => {
                sqlx::query(
                    "UPDATE device_roles SET scopes = $3, token_generation = $4, \
                     revoked_at = $5, rotated_at = $6 WHERE device_id = $1 AND role = $2",
                )
                .bind(device)
                .bind(role)
                .bind(scopes)
                .bind(generation)
                .bind(revoked_at)
                .bind(rotated_at)
                .execute(&mut *connection)
                .await?;
                let is_void = *generation != held.1 || revoked_at.is_some();
                carried.revoked += usize::from(is_void);
            }
            None => {
                sqlx::query("DELETE FROM device_roles WHERE device_id = $1 AND role = $2")
                    .bind(device)
                    .bind(role)
                    .execute(&mut *connection)
                    .await?;
                carried.revoked += 1;
            }
        }
    }
    // No generation that was ever used is given again.
    for ((device, role), generation) in &since.generations {
        sqlx::query(
            "INSERT INTO device_generations (device_id, role, generation) VALUES ($1, $2, $3) \
             ON CONFLICT (device_id, role) DO UPDATE \
             SET generation = MAX(device_generations.generation, excluded.generation)",
        )
        .bind(device)
        .bind(role)
        .bind(generation)
        .execute(&mut *connection)
        .await?;
    }
    for node in then.nodes.keys() {
        match since.nodes.get(node) {
            Some((approved, approved_at, token_hash)) => {
                sqlx::query(
                    "UPDATE nodes SET approved = $2, approved_at = $3, token_hash = $4 \
                     WHERE node_id = $1",
                )
                .bind(node)
                .bind(approved)
                .bind(approved_at)
                .bind(token_hash)
                .execute(&mut *connection)
                .await?;
            }
            None => {
                sqlx::query("DELETE FROM nodes WHERE node_id = $1")
                    .bind(node)
                    .execute(&mut *connection)
                    .await?;
            }
        }
    }
    Ok(carried)
}

async fn forget_codes(connection: &mut SqliteConnection) -> Sql<()> {
    if has_table(connection, "setup_codes").await? {
        sqlx::query("DELETE FROM setup_codes")
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// Older schemas have fewer.
async fn has_table(connection: &mut SqliteConnection, name: &str) -> Sql<bool> {
    let found: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = $1")
            .bind(name)
            .fetch_one(connection)
            .await?;
    Ok(found > 0)
}
