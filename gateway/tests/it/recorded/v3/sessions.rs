//! Sessions: listed, looked at, changed, emptied and removed.

use super::super::table::{Row, added, missing, words};
use super::super::{gateway, person, say};
use super::{ALL, replay};

const NO_CHANNELS: &str = "there are no channels here that a session could have come from";

const DIFFERENCES: &[Row] = &[
    missing(
        "sessions.list",
        &[
            "/sessions/*/channel",
            "/sessions/*/deliveryContext",
            "/sessions/*/displayName",
            "/sessions/*/lastChannel",
            "/sessions/*/origin",
        ],
        NO_CHANNELS,
    ),
    missing(
        "sessions.patch",
        &[
            "/entry/deliveryContext",
            "/entry/lastChannel",
            "/entry/origin",
        ],
        NO_CHANNELS,
    ),
    missing(
        "sessions.reset",
        &["/entry/lastChannel", "/entry/origin"],
        NO_CHANNELS,
    ),
    missing(
        "sessions.patch",
        &["/entry/skillsSnapshot", "/entry/systemPromptReport"],
        "its agent has neither skills nor a prompt that is put together",
    ),
    missing(
        "sessions.reset",
        &["/entry/skillsSnapshot"],
        "its agent has no skills",
    ),
    missing(
        "sessions.patch",
        &["/entry/sessionFile"],
        "transcripts are rows of a database, not files",
    ),
    missing(
        "sessions.delete",
        &["/archived/*"],
        "a deleted transcript is gone, there is no file to name",
    ),
    missing(
        "sessions.patch",
        &["/entry/compactionCount"],
        "compactions are not counted",
    ),
    missing(
        "sessions.patch",
        &["/entry/modelOverride", "/entry/providerOverride"],
        "`model` and `modelProvider` are the chosen ones already",
    ),
    added(
        "sessions.reset",
        &["/entry/chatType", "/entry/modelProvider"],
        "as `sessions.patch` of version 3 has them",
    ),
    words(
        "sessions.patch",
        "ours names the third level of verbosity too, which both take",
    ),
];

#[tokio::test]
async fn sessions_are_listed_and_changed_as_recorded() {
    let gateway = gateway().await;
    let mut replay = replay("sessions");
    let mut client = person(&gateway, 3, 1, ALL).await;
    say(&mut client, "main", "r-1").await;
    // Up to the first list of the second recording, before which somebody had talked again.
    replay.some(&mut client, 8).await;
    say(&mut client, "main", "r-2").await;
    replay.until(&mut client, None).await;
    replay.settle(&[DIFFERENCES]);
}
