//! Talking: a message and its answer, stopping it, notes, history, and runs from a command line.

use serde_json::json;

use super::super::table::{Row, added, missing};
use super::super::talk::{say, say_and_stop};
use super::super::{ended, gateway, person};
use super::{ALL, COMMON, UNRECORDED, replay};

pub const EVENTS: &[&str] = &[
    "agent assistant",
    "agent lifecycle end",
    "agent lifecycle error",
    "agent lifecycle start",
    "chat aborted",
    "chat delta",
    "chat error",
    "chat final",
];

/// How a run ended is told with its last text.
pub const TOLD_AT_THE_END: Row = added(
    "chat final",
    &["/payload/stopReason", "/payload/usage"],
    "version 3 has both where its agent says them (PROTOCOL.md §7.7); the recorded model did not",
);

const DIFFERENCES: &[Row] = &[
    TOLD_AT_THE_END,
    missing(
        "agent",
        &[
            "/result/meta/agentMeta/lastCallUsage",
            "/result/meta/agentMeta/promptTokens",
            "/result/meta/systemPromptReport",
        ],
        "one call of the model makes an answer, and there is no prompt that is put together",
    ),
    added(
        "agent",
        &[
            "/result/meta/agentMeta/usage/cacheRead",
            "/result/meta/agentMeta/usage/cacheWrite",
            "/result/meta/agentMeta/usage/cost",
        ],
        "as version 3 tells them of its last call, and what they cost",
    ),
    added(
        "agent refused",
        &["/details"],
        "more in `details` is harmless",
    ),
    added(
        "chat aborted",
        &[
            "/payload/message/model",
            "/payload/message/provider",
            "/payload/message/stopReason",
        ],
        "as history has them; version 3 sends them with notes",
    ),
    added(
        "chat error",
        &["/payload/message"],
        "what was said until then",
    ),
    missing(
        "chat.history",
        &["/messages/*/api"],
        "providers are told by name alone",
    ),
    missing(
        "chat.history",
        &[
            "/messages/*/content/*/arguments",
            "/messages/*/content/*/id",
            "/messages/*/content/*/name",
            "/messages/*/isError",
            "/messages/*/toolCallId",
            "/messages/*/toolName",
        ],
        "its agent has no tools",
    ),
    added(
        "chat.history",
        &["/messages/*/errorMessage"],
        "why an answer ended is kept with it",
    ),
];

#[tokio::test]
async fn talks_go_as_recorded() {
    let gateway = gateway().await;
    let mut replay = replay("talk");
    let mut client = person(&gateway, 3, 1, ALL).await;
    // The command line.
    replay.next(&mut client, "agent").await;
    // The terminal program.
    replay.next(&mut client, "chat.history").await;
    say(&mut replay, &mut client, "chat.send").await;
    say_and_stop(&mut replay, &mut client, "chat.send", "chat.abort").await;
    client.ok("sessions.reset", json!({"key": "main"})).await;
    replay.next(&mut client, "chat.history").await;
    // One of each method.
    super::super::say(&mut client, "main", "r-1").await;
    replay.next(&mut client, "chat.history").await;
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
    replay.until(&mut client, Some("chat.send")).await;
    // Tools were called here, and the last model failed.
    for _ in 0..3 {
        say(&mut replay, &mut client, "chat.send").await;
    }
    let failing = json!({"key": "main", "model": "nobody/x", "verboseLevel": "full"});
    client.ok("sessions.patch", failing).await;
    say(&mut replay, &mut client, "chat.send").await;
    replay.next(&mut client, "chat.history").await;
    replay.events(&[&client], EVENTS, UNRECORDED);
    replay.settle(&[COMMON, DIFFERENCES]);
}
