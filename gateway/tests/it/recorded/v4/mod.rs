//! Clients of version 4 (2026.9.6): answers and events for which the official schema has no definition.
//!
//! Left out are rows of sessions, pages of history, a run's last answer and `status`: theirs have far more members
//! than ours, which clients do without.

mod approvals;
mod connects;
mod devices;
mod nodes;
mod system;
mod talk;

use super::replay::{Files, Replay};

macro_rules! recorded {
    ($($name:literal),*) => {
        &[$(($name, include_str!(concat!("../../../data/recorded/v4/", $name, ".jsonl")))),*]
    };
}

const FILES: Files = recorded!(
    "approvals",
    "choices",
    "devices",
    "events",
    "nodes",
    "sessions",
    "system",
    "talk",
    "usage"
);

/// What the recording client asked for.
const ALL: &[&str] = &[
    "operator.admin",
    "operator.read",
    "operator.write",
    "operator.approvals",
    "operator.pairing",
    "operator.questions",
];

/// Events that the schema defines: what it says of them is checked with every frame of every test.
const DEFINED: &[&str] = &[
    "agent assistant",
    "agent lifecycle end",
    "agent lifecycle error",
    "agent lifecycle start",
    "chat aborted",
    "chat delta",
    "chat error",
    "chat final",
    "connect.challenge",
    "device.pair.requested",
    "device.pair.resolved",
    "node.invoke.request",
    "presence",
    "tick",
];

fn replay(subject: &str) -> Replay {
    Replay::of(FILES, subject)
}
