//! What models used, as services ask for it.

use std::collections::HashMap;

use async_trait::async_trait;

use super::StoreError;
use crate::sessions::{Day, SessionKey, UsageRow};

type Result<T> = std::result::Result<T, StoreError>;

/// Tokens and costs by day; both days belong to the range.
#[async_trait]
pub trait UsageStore: Send + Sync {
    /// Of every agent, or of one.
    async fn by_agent(&self, from: Day, to: Day, agent: Option<&str>) -> Result<Vec<UsageRow>>;
    /// Of each of these sessions, resets included; those that used nothing are left out.
    async fn by_session(
        &self,
        keys: &[&SessionKey],
        from: Day,
        to: Day,
    ) -> Result<HashMap<SessionKey, Vec<UsageRow>>>;
}
