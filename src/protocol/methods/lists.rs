//! Lists that official clients ask for when they start; empty where the gateway has none of it.

use serde_json::Value;

use crate::protocol::method::methods;
use crate::protocol::scope::{Needs, Scope};

methods! {
    /// `{jobs, …}`.
    CronList = "cron.list", |_, _| Needs::Operator(Scope::Read), Value => Value;
    /// `{enabled, jobs, nextWakeAtMs}`.
    CronStatus = "cron.status", |_, _| Needs::Operator(Scope::Read), Value => Value;
    /// A bare array (version 4).
    PluginApprovalList = "plugin.approval.list", |_, _| Needs::Operator(Scope::Approvals), Value => Value;
    /// `{questions}` (version 4).
    QuestionList = "question.list", |_, _| Needs::Operator(Scope::Questions), Value => Value;
    /// `{suggestions}` (version 4).
    TaskSuggestionsList = "taskSuggestions.list", |_, _| Needs::Operator(Scope::Read), Value => Value;
}
