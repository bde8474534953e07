//! What must survive a crash: one SQLite file, all SQL, and the traits through which services see it.
//!
//! Every write is one transaction in WAL mode with `synchronous=FULL`; a method that returns `Ok`
//! has committed. When the disk fails a commit, the store turns read-only and says why
//! ([`Store::health`]); nothing is acknowledged after that.

mod error;
mod health;
mod traits;

pub use error::StoreError;
pub use health::StoreHealth;
pub use traits::{
    Accept, AcceptOutcome, AcceptedRun, Device, DeviceGrant, DeviceRole, DeviceStore, EndedRun,
    NewPairing, PairingRequest, PairingStore, RunEnd, RunStore, SessionStore,
};

/// Milliseconds UTC now.
pub fn now_ms() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        })
}
