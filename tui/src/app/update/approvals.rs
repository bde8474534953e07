//! Commands that wait for somebody's yes or no: told, listed, decided here or by somebody else.

use clawline::protocol::methods::approvals::{Decision, ExecApprovalResolved, ExecApprovalRow};

use crate::app::effect::Effect;
use crate::app::model::Model;
use crate::app::msg::Failure;
use crate::widgets::text::one_line;

/// What waits is asked for where the gateway tells it (version 4); what waited before may be decided.
pub(super) fn connected(model: &mut Model, lists: bool) -> Option<Effect> {
    if !lists {
        model.approvals.clear();
    }
    lists.then_some(Effect::ListApprovals)
}

/// One waits.
pub(super) fn requested(model: &mut Model, row: &ExecApprovalRow) {
    let now = model.now;
    if let Some(waiting) = model.approvals.add(row, now.wall_ms) {
        let text = waiting.text.clone();
        model.chat.note(text, false, now);
    }
}

/// All that wait.
pub(super) fn listed(model: &mut Model, result: Result<Vec<ExecApprovalRow>, Failure>) {
    match result {
        Ok(rows) => {
            model.approvals.keep(&rows);
            for row in &rows {
                requested(model, row);
            }
        }
        Err(failure) => tracing::info!(words = failure.words(), "no list of approvals"),
    }
}

/// Somebody decided.
pub(super) fn resolved(model: &mut Model, event: &ExecApprovalResolved) {
    if let Some(number) = model.approvals.decided(&event.id) {
        let by = event.resolved_by.as_deref().map(one_line);
        let by = by.filter(|by| !by.is_empty()).unwrap_or_default();
        say(model, number, event.decision, &by);
    }
}

/// What came of our own word.
pub(super) fn decided(
    model: &mut Model,
    id: &str,
    decision: Decision,
    result: Result<(), Failure>,
) {
    match result {
        Ok(()) => {
            if let Some(number) = model.approvals.decided(id) {
                say(model, number, Some(decision), "you");
            }
        }
        Err(failure) => {
            if matches!(failure, Failure::Refused(_)) {
                // Decided by somebody else, or its time is over.
                model.approvals.decided(id);
            }
            model.remark(format!("not decided: {}", failure.words()), true);
        }
    }
}

fn say(model: &mut Model, number: u32, decision: Option<Decision>, by: &str) {
    let what = match decision {
        Some(Decision::AllowOnce | Decision::AllowAlways) => "was allowed",
        Some(Decision::Deny) => "was turned down",
        None => "was not decided in time",
    };
    let by = match by {
        "" => String::new(),
        by => format!(" by {by}"),
    };
    let now = model.now;
    model
        .chat
        .note(format!("command {number} {what}{by}"), false, now);
}
