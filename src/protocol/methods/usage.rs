//! `usage.cost` and `sessions.usage`: tokens and costs.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::sessions::unlisted_in_v3;
use crate::protocol::method::methods;
use crate::protocol::scope::{Needs, Scope};

methods! {
    /// Tokens and costs by day.
    UsageCost = "usage.cost", |_, _| Needs::Operator(Scope::Read), UsageCostParams => Value;
    /// Tokens and costs by session.
    SessionsUsage = "sessions.usage", |version, _| unlisted_in_v3(version), SessionsUsageParams => Value;
}

/// Parameters of `usage.cost`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UsageCostParams {
    /// First day, `YYYY-MM-DD`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_date: Option<String>,
    /// Last day, `YYYY-MM-DD`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_date: Option<String>,
    /// So many days up to today, where no first day is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days: Option<u64>,
    /// Of one agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
}

/// Parameters of `sessions.usage`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionsUsageParams {
    /// One session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// First day, `YYYY-MM-DD`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_date: Option<String>,
    /// Last day, `YYYY-MM-DD`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_date: Option<String>,
    /// `7d`, `30d`, `90d`, `1y`, `all` (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<String>,
    /// Of one agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// At most so many sessions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}
