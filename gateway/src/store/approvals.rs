//! What the store keeps of approvals.

use async_trait::async_trait;

use super::StoreError;

type Result<T> = std::result::Result<T, StoreError>;

/// How far an approval is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApprovalState {
    /// Nobody has decided yet.
    Pending,
    /// Allowed, and not used yet.
    Allowed,
    /// Allowed and used.
    Used,
    Denied,
    /// Nobody decided in time.
    Expired,
    /// There was nobody to ask.
    NoRoute,
    /// The gateway was started again before it was decided or used: denied.
    Restarted,
}

impl ApprovalState {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Allowed,
        Self::Used,
        Self::Denied,
        Self::Expired,
        Self::NoRoute,
        Self::Restarted,
    ];

    /// The text in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Allowed => "allowed",
            Self::Used => "used",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::NoRoute => "no-route",
            Self::Restarted => "restarted",
        }
    }
}

/// A request for approval of one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    pub id: String,
    pub state: ApprovalState,
    /// JSON
    pub plan: String,
    /// SHA-256 of the plan in hexadecimal.
    pub digest: String,
    /// JSON
    pub request: String,
    pub device_id: Option<String>,
    pub decision: Option<String>,
    pub resolved_by: Option<String>,
    pub created_at: i64,
    pub expires_at: i64,
    pub resolved_at: Option<i64>,
}

/// How many approvals may wait at the same time.
#[derive(Debug, Clone, Copy)]
pub struct PendingBounds {
    pub all: i64,
    /// Those that one device asked for.
    pub of_device: i64,
}

/// What became of a request for approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    Stored,
    /// The id was used before.
    IdUsed,
    TooMany,
}

/// Approvals. Each change of state is one statement that names the state before it.
#[async_trait]
pub trait ApprovalStore: Send + Sync {
    /// Stores a new one, within the bounds.
    async fn insert(&self, approval: &Approval, bounds: PendingBounds) -> Result<Inserted>;
    async fn get(&self, id: &str) -> Result<Option<Approval>>;
    /// Those that wait and have not expired, the oldest first.
    async fn pending(&self, now: i64) -> Result<Vec<Approval>>;
    /// Ends the wait; `None` when it had ended, or expired.
    async fn resolve(
        &self,
        id: &str,
        state: ApprovalState,
        decision: Option<&str>,
        by: Option<&str>,
        now: i64,
    ) -> Result<Option<Approval>>;
    /// Uses an allowed one for what it was asked for: the first to come has it.
    async fn consume(&self, id: &str, digest: &str, now: i64) -> Result<Option<Approval>>;
    /// Takes back that it was used: only for whoever used it, and has not done with it what it is for.
    async fn give_back(&self, id: &str, digest: &str) -> Result<()>;
    /// Ends the waits whose time is over.
    async fn expire(&self, now: i64) -> Result<u64>;
    /// At start: what was not decided or not used is denied.
    async fn restart(&self, now: i64) -> Result<()>;
    /// Forgets those that do not wait and are older than `before`, or not among the newest `keep`;
    /// how many.
    async fn prune(&self, before: i64, keep: i64) -> Result<u64>;
}
