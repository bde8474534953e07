//! One-time codes that pair a device: what the pairing service asks of the store.

use async_trait::async_trait;

use super::{Device, DeviceGrant, StoreError};

/// A code to be stored; the code itself is not among it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSetupCode {
    /// SHA-256 of the code, in hexadecimal.
    pub hash: String,
    pub role: String,
    /// What it gives at most.
    pub scopes: Vec<String>,
    pub created_at: i64,
    pub expires_at: i64,
}

/// What became of a code that a device showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redeemed {
    /// It was good, and is used up; the device is paired.
    Granted(Box<Device>),
    /// Somebody was first.
    Used { by: String, at: i64 },
    /// Its time is over since then.
    Expired { at: i64 },
    /// It does not give what was asked for, and stays good.
    Beyond { role: String, scopes: Vec<String> },
    /// There is no such code.
    Unknown,
}

/// Setup codes.
#[async_trait]
pub trait SetupCodeStore: Send + Sync {
    async fn mint(&self, code: NewSetupCode) -> Result<(), StoreError>;
    /// Uses the code up and grants, in one transaction; at most one call ever does for one code. The
    /// scopes of `grant` are what the device asks for, and have to be the code's; what it holds in
    /// this role already it keeps.
    async fn redeem(
        &self,
        hash: &str,
        grant: DeviceGrant,
        now: i64,
    ) -> Result<Redeemed, StoreError>;
    /// As [`SetupCodeStore::redeem`], without looking whether it was used or is over. For tests.
    #[doc(hidden)]
    async fn redeem_unchecked(
        &self,
        hash: &str,
        grant: DeviceGrant,
        now: i64,
    ) -> Result<Redeemed, StoreError>;
    /// Forgets codes that expired before.
    async fn forget(&self, before: i64) -> Result<(), StoreError>;
}
