//! Setup codes in SQL.

use async_trait::async_trait;
use clawline::protocol::scope::Scopes;
use sqlx::{Row as _, SqliteConnection};

use super::{Db, StoreError, devices, rows};
use crate::store::{DeviceGrant, NewSetupCode, Redeemed, SetupCodeStore};

type Result<T> = std::result::Result<T, StoreError>;

/// Characters of a device's id where it has no name.
const SHORT_ID: usize = 12;

#[async_trait]
impl SetupCodeStore for Db {
    async fn mint(&self, code: NewSetupCode) -> Result<()> {
        let mut tx = self.begin().await?;
        let result = mint(&mut tx, &code).await;
        self.end(tx, result).await
    }

    async fn redeem(&self, hash: &str, grant: DeviceGrant, now: i64) -> Result<Redeemed> {
        let mut tx = self.begin().await?;
        let result = redeem(&mut tx, hash, &grant, now, true).await;
        self.end(tx, result).await
    }

    async fn redeem_unchecked(&self, hash: &str, grant: DeviceGrant, now: i64) -> Result<Redeemed> {
        let mut tx = self.begin().await?;
        let result = redeem(&mut tx, hash, &grant, now, false).await;
        self.end(tx, result).await
    }

    async fn forget(&self, before: i64) -> Result<()> {
        let delete = sqlx::query("DELETE FROM setup_codes WHERE expires_at < $1");
        self.change(delete.bind(before)).await?;
        Ok(())
    }
}

async fn mint(connection: &mut SqliteConnection, code: &NewSetupCode) -> Result<()> {
    sqlx::query(
        "INSERT INTO setup_codes (hash, role, scopes, created_at, expires_at) \
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(&code.hash)
    .bind(&code.role)
    .bind(rows::to_json("setup code", &code.scopes)?)
    .bind(code.created_at)
    .bind(code.expires_at)
    .execute(connection)
    .await?;
    Ok(())
}

async fn redeem(
    connection: &mut SqliteConnection,
    hash: &str,
    grant: &DeviceGrant,
    now: i64,
    is_checked: bool,
) -> Result<Redeemed> {
    let row = sqlx::query("SELECT * FROM setup_codes WHERE hash = $1")
        .bind(hash)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else {
        return Ok(Redeemed::Unknown);
    };
    let (role, expires_at): (String, i64) = (row.try_get("role")?, row.try_get("expires_at")?);
    let scopes: Vec<String> = rows::from_json("setup code", row.try_get("scopes")?)?;
    if is_checked {
        if let Some(at) = row.try_get("used_at")? {
            let by = row.try_get::<Option<String>, _>("used_by")?;
            return Ok(Redeemed::Used {
                by: by.unwrap_or_default(),
                at,
            });
        }
        if expires_at <= now {
            return Ok(Redeemed::Expired { at: expires_at });
        }
    }
    let wanted = Scopes::from_wire(&grant.scopes);
    if role != grant.role || !Scopes::from_wire(&scopes).covers(&wanted) {
        return Ok(Redeemed::Beyond { role, scopes });
    }
    let name = grant.display_name.clone();
    let by = name.unwrap_or_else(|| grant.device_id.chars().take(SHORT_ID).collect());
    sqlx::query("UPDATE setup_codes SET used_at = $2, used_by = $3 WHERE hash = $1")
        .bind(hash)
        .bind(now)
        .bind(by)
        .execute(&mut *connection)
        .await?;
    let known = devices::find(connection, &grant.device_id).await?;
    let held = known
        .as_ref()
        .and_then(|device| device.roles.get(&grant.role))
        .filter(|held| held.revoked_at.is_none())
        .map(|held| Scopes::from_wire(&held.scopes))
        .unwrap_or_default();
    let grant = DeviceGrant {
        scopes: held.union(&wanted).to_wire(),
        ..grant.clone()
    };
    let device = devices::grant(connection, &grant, now).await?;
    Ok(Redeemed::Granted(Box::new(device)))
}
