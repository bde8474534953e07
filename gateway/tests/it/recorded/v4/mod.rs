//! Clients of version 4 (2026.9.6): answers and events for which the official schema has no definition.

mod approvals;
mod connects;
mod devices;
mod hello;
mod nodes;
mod rows;
mod session_rows;
mod system;
mod talk;

use super::replay::{Files, Replay, every_event_is_in};

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
    "hello",
    "nodes",
    "rows",
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

/// Reasons that many tables give.
const NO_LOOP: &str = "there is no event loop of JavaScript here";
const NO_PROFILES: &str = "connections belong to no user profile here";
const MORE: &str = "what our own programs show";

/// Recorded events that this gateway does not send, and why.
const NOT_SENT: &[(&str, &str)] = &[
    ("agent command_output delta", NO_TOOLS),
    ("agent command_output end", NO_TOOLS),
    ("agent item end", NO_TOOLS),
    ("agent item start", NO_TOOLS),
    ("agent item update", NO_TOOLS),
    (
        "agent lifecycle fallback_step",
        "it has one model to answer with",
    ),
    ("agent lifecycle finishing", "told with the end"),
    ("agent lifecycle model", "told with each message"),
    ("agent run_status preparing_context", NO_STEPS),
    ("agent run_status preparing_workspace", NO_STEPS),
    ("agent run_status starting_model", NO_STEPS),
    ("agent tool result", NO_TOOLS),
    ("agent tool start", NO_TOOLS),
    ("agent tool update", NO_TOOLS),
    ("agent usage", "what an answer took is told with its end"),
    ("chat status", NO_STEPS),
    (
        "chat.metadata.changed",
        "what there is to choose from changes with the configuration alone",
    ),
    ("chat.send_timing", "how long it took is in the metrics"),
    ("task", "runs are told as runs"),
];
const NO_TOOLS: &str = "its agent has no tools";
const NO_STEPS: &str = "a model is asked at once, there is nothing to prepare";

/// Events that nobody recorded.
const UNRECORDED: &[&str] = &[];

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
