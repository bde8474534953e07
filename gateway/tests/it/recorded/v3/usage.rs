//! Tokens and costs.

use serde_json::json;

use super::super::table::{Row, added, missing};
use super::super::{gateway, person, say};
use super::{ALL, replay};

const NOT_MEASURED: &str = "how long answers took is not kept";
const NOT_BY_DAY: &str = "days are told for the whole, not by session";

const DIFFERENCES: &[Row] = &[
    missing(
        "sessions.usage",
        &[
            "/aggregates/dailyLatency/*",
            "/aggregates/latency",
            "/sessions/*/usage/dailyLatency",
            "/sessions/*/usage/durationMs",
            "/sessions/*/usage/firstActivity",
            "/sessions/*/usage/latency",
        ],
        NOT_MEASURED,
    ),
    missing(
        "sessions.usage",
        &[
            "/aggregates/modelDaily/*",
            "/sessions/*/usage/dailyMessageCounts",
            "/sessions/*/usage/dailyModelUsage",
        ],
        NOT_BY_DAY,
    ),
    missing(
        "sessions.usage",
        &[
            "/aggregates/byChannel/*",
            "/sessions/*/channel",
            "/sessions/*/origin",
        ],
        "there are no channels here",
    ),
    missing(
        "sessions.usage",
        &["/sessions/*/modelOverride", "/sessions/*/providerOverride"],
        "`model` and `modelProvider` are the chosen ones already",
    ),
    missing(
        "sessions.usage",
        &["/sessions/*/usage/sessionFile"],
        "transcripts are rows of a database, not files",
    ),
    added(
        "sessions.usage",
        &["/aggregates/byAgent/*/count"],
        "as the groups beside it have it",
    ),
    added(
        "sessions.usage",
        &["/aggregates/costDaily"],
        "an empty list",
    ),
];

#[tokio::test]
async fn usage_and_costs_are_told_as_recorded() {
    let gateway = gateway().await;
    let mut replay = replay("usage");
    let mut client = person(&gateway, 3, 1, ALL).await;
    say(&mut client, "main", "r-1").await;
    let label = json!({"key": "main", "label": "Main"});
    client.ok("sessions.patch", label).await;
    replay.until(&mut client, None).await;
    replay.settle(&[DIFFERENCES]);
}
