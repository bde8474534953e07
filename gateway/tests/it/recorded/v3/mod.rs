//! Clients of version 3 (2026.2.17).

mod approvals;
mod choices;
mod connects;
mod devices;
mod hello;
mod nodes;
mod sessions;
mod system;
mod talk;
mod usage;

use super::replay::{Files, Replay, every_event_is_in};
use super::table::{Row, added};

macro_rules! recorded {
    ($($name:literal),*) => {
        &[$(($name, include_str!(concat!("../../../data/recorded/v3/", $name, ".jsonl")))),*]
    };
}

const FILES: Files = recorded!(
    "approvals",
    "choices",
    "devices",
    "events",
    "hello",
    "nodes",
    "sessions",
    "system",
    "talk",
    "usage"
);

/// All that a person at the command line is given.
const ALL: &[&str] = &["operator.admin", "operator.approvals", "operator.pairing"];

/// Events that version 3 has and that nobody recorded (PROTOCOL.md §7.3).
const UNRECORDED: &[&str] = &["presence"];

/// Recorded events that this gateway does not send, and why.
const NOT_SENT: &[(&str, &str)] = &[
    ("agent tool start", "its agent has no tools"),
    ("agent tool update", "its agent has no tools"),
    ("agent tool result", "its agent has no tools"),
];

/// Differences of what every client gets.
const COMMON: &[Row] = &[added(
    "connect.challenge",
    &["/payload/capabilities"],
    "what our own programs look for; the version is not known yet, and more in a payload is harmless",
)];

fn replay(subject: &str) -> Replay {
    Replay::of(FILES, subject)
}

#[test]
fn every_recorded_event_is_looked_for_or_knowingly_not_sent() {
    let not_sent: Vec<&str> = NOT_SENT.iter().map(|(kind, _)| *kind).collect();
    every_event_is_in(
        FILES,
        &[
            approvals::EVENTS,
            devices::EVENTS,
            hello::EVENTS,
            nodes::EVENTS,
            system::EVENTS,
            talk::EVENTS,
            &not_sent,
        ],
    );
}
