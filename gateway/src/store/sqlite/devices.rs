//! Paired devices in SQL.

use std::collections::BTreeMap;

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::{Db, StoreError, rows};
use crate::store::{Device, DeviceGrant, DeviceRole, DeviceStore};

type Result<T> = std::result::Result<T, StoreError>;

const DEVICE: &str = "SELECT device_id, public_key, display_name, platform, device_family, \
     client_id, client_mode, remote_ip, silent, created_at, approved_at, last_seen_at FROM devices \
     WHERE device_id = $1";
const DEVICES: &str = "SELECT device_id, public_key, display_name, platform, device_family, \
     client_id, client_mode, remote_ip, silent, created_at, approved_at, last_seen_at FROM devices \
     ORDER BY approved_at DESC, device_id";

#[async_trait]
impl DeviceStore for Db {
    async fn list(&self) -> Result<Vec<Device>> {
        let mut roles = self.seen(all_roles(&self.readers).await)?;
        let mut devices = self.all(sqlx::query(DEVICES), device).await?;
        for device in &mut devices {
            device.roles = roles.remove(&device.device_id).unwrap_or_default();
        }
        Ok(devices)
    }

    async fn get(&self, device_id: &str) -> Result<Option<Device>> {
        let connection = self.readers.acquire().await;
        let mut connection = self.seen(connection)?;
        let found = find(&mut connection, device_id).await;
        self.seen(found)
    }

    async fn grant(&self, new: DeviceGrant, at: i64) -> Result<Device> {
        let mut tx = self.begin().await?;
        let result = grant(&mut tx, &new, at).await;
        self.end(tx, result).await
    }

    async fn touch(&self, device_id: &str, role: &str, at: i64) -> Result<()> {
        let mut tx = self.begin().await?;
        let result = touch(&mut tx, device_id, role, at).await;
        self.end(tx, result).await
    }

    async fn rename(&self, device_id: &str, name: &str) -> Result<bool> {
        let update = sqlx::query("UPDATE devices SET display_name = $2 WHERE device_id = $1");
        let changed = self.change(update.bind(device_id).bind(name)).await?;
        Ok(changed > 0)
    }

    async fn remove(&self, device_id: &str) -> Result<bool> {
        let delete = sqlx::query("DELETE FROM devices WHERE device_id = $1");
        Ok(self.change(delete.bind(device_id)).await? > 0)
    }

    async fn rotate(
        &self,
        device_id: &str,
        role: &str,
        scopes: Option<Vec<String>>,
        at: i64,
    ) -> Result<Option<DeviceRole>> {
        let mut tx = self.begin().await?;
        let result = renew(&mut tx, device_id, role, scopes, None, at).await;
        self.end(tx, result).await
    }

    async fn revoke(&self, device_id: &str, role: &str, at: i64) -> Result<Option<DeviceRole>> {
        let mut tx = self.begin().await?;
        let result = renew(&mut tx, device_id, role, None, Some(at), at).await;
        self.end(tx, result).await
    }
}

pub(super) async fn find(
    connection: &mut SqliteConnection,
    device_id: &str,
) -> Result<Option<Device>> {
    let row = sqlx::query(DEVICE)
        .bind(device_id)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let mut device = device(&row)?;
    let roles = sqlx::query("SELECT * FROM device_roles WHERE device_id = $1")
        .bind(device_id)
        .fetch_all(connection)
        .await?;
    for row in &roles {
        device.roles.insert(row.try_get("role")?, role_of(row)?);
    }
    Ok(Some(device))
}

async fn all_roles(
    readers: &sqlx::SqlitePool,
) -> Result<BTreeMap<String, BTreeMap<String, DeviceRole>>> {
    let mut all: BTreeMap<String, BTreeMap<String, DeviceRole>> = BTreeMap::new();
    for row in sqlx::query("SELECT * FROM device_roles")
        .fetch_all(readers)
        .await?
    {
        all.entry(row.try_get("device_id")?)
            .or_default()
            .insert(row.try_get("role")?, role_of(&row)?);
    }
    Ok(all)
}

