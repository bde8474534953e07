//! How a held tunnel stands, for people and for programs.

use clawline::layer::printable;
use serde_json::{Value, json};

use super::ask::AskError;
use crate::cli::status::duration;
use crate::cli::tunnel_only::claim::Held;
use crate::cli::tunnel_only::state::{ForwardState, State, now_ms};

/// Longest piece of text on a line.
const MAX_TEXT: usize = 200;

/// What it said, or who holds it and why it says nothing.
pub(super) fn json(held: &Held, answer: &Result<State, AskError>) -> Value {
    match answer {
        Ok(state) => {
            let mut value = serde_json::to_value(state).unwrap_or_default();
            if let Some(object) = value.as_object_mut() {
                object.insert("answers".into(), true.into());
                object.insert("ok".into(), state.is_good().into());
            }
            value
        }
        Err(why) => json!({
            "v": 1,
            "answers": false,
            "ok": false,
            "target": held.holder.target,
            "pid": held.holder.pid,
            "start_time": held.holder.start_time,
            "started": held.holder.since,
            "ends": held.holder.ends,
            "state": match why { AskError::Ended => "stopped", _ => "unknown" },
            "why": why.to_string(),
            "next": why.next(held.holder.pid),
        }),
    }
}

/// The first line: target, state and why.
pub(super) fn headline(held: &Held, answer: &Result<State, AskError>) -> String {
    let target = printable(&held.holder.target, MAX_TEXT);
    match answer {
        Ok(state) => format!("{target}  {}", state.sentence()),
        Err(why) => format!("{target}  {why}"),
    }
}

/// All that a person wants to know.
pub(super) fn lines(held: &Held, answer: &Result<State, AskError>) -> Vec<String> {
    let mut first = headline(held, answer);
    let pid = held.holder.pid;
    let mut lines = Vec::new();
    match answer {
        Ok(state) => {
            first.push_str(&format!("  for {}", ago(state.since)));
            if let Some(rtt) = state.rtt_ms.filter(|_| state.state == "up") {
                first.push_str(&format!("  round trip {rtt} ms"));
            }
            if let Some(at) = state.retry_at {
                first.push_str(&format!("  next try in {}", seconds(at - now_ms())));
            }
            lines.push(format!("{first}  pid {pid}"));
            if !state.peer.is_empty() {
                let peer = printable(&state.peer, MAX_TEXT);
                lines.push(format!("  the other end said: {peer}"));
            }
            lines.extend(state.forwards.iter().map(forward));
            match state.reconnects {
                0 => {}
                1 => lines.push("  connected anew once".into()),
                times => lines.push(format!("  connected anew {times} times")),
            }
        }
        Err(why) => {
            let since = ago(held.holder.since);
            lines.push(format!("{first}  held for {since}  pid {pid}"));
            lines.push(format!("  {}", held.holder.ends.join(", ")));
            let next = why.next(pid);
            if !next.is_empty() {
                lines.push(format!("  next: {next}"));
            }
        }
    }
    lines
}

fn forward(forward: &ForwardState) -> String {
    let (local, remote) = (
        printable(&forward.local, MAX_TEXT),
        printable(&forward.remote, MAX_TEXT),
    );
    let remote = if remote.is_empty() { "?" } else { &remote };
    let refused = match forward.refused {
        0 => String::new(),
        refused => format!(", {refused} turned away"),
    };
    format!(
        "  {local} → {remote}  {} open of {}{refused}, {} up, {} down",
        forward.open,
        forward.total,
        bytes(forward.bytes_up),
        bytes(forward.bytes_down)
    )
}

fn ago(then: i64) -> String {
    duration(u64::try_from((now_ms() - then) / 1000).unwrap_or(0))
}

fn seconds(millis: i64) -> String {
    format!("{} s", (millis.max(0) + 999) / 1000)
}

/// `812 B`, `1.2 MB`.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut tenths = count / 100;
    let mut unit = 0;
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1000;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_in_the_unit_that_fits() {
        for (count, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (999_949, "999.9 kB"),
            (1_250_000, "1.2 MB"),
            (8_000_000_000, "8.0 GB"),
        ] {
            assert_eq!(bytes(count), text);
        }
        assert!(bytes(u64::MAX).ends_with(" PB"));
    }
}
