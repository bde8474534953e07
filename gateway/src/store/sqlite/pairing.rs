//! Pending pairing requests in SQL: at most one a device.

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::{Db, StoreError, devices, rows};
use crate::store::{Device, DeviceGrant, NewPairing, PairingRequest, PairingStore};

type Result<T> = std::result::Result<T, StoreError>;

#[async_trait]
impl PairingStore for Db {
    async fn pending(&self, now: i64) -> Result<Vec<PairingRequest>> {
        let waiting = sqlx::query(
            "SELECT * FROM pairing_requests WHERE expires_at > $1 ORDER BY created_at, request_id",
        );
        self.all(waiting.bind(now), request).await
    }

    async fn get(&self, request_id: &str, now: i64) -> Result<Option<PairingRequest>> {
        let one =
            sqlx::query("SELECT * FROM pairing_requests WHERE request_id = $1 AND expires_at > $2");
        self.one(one.bind(request_id).bind(now), request).await
    }

    async fn request(&self, new: NewPairing) -> Result<(PairingRequest, Vec<String>)> {
        let mut tx = self.begin().await?;
        let result = store(&mut tx, new).await;
        self.end(tx, result).await
    }

    async fn take(&self, request_id: &str, now: i64) -> Result<Option<PairingRequest>> {
        let mut tx = self.begin().await?;
        let result = take(&mut tx, request_id, now).await;
        self.end(tx, result).await
    }

    async fn approve(
        &self,
        request_id: &str,
        now: i64,
    ) -> Result<Option<(PairingRequest, Device)>> {
        let mut tx = self.begin().await?;
        let result = approve(&mut tx, request_id, now).await;
        self.end(tx, result).await
    }

    async fn expire(&self, now: i64) -> Result<Vec<PairingRequest>> {
        let delete = sqlx::query("DELETE FROM pairing_requests WHERE expires_at <= $1 RETURNING *");
        self.change_all(delete.bind(now), request).await
    }
}

async fn store(
    connection: &mut SqliteConnection,
    new: NewPairing,
) -> Result<(PairingRequest, Vec<String>)> {
    let known = sqlx::query("SELECT * FROM pairing_requests WHERE device_id = $1")
        .bind(&new.grant.device_id)
        .fetch_optional(&mut *connection)
        .await?;
    let known = known.as_ref().map(request).transpose()?;
    let mut replaced = Vec::new();
    if let Some(known) = known {
        if known.expires_at > new.at && known.reason == new.reason && known.grant == new.grant {
            return Ok((known, replaced));
        }
        sqlx::query("DELETE FROM pairing_requests WHERE request_id = $1")
            .bind(&known.request_id)
            .execute(&mut *connection)
            .await?;
        replaced.push(known.request_id);
    }
    let grant = &new.grant;
    let row = sqlx::query(
        "INSERT INTO pairing_requests (request_id, device_id, public_key, display_name, platform, \
         device_family, client_id, client_mode, remote_ip, role, scopes, reason, created_at, \
         expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) \
         RETURNING *",
    )
    .bind(uuid::Uuid::new_v4().to_string())
    .bind(&grant.device_id)
    .bind(&grant.public_key)
    .bind(&grant.display_name)
    .bind(&grant.platform)
    .bind(&grant.device_family)
    .bind(&grant.client_id)
    .bind(&grant.client_mode)
    .bind(&grant.remote_ip)
    .bind(&grant.role)
    .bind(rows::to_json("pairing request", &grant.scopes)?)
    .bind(&new.reason)
    .bind(new.at)
    .bind(new.expires_at)
    .fetch_one(connection)
    .await?;
    Ok((request(&row)?, replaced))
}

async fn take(
    connection: &mut SqliteConnection,
    request_id: &str,
    now: i64,
) -> Result<Option<PairingRequest>> {
    let row = sqlx::query(
        "DELETE FROM pairing_requests WHERE request_id = $1 AND expires_at > $2 RETURNING *",
    )
    .bind(request_id)
    .bind(now)
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(request).transpose()
}

async fn approve(
    connection: &mut SqliteConnection,
    request_id: &str,
    now: i64,
) -> Result<Option<(PairingRequest, Device)>> {
    let Some(request) = take(connection, request_id, now).await? else {
        return Ok(None);
    };
    let device = devices::grant(connection, &request.grant, now).await?;
    Ok(Some((request, device)))
}

fn request(row: &SqliteRow) -> Result<PairingRequest> {
    Ok(PairingRequest {
        request_id: row.try_get("request_id")?,
        grant: DeviceGrant {
            device_id: row.try_get("device_id")?,
            public_key: row.try_get("public_key")?,
            display_name: row.try_get("display_name")?,
            platform: row.try_get("platform")?,
            device_family: row.try_get("device_family")?,
            client_id: row.try_get("client_id")?,
            client_mode: row.try_get("client_mode")?,
            remote_ip: row.try_get("remote_ip")?,
            silent: false,
            role: row.try_get("role")?,
            scopes: rows::from_json("pairing request", row.try_get("scopes")?)?,
        },
        reason: row.try_get("reason")?,
        created_at: row.try_get("created_at")?,
        expires_at: row.try_get("expires_at")?,
    })
}