/// Approves: makes or refreshes the device, then the role.
pub(super) async fn grant(
    connection: &mut SqliteConnection,
    new: &DeviceGrant,
    at: i64,
) -> Result<Device> {
    sqlx::query("DELETE FROM devices WHERE device_id = $1 AND public_key <> $2")
        .bind(&new.device_id)
        .bind(&new.public_key)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "INSERT INTO devices (device_id, public_key, display_name, platform, device_family, \
         client_id, client_mode, remote_ip, silent, created_at, approved_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10) \
         ON CONFLICT (device_id) DO UPDATE SET \
         display_name = COALESCE(excluded.display_name, devices.display_name), \
         platform = excluded.platform, device_family = excluded.device_family, \
         client_id = excluded.client_id, client_mode = excluded.client_mode, \
         remote_ip = excluded.remote_ip, silent = MIN(devices.silent, excluded.silent), \
         approved_at = excluded.approved_at",
    )
    .bind(&new.device_id)
    .bind(&new.public_key)
    .bind(&new.display_name)
    .bind(&new.platform)
    .bind(&new.device_family)
    .bind(&new.client_id)
    .bind(&new.client_mode)
    .bind(&new.remote_ip)
    .bind(i64::from(new.silent))
    .bind(at)
    .execute(&mut *connection)
    .await?;
    let scopes = rows::to_json("device", &new.scopes)?;
    let kept = sqlx::query(
        "UPDATE device_roles SET scopes = $3, revoked_at = NULL \
         WHERE device_id = $1 AND role = $2",
    )
    .bind(&new.device_id)
    .bind(&new.role)
    .bind(&scopes)
    .execute(&mut *connection)
    .await?;
    if kept.rows_affected() == 0 {
        let generation = next_generation(connection, &new.device_id, &new.role).await?;
        sqlx::query(
            "INSERT INTO device_roles (device_id, role, scopes, token_generation, created_at) \
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(&new.device_id)
        .bind(&new.role)
        .bind(&scopes)
        .bind(generation)
        .bind(at)
        .execute(&mut *connection)
        .await?;
    }
    find(connection, &new.device_id)
        .await?
        .ok_or_else(|| rows::bad("device", "it vanished"))
}

async fn next_generation(
    connection: &mut SqliteConnection,
    device_id: &str,
    role: &str,
) -> Result<i64> {
    let row = sqlx::query(
        "INSERT INTO device_generations (device_id, role, generation) VALUES ($1, $2, 1) \
         ON CONFLICT (device_id, role) DO UPDATE \
         SET generation = device_generations.generation + 1 RETURNING generation",
    )
    .bind(device_id)
    .bind(role)
    .fetch_one(connection)
    .await?;
    Ok(row.try_get("generation")?)
}

async fn renew(
    connection: &mut SqliteConnection,
    device_id: &str,
    role: &str,
    scopes: Option<Vec<String>>,
    revoked_at: Option<i64>,
    at: i64,
) -> Result<Option<DeviceRole>> {
    let known = sqlx::query("SELECT 1 FROM device_roles WHERE device_id = $1 AND role = $2")
        .bind(device_id)
        .bind(role)
        .fetch_optional(&mut *connection)
        .await?;
    if known.is_none() {
        return Ok(None);
    }
    let generation = next_generation(connection, device_id, role).await?;
    let scopes = scopes
        .map(|scopes| rows::to_json("device", &scopes))
        .transpose()?;
    let row = sqlx::query(
        "UPDATE device_roles SET token_generation = $3, scopes = COALESCE($4, scopes), \
         revoked_at = COALESCE($5, revoked_at), rotated_at = $6 \
         WHERE device_id = $1 AND role = $2 RETURNING *",
    )
    .bind(device_id)
    .bind(role)
    .bind(generation)
    .bind(scopes)
    .bind(revoked_at)
    .bind(at)
    .fetch_one(connection)
    .await?;
    Ok(Some(role_of(&row)?))
}

async fn touch(
    connection: &mut SqliteConnection,
    device_id: &str,
    role: &str,
    at: i64,
) -> Result<()> {
    sqlx::query("UPDATE devices SET last_seen_at = $2 WHERE device_id = $1")
        .bind(device_id)
        .bind(at)
        .execute(&mut *connection)
        .await?;
    sqlx::query("UPDATE device_roles SET last_used_at = $3 WHERE device_id = $1 AND role = $2")
        .bind(device_id)
        .bind(role)
        .bind(at)
        .execute(connection)
        .await?;
    Ok(())
}

fn device(row: &SqliteRow) -> Result<Device> {
    Ok(Device {
        device_id: row.try_get("device_id")?,
        public_key: row.try_get("public_key")?,
        display_name: row.try_get("display_name")?,
        platform: row.try_get("platform")?,
        device_family: row.try_get("device_family")?,
        client_id: row.try_get("client_id")?,
        client_mode: row.try_get("client_mode")?,
        remote_ip: row.try_get("remote_ip")?,
        silent: row.try_get::<i64, _>("silent")? != 0,
        roles: BTreeMap::new(),
        created_at: row.try_get("created_at")?,
        approved_at: row.try_get("approved_at")?,
        last_seen_at: row.try_get("last_seen_at")?,
    })
}

fn role_of(row: &SqliteRow) -> Result<DeviceRole> {
    Ok(DeviceRole {
        scopes: rows::from_json("device", row.try_get("scopes")?)?,
        token_generation: row.try_get("token_generation")?,
        revoked_at: row.try_get("revoked_at")?,
        created_at: row.try_get("created_at")?,
        rotated_at: row.try_get("rotated_at")?,
        last_used_at: row.try_get("last_used_at")?,
    })
}
