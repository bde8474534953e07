//! Approvals of commands by a person: asked for, shown, decided, used once.
//!
//! An approval is bound to the digest of what exactly would be run. The store has the state; a change
//! of it is one statement that names the state before, so that of two who decide, or two who use it,
//! one comes first. Whoever may not see an approval learns no more about it than about one that never
//! was.

mod plan;
mod policy_file;
mod request;
mod show;
mod using;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clawline::protocol::Protocol;
use clawline::protocol::methods::approvals::{Decision, ExecApprovalRow};
use clawline::protocol::scope::{Needs, Scope};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;

use crate::conn::{Conn, ConnId, Principal, Push, Registry};
use crate::nodes::SystemRun;
use crate::policy::Policy;
use crate::store::{
    Approval, ApprovalState, ApprovalStore, Inserted, PendingBounds, StoreError, now_ms,
};

pub(crate) use plan::variable;
pub(crate) use policy_file::{FILE as POLICY_FILE, PolicyError, PolicyFile};
pub(crate) use request::{BadRequest, New};
pub(crate) use using::Using;

/// Approvals that may wait at the same time. A share each, so that no device takes the room of all;
/// what has no device, the owner's own command line, is one of them.
const MAX_PENDING: PendingBounds = PendingBounds {
    all: 256,
    of_device: 64,
};
/// How long one that does not wait any more is known, so that its id is not used again.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// How many of these are known; the oldest make room.
const MAX_KEPT: i64 = 2048;
/// After so many requests the store is looked through for those.
const PRUNE_EVERY: u64 = 256;

