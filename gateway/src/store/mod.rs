//! What must survive a crash: one SQLite file, all SQL, and the traits through which services see it.
//!
//! Every write is one transaction in WAL mode with `synchronous=FULL`; a method that returns `Ok`
//! has committed. When the disk fails a commit, the store turns read-only and says why
//! ([`Store::health`]); nothing is acknowledged after that.

mod approvals;
mod command;
mod error;
mod health;
mod nodes;
mod setup_codes;
mod sqlite;
mod traits;
mod usage;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clawline::secret::Secret;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use approvals::{Approval, ApprovalState, ApprovalStore, Inserted, PendingBounds};
pub use command::{Command, CommandEffect, CommandOutcome, CommandStore, Compacted, DoneCommand};
pub use error::StoreError;
pub use health::StoreHealth;
pub use nodes::{NewNodeRequest, Node, NodeFacts, NodeRequest, NodeStore, StoredRequest, Surface};
pub use setup_codes::{NewSetupCode, Redeemed, SetupCodeStore};
use sqlite::Db;
pub use sqlite::{
    Carried, Decisions, Inspection, carry_over, copy, decisions, forget_devices, inspect, is_behind,
};
pub use traits::{
    Accept, AcceptOutcome, AcceptedRun, Device, DeviceGrant, DeviceRole, DeviceStore, EndedRun,
    NewPairing, PairingRequest, PairingStore, RunEnd, RunStore, SessionStore,
};
pub use usage::UsageStore;

/// How long closing waits for work on the file to end.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);

/// The gateway's store. Cheap to share as `Arc`; the services take the traits.
pub struct Store {
    db: Arc<Db>,
    was_clean: bool,
    check: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Opens the file, making it and its directory owner-only where they are absent.
    ///
    /// Refuses what is no database, what is damaged, and what a newer version wrote. After an
    /// unclean stop the whole file is checked in the background while the store serves.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let (db, was_clean) = Db::open(path).await?;
        let db = Arc::new(db);
        let check = (!was_clean).then(|| {
            let db = db.clone();
            tokio::spawn(async move { db.check().await })
        });
        Ok(Self {
            db,
            was_clean,
            check: Mutex::new(check),
        })
    }

    /// False when the gateway was killed, or the machine went down, the last time.
    pub fn was_stopped_cleanly(&self) -> bool {
        self.was_clean
    }

    /// The state of the store, now and later.
    pub fn health(&self) -> watch::Receiver<StoreHealth> {
        self.db.health()
    }

    /// A random text made on the first start, from which device tokens are derived.
    pub fn gateway_secret(&self) -> &Secret {
        self.db.secret()
    }

    pub fn sessions(&self) -> Arc<dyn SessionStore> {
        self.db.clone()
    }

    pub fn runs(&self) -> Arc<dyn RunStore> {
        self.db.clone()
    }

    pub fn commands(&self) -> Arc<dyn CommandStore> {
        self.db.clone()
    }

    pub fn usage(&self) -> Arc<dyn UsageStore> {
        self.db.clone()
    }

    pub fn devices(&self) -> Arc<dyn DeviceStore> {
        self.db.clone()
    }

    pub fn setup_codes(&self) -> Arc<dyn SetupCodeStore> {
        self.db.clone()
    }

    pub fn pairing(&self) -> Arc<dyn PairingStore> {
        self.db.clone()
    }

    pub fn approvals(&self) -> Arc<dyn ApprovalStore> {
        self.db.clone()
    }

    pub fn nodes(&self) -> Arc<dyn NodeStore> {
        self.db.clone()
    }

    /// From now on nothing can be written, as after a disk that failed.
    #[cfg(test)]
    pub(crate) fn break_for_test(&self) {
        self.db.break_for_test();
    }

    /// Notes a clean stop and closes the file; everything after this fails. Stop the runs first.
    pub async fn close(&self) {
        // A file whose check did not end is checked again at the next start.
        let is_checked = self.stop_check();
        if tokio::time::timeout(CLOSE_DEADLINE, self.db.close(is_checked))
            .await
            .is_err()
        {
            tracing::warn!("the store was still in use when it had to close");
        }
    }

    fn stop_check(&self) -> bool {
        let check = self
            .check
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        check.is_none_or(|check| {
            let ended = check.is_finished();
            check.abort();
            ended
        })
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.stop_check();
    }
}

/// Milliseconds UTC now.
pub fn now_ms() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        })
}

#[cfg(test)]
mod tests;
