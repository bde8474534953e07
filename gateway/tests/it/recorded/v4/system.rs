//! Looks at the gateway, its configuration and its costs.

use serde_json::json;

use super::super::table::{Row, added, free, missing, typed, words};
use super::super::{gateway, person, say};
use super::{ALL, MORE, NO_LOOP, NO_PROFILES, UNRECORDED, replay};
use crate::support::Client;

pub const EVENTS: &[&str] = &["heartbeat"];

const NO_JOBS: &str = "there are no jobs here; OpenClaw's own gateway lists three of its own";

const SYSTEM: &[Row] = &[
    missing("cron.list", &["/jobs/*"], NO_JOBS),
    missing(
        "cron.status",
        &["/sqlitePath", "/storage", "/triggersEnabled"],
        NO_JOBS,
    ),
    typed("cron.status", &["/nextWakeAtMs"], NO_JOBS),
    free("cron.list", &["/deliveryPreviews"], NO_JOBS),
    missing("health", &["/eventLoop"], NO_LOOP),
    missing(
        "health",
        &["/plugins/loaded/*"],
        "there are no plugins here",
    ),
    added(
        "health",
        &[
            "/config",
            "/connections",
            "/nodes",
            "/runs",
            "/store",
            "/uptimeMs",
        ],
        MORE,
    ),
    missing(
        "heartbeat",
        &[
            "/payload/durationMs",
            "/payload/hasMedia",
            "/payload/message",
        ],
        "it tells that somebody was woken, and no message of a channel",
    ),
    missing("heartbeat", &["/recipientProfileId"], NO_PROFILES),
    words(
        "send",
        "how a channel is added there is of no use here, where there is none",
    ),
    missing("system-presence", &["/*/user"], NO_PROFILES),
];

const CHOICES: &[Row] = &[
    free(
        "config.get",
        &[
            "/config",
            "/parsed",
            "/resolved",
            "/runtimeConfig",
            "/sourceConfig",
        ],
        "the configuration is the user's",
    ),
    missing(
        "config.get",
        &[
            "/agentRosterIncludeOwned",
            "/bindingsIncludeOwned",
            "/includeProvenance",
        ],
        "one file holds our configuration, it includes no other",
    ),
    missing(
        "config.get",
        &["/appliedConfigHash", "/configRevisionHash"],
        "`hash` names the file; what of it is not applied is in `issues`",
    ),
];

const USAGE: &[Row] = &[
    missing(
        "sessions.usage",
        &["/cacheStatus"],
        "sums are read from the database, not from a cache",
    ),
    missing(
        "usage.cost",
        &["/cacheStatus"],
        "sums are read from the database, not from a cache",
    ),
    missing(
        "sessions.usage",
        &[
            "/creatorOptions",
            "/sessions/*/createdActor",
            "/sessions/*/creatorKey",
        ],
        "who began a session is not kept",
    ),
    missing(
        "sessions.usage",
        &["/aggregates/sessionCount", "/sessions/*/hasContextWeight"],
        "`sessions` can be counted; there is no prompt that is put together",
    ),
    missing(
        "sessions.usage",
        &["/sessions/*/modelOverride", "/sessions/*/providerOverride"],
        "`model` and `modelProvider` are the chosen ones already",
    ),
    added(
        "sessions.usage",
        &[
            "/aggregates/byAgent/*",
            "/aggregates/byModel/*",
            "/aggregates/byProvider/*",
            "/aggregates/daily/*",
        ],
        "the recorded gateway had not read its files yet; as version 3 has them",
    ),
    typed(
        "sessions.usage",
        &["/sessions/*/usage"],
        "the recorded gateway had not read its files yet; as version 3 has it",
    ),
];

#[tokio::test]
async fn looks_at_the_gateway_are_answered_as_recorded() {
    let gateway = gateway().await;
    for (subject, rows) in [("system", SYSTEM), ("choices", CHOICES), ("usage", USAGE)] {
        let mut replay = replay(subject);
        let seed = u8::try_from(subject.len()).unwrap();
        let mut client: Client = person(&gateway, 4, seed, ALL).await;
        say(&mut client, "main", subject).await;
        let label = json!({"key": "main", "label": "Main"});
        client.ok("sessions.patch", label).await;
        replay.until(&mut client, None).await;
        if subject == "system" {
            client.event("voicewake.changed").await;
            let mut watcher = person(&gateway, 4, 100, &["operator.pairing"]).await;
            let wake = json!({"mode": "now", "text": "look at the disk"});
            client.ok("wake", wake).await;
            watcher.event("heartbeat").await;
            replay.events(&[&watcher], EVENTS, UNRECORDED);
        }
        replay.settle(&[rows]);
    }
}
