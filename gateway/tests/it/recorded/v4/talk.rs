//! Talking and looking at sessions.

use serde_json::json;

use super::super::replay::Part;
use super::super::table::{Row, added, less, missing};
use super::super::talk::{say, say_and_stop};
use super::super::{ended, gateway, person};
use super::{ALL, MORE, NO_PROFILES, UNRECORDED, replay};

pub const EVENTS: &[&str] = &[
    "agent assistant",
    "agent lifecycle end",
    "agent lifecycle error",
    "agent lifecycle start",
    "chat aborted",
    "chat delta",
    "chat error",
    "chat final",
    "session.message",
    "sessions.changed",
];

/// Rows that events have.
const PARTS: &[Part] = &[
    ("session.message", "/payload/message", "message"),
    ("session.message", "/payload/session", "session"),
    ("sessions.changed", "/payload/session", "session"),
];

const TALK: &[Row] = &[
    added(
        "agent refused",
        &["/details"],
        "more in `details` is harmless",
    ),
    missing(
        "agent.wait",
        &["/livenessState", "/terminalReceipt"],
        "reports on tools and billing",
    ),
    added("agent.wait", &["/startedAt"], "as version 3 has it"),
    added(
        "chat.abort",
        &["/runIds/*"],
        "what was stopped; the recorded run was over before it was to be stopped",
    ),
    missing(
        "chat.send",
        &["/serverTiming"],
        "how long it took is in the metrics",
    ),
    missing(
        "sessions.send",
        &["/serverTiming"],
        "how long it took is in the metrics",
    ),
];

const TOLD: &[Row] = &[
    missing("chat aborted", &["/recipientProfileId"], NO_PROFILES),
    missing("chat error", &["/recipientProfileId"], NO_PROFILES),
    missing(
        "agent lifecycle error",
        &["/recipientProfileId"],
        NO_PROFILES,
    ),
    missing("session.message", &["/recipientProfileId"], NO_PROFILES),
    missing("sessions.changed", &["/recipientProfileId"], NO_PROFILES),
    missing(
        "agent assistant",
        &["/payload/data/itemId"],
        "an answer is one text, without items",
    ),
    added("agent assistant", &["/payload/sessionId"], AS_ELSEWHERE),
    missing(
        "agent lifecycle error",
        &[
            "/payload/data/aborted",
            "/payload/data/executionSettled",
            "/payload/isHeartbeat",
        ],
        "a run that failed is over, and was neither stopped nor woken",
    ),
    added(
        "agent lifecycle start",
        &["/payload/data/model", "/payload/data/provider"],
        "theirs tells them a moment later, in an event of its own",
    ),
    added(
        "chat aborted",
        &[
            "/payload/message/__openclaw",
            "/payload/message/aborted",
            "/payload/message/model",
            "/payload/message/provider",
            "/payload/message/stopReason",
        ],
        "as history has them",
    ),
    added(
        "chat error",
        &["/payload/errorKind", "/payload/message"],
        "why it failed, and what was said until then",
    ),
    missing(
        "chat final",
        &["/payload/message/__openclaw/contextFreeCommand"],
        "of an answer to a command",
    ),
    added(
        "chat final",
        &[
            "/payload/message/__openclaw/id",
            "/payload/message/__openclaw/runId",
            "/payload/message/__openclaw/seq",
        ],
        "as history has them",
    ),
    added(
        "chat final",
        &["/payload/usage"],
        "where the agent says it (PROTOCOL.md §7.7); the recorded model did not",
    ),
    missing(
        "message",
        &[
            "/__openclaw/recordTimestampMs",
            "/__openclaw/transcriptPosition",
        ],
        "`timestamp` and `__openclaw.seq` tell it",
    ),
    added("message", &["/aborted", "/errorMessage"], AS_ELSEWHERE),
    less("session", &[""], "rows of sessions are compared in lists"),
    added("session", &["/lifecycleRevision", "/messageCount"], MORE),
    less(
        "session.message",
        &["/payload"],
        "theirs repeats the row of the session beside the message, nulls included",
    ),
    less(
        "sessions.changed",
        &["/payload"],
        "theirs repeats the row of the session beside the row, nulls included",
    ),
];

const AS_ELSEWHERE: &str = "as other events and history have it";

const SESSIONS: &[Row] = &[added("sessions.compact", &["/kept"], "as version 3 has it")];

#[tokio::test]
async fn talks_go_as_recorded() {
    let gateway = gateway().await;
    let mut replay = replay("talk").with_parts(PARTS);
    let mut client = person(&gateway, 4, 1, ALL).await;
    client.ok("sessions.subscribe", json!({})).await;
    super::super::say(&mut client, "main", "r-1").await;
    replay.next(&mut client, "chat.inject").await;
    replay.next(&mut client, "chat.send").await;
    replay.next(&mut client, "chat.send").await;
    say(&mut replay, &mut client, "chat.send").await;
    replay.next(&mut client, "agent.wait").await;
    replay.next(&mut client, "agent.wait").await;
    say_and_stop(&mut replay, &mut client, "chat.send", "chat.abort").await;
    replay.next(&mut client, "chat.abort").await;
    replay.next(&mut client, "chat.abort").await;
    let run = replay.next(&mut client, "agent").await;
    let run = run["payload"]["runId"].as_str().unwrap().to_owned();
    ended(&mut client, &run).await;
    replay.until(&mut client, Some("sessions.send")).await;
    say_and_stop(&mut replay, &mut client, "sessions.send", "sessions.abort").await;
    replay.until(&mut client, None).await;
    // A model that fails.
    let failing = json!({"key": "main", "model": "nobody/x"});
    client.ok("sessions.patch", failing).await;
    super::super::say(&mut client, "main", "r-9").await;
    replay.events(&[&client], EVENTS, UNRECORDED);
    replay.settle(&[TALK, TOLD]);
}

#[tokio::test]
async fn sessions_are_looked_at_and_followed_as_recorded() {
    let gateway = gateway().await;
    let mut replay = replay("sessions");
    let mut client = person(&gateway, 4, 1, ALL).await;
    super::super::say(&mut client, "main", "r-1").await;
    replay.until(&mut client, None).await;
    replay.settle(&[SESSIONS]);
}
