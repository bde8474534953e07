//! What models used, as services ask for it.

use async_trait::async_trait;

use super::StoreError;
use crate::sessions::{Day, SessionKey, UsageRow};

type Result<T> = std::result::Result<T, StoreError>;

/// Tokens and costs by day; both days belong to the range.
#[async_trait]
pub trait UsageStore: Send + Sync {
    /// Of every agent, or of one.
    async fn by_agent(&self, from: Day, to: Day, agent: Option<&str>) -> Result<Vec<UsageRow>>;
    /// Of one session, resets included.
    async fn by_session(&self, key: &SessionKey, from: Day, to: Day) -> Result<Vec<UsageRow>>;
}