/// What cannot be done to approvals.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApprovalError {
    /// Unknown, over, used, or not theirs: all the same to whoever asks.
    #[error("unknown or expired approval id")]
    NotFound,
    /// It does not say what would be run where.
    #[error("this approval names no arguments or no node; ask again with commandArgv and nodeId")]
    NotForNodes,
    #[error("invalid decision")]
    BadDecision,
    /// Whoever decides cannot have been shown all of it.
    #[error(
        "this command is longer, with its variables, node and warning, than a version-3 client is shown; allow it with a newer client"
    )]
    NotShown,
    #[error("this approval id was used before; ask again with another one")]
    IdUsed,
    #[error("too many commands wait for an approval; decide about some of them, then ask again")]
    TooMany,
    #[error(transparent)]
    BadRequest(#[from] BadRequest),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The service. A cheap clone.
#[derive(Clone)]
pub(crate) struct Approvals {
    store: Arc<dyn ApprovalStore>,
    registry: Arc<Registry>,
    /// Rises with each change of state.
    changes: Arc<watch::Sender<u64>>,
    /// Requests since the start.
    asked: Arc<AtomicU64>,
    pub(crate) policy: Arc<PolicyFile>,
    checks: Arc<Policy>,
}

impl Approvals {
    /// Denies what an earlier life of the daemon left undecided or unused.
    pub(crate) async fn start(
        store: Arc<dyn ApprovalStore>,
        registry: Arc<Registry>,
        policy: PolicyFile,
        checks: Arc<Policy>,
    ) -> Result<Self, StoreError> {
        if checks.denied_by_restart {
            store.restart(now_ms()).await?;
        }
        let approvals = Self {
            store,
            registry,
            changes: Arc::new(watch::Sender::new(0)),
            asked: Arc::default(),
            policy: Arc::new(policy),
            checks,
        };
        approvals.prune().await?;
        Ok(approvals)
    }

    /// Forgets what is old, and what is too many.
    async fn prune(&self) -> Result<(), StoreError> {
        let kept = i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX);
        let before = now_ms().saturating_sub(kept);
        self.store.prune(before, MAX_KEPT).await?;
        Ok(())
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Stores a request and shows it to those who decide. The flag says whether there is anybody;
    /// with nobody to ask it has ended, except for version 3, which waits for somebody to come.
    pub(crate) async fn request(
        &self,
        new: New,
        by: &Conn,
    ) -> Result<(Approval, bool), ApprovalError> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        if asked % PRUNE_EVERY == PRUNE_EVERY - 1 {
            self.prune().await?;
        }
        let approval = new.approval(by.principal.device_id.clone());
        match self.store.insert(&approval, MAX_PENDING).await? {
            Inserted::Stored => {}
            Inserted::IdUsed => return Err(ApprovalError::IdUsed),
            Inserted::TooMany => return Err(ApprovalError::TooMany),
        }
        let has_route = by.version == Protocol::V3
            || self
                .registry
                .any(|conn| conn.id != by.id && self.decides(conn, &approval, Some(by.id)));
        if !has_route {
            let (state, now) = (ApprovalState::NoRoute, now_ms());
            self.store
                .resolve(&approval.id, state, None, None, now)
                .await?;
            return Ok((approval, false));
        }
        tracing::info!(approval = %approval.id, "a command waits for approval");
        self.tell(
            "exec.approval.requested",
            &approval,
            Some(by.id),
            |version| Some(json!(self.row(&approval, version)?)),
        );
        Ok((approval, true))
    }

    /// Waits until it is decided or its time is over. Safe to drop.
    pub(crate) async fn wait(&self, id: &str) -> Result<Approval, ApprovalError> {
        let mut changes = self.changes.subscribe();
        loop {
            let approval = self.store.get(id).await?.ok_or(ApprovalError::NotFound)?;
            if approval.state != ApprovalState::Pending {
                return Ok(approval);
            }
            let left = approval.expires_at - now_ms();
            let Ok(left) = u64::try_from(left) else {
                self.expire_one(id).await?;
                continue;
            };
            let left = Duration::from_millis(left.saturating_add(1));
            if let Ok(Err(_)) = timeout(left, changes.changed()).await {
                // The service is going away; the caller's connection ends with it.
                sleep(left).await;
            }
        }
    }

    async fn expire_one(&self, id: &str) -> Result<(), StoreError> {
        let state = ApprovalState::Expired;
        let ended = self.store.resolve(id, state, None, None, now_ms()).await?;
        if ended.is_some() {
            self.changed();
        }
        Ok(())
    }

    /// Ends the waits whose time is over, and forgets what is old.
    pub(crate) async fn expire(&self) {
        let expired = self.store.expire(now_ms()).await;
        if let Ok(1..) = expired {
            self.changed();
        }
        if let Err(error) = expired.and(self.prune().await) {
            tracing::warn!(%error, "old approvals could not be cleared");
        }
    }

    /// An approval that `by` may see.
    pub(crate) async fn get(&self, id: &str, by: &Principal) -> Result<Approval, ApprovalError> {
        let known = match id {
            "" => None,
            id => self.store.get(id).await?,
        };
        known
            .filter(|approval| !self.checks.approval_privacy || may_see(by, approval))
            .ok_or(ApprovalError::NotFound)
    }

    /// What waits and `by` may see.
    pub(crate) async fn list(
        &self,
        by: &Principal,
        version: Protocol,
    ) -> Result<Vec<ExecApprovalRow>, ApprovalError> {
        let pending = self.store.pending(now_ms()).await?;
        let seen = pending.iter().filter(|approval| may_see(by, approval));
        Ok(seen
            .filter_map(|approval| self.row(approval, version))
            .collect())
    }

    /// Decides; the first to do so has decided.
    pub(crate) async fn resolve(
        &self,
        id: &str,
        decision: &str,
        by: &Conn,
    ) -> Result<Approval, ApprovalError> {
        let decision = Decision::parse(decision).ok_or(ApprovalError::BadDecision)?;
        let approval = self.get(id, &by.principal).await?;
        if !request::allowed(&approval).contains(&decision) {
            return Err(ApprovalError::BadDecision);
        }
        let state = match decision {
            Decision::AllowOnce | Decision::AllowAlways => ApprovalState::Allowed,
            Decision::Deny => ApprovalState::Denied,
        };
        let is_shown = request::shown(&approval, by.version, &self.checks).is_some();
        if state == ApprovalState::Allowed && !is_shown {
            return Err(ApprovalError::NotShown);
        }
        let client = &by.client;
        let name = client.display_name.as_ref().unwrap_or(&client.id);
        let (said, now) = (Some(decision.as_str()), now_ms());
        let done = self
            .store
            .resolve(id, state, said, Some(name.as_str()), now)
            .await?;
        let approval = done.ok_or(ApprovalError::NotFound)?;
        tracing::info!(approval = %id, decision = decision.as_str(), by = %name, "approval decided");
        self.changed();
        self.tell("exec.approval.resolved", &approval, None, |version| {
            let mut payload = json!({
                "id": approval.id, "decision": decision, "resolvedBy": name, "ts": now,
            });
            if version == Protocol::V4 {
                payload["request"] = json!(request::shown(&approval, version, &self.checks));
            }
            Some(payload)
        });
        Ok(approval)
    }

    /// Uses an approval for a command that is about to be sent: once, for what it was asked for, by
    /// whom it was asked for. Dropped, also halfway, it is not used up.
    pub(crate) async fn consume(
        &self,
        id: &str,
        run: &SystemRun,
        node_id: &str,
        device_id: Option<&str>,
        tasks: &TaskTracker,
    ) -> Result<Using, ApprovalError> {
        let approval = self.store.get(id).await?.ok_or(ApprovalError::NotFound)?;
        if approval.device_id.as_deref() != device_id {
            return Err(ApprovalError::NotFound);
        }
        let plan: plan::Plan =
            serde_json::from_str(&approval.plan).map_err(|_| ApprovalError::NotFound)?;
        if !plan.is_for_nodes() {
            return Err(ApprovalError::NotForNodes);
        }
        let asked = plan.of_run(run, node_id).ok_or(ApprovalError::NotFound)?;
        using::begin(self.store.clone(), id.to_owned(), asked.digest(), tasks).await
    }

    /// Tells those who decide about an approval, each in the shape of its version, where that has one.
    fn tell(
        &self,
        name: &'static str,
        approval: &Approval,
        asker: Option<ConnId>,
        payload: impl Fn(Protocol) -> Option<Value>,
    ) {
        for version in [Protocol::V3, Protocol::V4] {
            let Some(payload) = payload(version) else {
                continue;
            };
            let push = Push::plain(name, &payload);
            self.registry.send_where(&push, |conn| {
                conn.version == version && self.decides(conn, approval, asker)
            });
        }
    }

    /// Whether this connection is asked about an approval. Version 3 asks everybody with the scope, the
    /// one who asks included, where all of it can be shown; version 4 those that said they show approvals.
    fn decides(&self, conn: &Conn, approval: &Approval, asker: Option<ConnId>) -> bool {
        let is_asked = match conn.version {
            Protocol::V3 => request::shown(approval, Protocol::V3, &self.checks).is_some(),
            Protocol::V4 => conn.is_approver && Some(conn.id) != asker,
        };
        let principal = &conn.principal;
        principal.satisfies(Needs::Operator(Scope::Approvals))
            && may_see(principal, approval)
            && is_asked
    }

    /// One that waits, as lists and `exec.approval.requested` show it; `None` where a version cannot.
    fn row(&self, approval: &Approval, version: Protocol) -> Option<ExecApprovalRow> {
        Some(ExecApprovalRow {
            id: approval.id.clone(),
            approval_kind: (version == Protocol::V4).then(|| "exec".to_owned()),
            request: request::shown(approval, version, &self.checks)?,
            created_at_ms: approval.created_at,
            expires_at_ms: approval.expires_at,
        })
    }
}

/// Whether somebody with the scope may see, and decide about, an approval: of its own device, or any
/// as admin or as the owner's own command line.
fn may_see(principal: &Principal, approval: &Approval) -> bool {
    let of = approval.device_id.as_deref().unwrap_or_default();
    principal.manages(of)
}
