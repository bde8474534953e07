//! `clawline nodes list` and `describe`: which nodes there are, and everything about one.

use clawline::layer::printable;
use clawline::protocol::methods::NoParams;
use clawline::protocol::methods::nodes::{
    ApprovalState, NodeDescribe, NodeIdParams, NodeList, NodeRow,
};
use serde_json::Value;

use super::{SHORT_ID, find};
use crate::cli::connect::{Answer, Connected};
use crate::cli::failure::Failure;
use crate::cli::status::duration;

pub(super) async fn list(gateway: &Connected) -> Result<Answer, Failure> {
    let reply = gateway.client.call::<NodeList>(NoParams {}).await?;
    let now = jiff::Timestamp::now().as_millisecond();
    let mut answer = Answer::default();
    if reply.nodes.is_empty() {
        answer.say("no nodes; clawline node run makes this machine one");
    } else {
        answer.say(row_text("NODE", "NAME", "STATE", "PLATFORM", "SEEN"));
    }
    for row in &reply.nodes {
        answer.say(list_line(row, now));
    }
    let waiting = reply.nodes.iter().any(|row| {
        matches!(
            row.approval_state,
            Some(ApprovalState::PendingApproval | ApprovalState::PendingReapproval)
        )
    });
    if waiting {
        answer.say("some wait for approval: clawline nodes pending");
    }
    Ok(answer.with(
        "nodes",
        serde_json::to_value(&reply.nodes).unwrap_or_default(),
    ))
}

fn list_line(row: &NodeRow, now: i64) -> String {
    let seen = match (row.connected, row.last_seen_at_ms.or(row.connected_at_ms)) {
        (true, _) => "now".to_owned(),
        (false, Some(at)) => {
            let seconds = u64::try_from((now - at).max(0) / 1000).unwrap_or_default();
            format!("{} ago", duration(seconds))
        }
        (false, None) => "never".to_owned(),
    };
    row_text(
        &printable(&row.node_id, SHORT_ID),
        row.display_name.as_deref().unwrap_or("unnamed"),
        state(row),
        row.platform.as_deref().unwrap_or("?"),
        &seen,
    )
}

/// One line of the table, at most 80 columns.
fn row_text(id: &str, name: &str, state: &str, platform: &str, seen: &str) -> String {
    let line = format!(
        "{:<SHORT_ID$}  {}  {}  {}  {}",
        id,
        column(name, 24),
        column(state, 16),
        column(platform, 8),
        column(seen, 12),
    );
    line.trim_end().to_owned()
}

/// Cleaned text, cut or filled up to `width` columns of the screen.
fn column(text: &str, width: usize) -> String {
    use unicode_width::UnicodeWidthChar as _;
    let (mut out, mut used) = (String::new(), 0);
    for c in printable(text, 200).chars() {
        let wide = c.width().unwrap_or(0);
        if used + wide > width {
            break;
        }
        out.push(c);
        used += wide;
    }
    out.push_str(&" ".repeat(width - used));
    out
}

fn state(row: &NodeRow) -> &'static str {
    match (row.connected, row.approval_state) {
        (_, Some(ApprovalState::PendingApproval)) => "waits",
        (true, Some(ApprovalState::PendingReapproval)) => "asks for more",
        (true, _) => "connected",
        (false, _) => "away",
    }
}

pub(super) async fn describe(gateway: &Connected, node: &str) -> Result<Answer, Failure> {
    let node_id = find(gateway, node).await?.node_id;
    let reply = gateway
        .client
        .call::<NodeDescribe>(NodeIdParams { node_id })
        .await?;
    let row = &reply.node;
    let mut answer = Answer::default();
    let mut say = |name: &str, text: &str| {
        if !text.is_empty() {
            answer.say(format!("{name:<9} {}", printable(text, 400)));
        }
    };
    say("node", &row.node_id);
    say("name", row.display_name.as_deref().unwrap_or("unnamed"));
    say("state", state(row));
    let platform = [
        row.platform.as_deref(),
        row.device_family.as_deref(),
        row.version.as_deref(),
    ];
    say("system", &platform.map(Option::unwrap_or_default).join(" "));
    say("address", row.remote_ip.as_deref().unwrap_or_default());
    say("has", &row.caps.join(", "));
    say("can", &row.commands.join(", "));
    if let Some(wanted) = &row.pending_declared_commands {
        say("asks for", &wanted.join(", "));
    }
    if let Some(request) = &row.pending_request_id {
        say("approve", &format!("clawline nodes approve {request}"));
    }
    if let Some(stats) = &row.host_stats {
        say("load", &load(stats));
    }
    Ok(answer.with("node", serde_json::to_value(&reply).unwrap_or_default()))
}

fn load(stats: &Value) -> String {
    const GIB: f64 = 1_073_741_824.0;
    let gib = |name: &str| stats[name].as_f64().unwrap_or_default() / GIB;
    format!(
        "{:.2} of {} processors, {:.1} of {:.1} GiB memory free, {:.1} of {:.1} GiB disk free",
        stats["loadAverage"][0].as_f64().unwrap_or_default(),
        stats["cpuCount"].as_u64().unwrap_or_default(),
        gib("memoryFreeBytes"),
        gib("memoryTotalBytes"),
        gib("diskAvailableBytes"),
        gib("diskTotalBytes"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_fits_80_columns_and_shows_no_control_characters() {
        use unicode_width::UnicodeWidthStr as _;
        let hostile = format!("a\u{1b}[2J\u{202e}{}", "漢".repeat(100));
        let row = NodeRow {
            platform: Some(hostile.clone()),
            node_id: "f".repeat(64),
            display_name: Some(hostile),
            ..NodeRow::default()
        };
        let line = list_line(&row, 0);
        assert!(line.width() <= 80, "{line}");
        assert!(!line.chars().any(char::is_control) && !line.contains('\u{202e}'));
    }
}
