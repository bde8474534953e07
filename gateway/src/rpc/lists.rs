//! Lists that official clients ask for when they start, and of which this gateway has nothing yet.

use std::path::Path;

use clawline::protocol::methods::lists::{
    CronList, CronStatus, PluginApprovalList, QuestionList, TaskSuggestionsList,
};
use serde_json::{Value, json};

use super::{Call, Failure, Table};
use crate::state::App;

pub(crate) fn rows(table: Table) -> Table {
    table
        .on::<CronList, _>(cron_list)
        .on::<CronStatus, _>(cron_status)
        .on::<PluginApprovalList, _>(plugin_approval_list)
        .on::<QuestionList, _>(question_list)
        .on::<TaskSuggestionsList, _>(task_suggestions_list)
}

/// An empty page, with the page size that was asked for: version 4 refuses one of no size, or of no revision.
async fn cron_list(_: App, call: Call<CronList>) -> Result<Value, Failure> {
    let asked = call.params.get("limit").and_then(Value::as_u64);
    Ok(json!({
        "jobs": [], "total": 0, "offset": 0, "limit": asked.unwrap_or(50).clamp(1, 200),
        "hasMore": false, "nextOffset": null, "snapshotRevision": "0", "deliveryPreviews": {},
    }))
}

async fn cron_status(app: App, call: Call<CronStatus>) -> Result<Value, Failure> {
    let path = call.whereabouts(&app).path(Path::new(&app.store_path));
    Ok(json!({
        "enabled": false, "storePath": path, "jobs": 0, "nextWakeAtMs": null,
    }))
}

async fn plugin_approval_list(_: App, _: Call<PluginApprovalList>) -> Result<Value, Failure> {
    Ok(json!([]))
}

async fn question_list(_: App, _: Call<QuestionList>) -> Result<Value, Failure> {
    Ok(json!({"questions": []}))
}

async fn task_suggestions_list(_: App, _: Call<TaskSuggestionsList>) -> Result<Value, Failure> {
    Ok(json!({"suggestions": []}))
}
