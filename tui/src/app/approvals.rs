//! Commands that wait at the gateway for somebody's yes or no.
//!
//! Each has a number of our own, which is never given again: ids are the asker's choice, and a number
//! that was read on screen means that very command or nothing.

use clawline::protocol::methods::approvals::ExecApprovalRow;
use serde_json::Value;

use crate::node_host::command_text::{MAX_SHOWN, format, visible};

/// Most that are remembered; more are left to whoever else decides.
const MAX_WAITING: usize = 64;
/// Longest text beside the command, in bytes.
const MAX_TEXT: usize = 1024;
/// Most names of variables that are shown.
const MAX_NAMES: usize = 64;

/// What waits, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Approvals {
    waiting: Vec<Waiting>,
    last_number: u32,
}

/// One command that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// Ours.
    pub(crate) number: u32,
    /// The gateway's.
    pub(crate) id: String,
    /// Everything a person has to know; nothing in it is hidden or cut.
    pub(crate) text: String,
    /// Why it cannot be allowed here; `None` when it can.
    pub(crate) unclear: Option<&'static str>,
    expires_at_ms: i64,
}

impl Approvals {
    /// Takes note of one; it comes back when it is new and was noted.
    pub(crate) fn add(&mut self, row: &ExecApprovalRow, now_ms: i64) -> Option<&Waiting> {
        self.waiting
            .retain(|waiting| waiting.expires_at_ms > now_ms);
        let is_known = self.waiting.iter().any(|waiting| waiting.id == row.id);
        let is_over = row.expires_at_ms <= now_ms;
        if is_known || is_over || row.id.is_empty() || self.waiting.len() >= MAX_WAITING {
            return None;
        }
        self.last_number += 1;
        let (text, unclear) = words(self.last_number, &row.request);
        self.waiting.push(Waiting {
            number: self.last_number,
            id: row.id.clone(),
            text,
            unclear,
            expires_at_ms: row.expires_at_ms,
        });
        self.waiting.last()
    }

    /// Forgets what the gateway does not list any more.
    pub(crate) fn keep(&mut self, listed: &[ExecApprovalRow]) {
        self.waiting
            .retain(|waiting| listed.iter().any(|row| row.id == waiting.id));
    }

    /// Forgets one that was decided; its number when it waited here.
    pub(crate) fn decided(&mut self, id: &str) -> Option<u32> {
        let at = self.waiting.iter().position(|waiting| waiting.id == id)?;
        Some(self.waiting.remove(at).number)
    }

    /// Forgets all of them.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// The one with this number, if it still waits.
    pub(crate) fn find(&self, number: u32, now_ms: i64) -> Option<&Waiting> {
        self.waiting(now_ms)
            .find(|waiting| waiting.number == number)
    }

    /// What waits and is not over, the oldest first.
    pub(crate) fn waiting(&self, now_ms: i64) -> impl Iterator<Item = &Waiting> {
        let waiting = self.waiting.iter();
        waiting.filter(move |waiting| waiting.expires_at_ms > now_ms)
    }
}

/// What is shown of a request, and why it cannot be allowed from here.
fn words(number: u32, request: &Value) -> (String, Option<&'static str>) {
    let text = |name: &str| request[name].as_str().unwrap_or_default();
    let command = match (text("command"), words_of(request)) {
        ("", Some(argv)) => format(&argv),
        (command, _) => visible(command),
    };
    let unclear = match command.len() {
        0 => Some("the gateway did not say which command it is"),
        length if length > MAX_SHOWN => Some("it is too long to be shown whole"),
        _ => None,
    };
    let mut lines = vec![format!("command {number} waits for a yes or no")];
    let mut row = |name: &str, value: &str| {
        if !value.is_empty() {
            lines.push(format!("  {name:<10} {value}"));
        }
    };
    row("command", unclear.unwrap_or(&command));
    let short = |name: &str| -> String {
        let value = visible(text(name));
        match value.len() > MAX_TEXT {
            true => "too long to be shown".to_owned(),
            false => value,
        }
    };
    row("directory", &short("cwd"));
    row("program", &short("resolvedPath"));
    row("on", &place(&short("host"), &short("nodeId")));
    row("variables", &names(&request["envKeys"]));
    row("agent", &short("agentId"));
    row("session", &short("sessionKey"));
    row("careful", &short("warningText"));
    let next = match unclear {
        None => format!("/allow {number} lets it run once, /deny {number} turns it down"),
        Some(_) => format!("it cannot be allowed here; /deny {number} turns it down"),
    };
    lines.push(next);
    (lines.join("\n"), unclear)
}

fn words_of(request: &Value) -> Option<Vec<String>> {
    serde_json::from_value(request["commandArgv"].clone()).ok()
}

fn place(host: &str, node: &str) -> String {
    match (host, node) {
        (_, "") if host == "gateway" => "the gateway's machine".to_owned(),
        (host, "") => host.to_owned(),
        (_, node) => format!("node {node}"),
    }
}

fn names(names: &Value) -> String {
    let names = names.as_array().map_or(&[][..], Vec::as_slice);
    let shown: Vec<String> = names
        .iter()
        .filter_map(Value::as_str)
        .take(MAX_NAMES)
        .map(visible)
        .collect();
    match names.len() > MAX_NAMES {
        true => format!("{} and more", shown.join(" ")),
        false => shown.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(id: &str, request: Value) -> ExecApprovalRow {
        ExecApprovalRow {
            id: id.into(),
            request,
            expires_at_ms: 100,
            ..ExecApprovalRow::default()
        }
    }

    #[test]
    fn a_number_means_one_command_for_ever() {
        let mut approvals = Approvals::default();
        let request = json!({"command": "ls"});
        assert_eq!(
            approvals.add(&row("a", request.clone()), 0).unwrap().number,
            1
        );
        assert_eq!(approvals.add(&row("a", request.clone()), 0), None);
        assert_eq!(approvals.decided("a"), Some(1));
        assert_eq!(approvals.decided("a"), None);
        assert_eq!(
            approvals.add(&row("b", request.clone()), 0).unwrap().number,
            2
        );
        assert_eq!(approvals.add(&row("late", request), 100), None);
        assert_eq!(approvals.waiting(100).count(), 0, "its time is over");
    }

    #[test]
    fn nothing_is_hidden_and_what_cannot_be_shown_whole_cannot_be_allowed() {
        let request = json!({
            "command": "echo a\u{202e}b\ncurl x | sh", "cwd": "/srv", "host": "node", "nodeId": "n1",
            "envKeys": ["A"], "warningText": "contains invisible characters",
        });
        let (text, unclear) = words(7, &request);
        assert_eq!(unclear, None);
        assert!(text.contains("echo a\\u{202E}b\\u{A}curl x | sh"), "{text}");
        for part in ["/srv", "node n1", "variables  A", "careful", "/allow 7"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let (text, unclear) = words(8, &json!({"command": "x".repeat(MAX_SHOWN + 1)}));
        assert!(unclear.is_some() && !text.contains("/allow"), "{text}");
        assert!(words(9, &json!({})).1.is_some());
        assert!(
            words(9, &json!({"commandArgv": ["a b"]}))
                .0
                .contains("'a b'")
        );
    }

    #[test]
    fn a_flood_is_bounded() {
        let mut approvals = Approvals::default();
        for n in 0..MAX_WAITING + 5 {
            approvals.add(&row(&n.to_string(), json!({"command": "ls"})), 0);
        }
        assert_eq!(approvals.waiting(0).count(), MAX_WAITING);
    }
}
