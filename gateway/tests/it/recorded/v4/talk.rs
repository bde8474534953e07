//! Talking and looking at sessions.

use super::super::table::{Row, added, missing};
use super::super::talk::{say, say_and_stop};
use super::super::{ended, gateway, person};
use super::{ALL, replay};

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

const SESSIONS: &[Row] = &[added("sessions.compact", &["/kept"], "as version 3 has it")];

#[tokio::test]
async fn talks_go_as_recorded() {
    let gateway = gateway().await;
    let mut replay = replay("talk");
    let mut client = person(&gateway, 4, 1, ALL).await;
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
    replay.settle(&[TALK]);
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
