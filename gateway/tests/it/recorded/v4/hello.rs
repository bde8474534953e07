//! Connecting: what each official client is greeted with.

use super::super::table::{Row, added, missing};
use super::super::{gateway, hello, person, say};
use super::{ALL, MORE, NO_LOOP, UNRECORDED, replay};
use crate::support::Client;

pub const EVENTS: &[&str] = &[
    "connect.challenge",
    "presence",
    "shutdown",
    "health",
    "tick",
];

const NO_UI: &str = "no Control UI is served here";
const NO_PLUGINS: &str = "there are no plugins here";

const DIFFERENCES: &[Row] = &[
    missing(
        "connect",
        &[
            "/auth/recoveryMigrationAllowed",
            "/auth/recoveryScope",
            "/controlUiLinkReaders/*",
            "/controlUiWidgetKinds/*",
            "/server/controlUiBuildSource",
        ],
        NO_UI,
    ),
    missing(
        "connect",
        &["/pluginSurfaceUrls", "/snapshot/health/plugins/loaded/*"],
        NO_PLUGINS,
    ),
    missing("connect", &["/snapshot/health/eventLoop"], NO_LOOP),
    missing(
        "connect",
        &["/snapshot/appliedConfigHash"],
        "`config.get` has the hash of the file, and what of it is not applied",
    ),
    missing(
        "connect",
        &["/snapshot/updateSchedule"],
        "it does not update itself",
    ),
    missing(
        "connect",
        &[
            "/snapshot/presence/*/instanceId",
            "/snapshot/presence/*/user",
        ],
        "who is here is told by device; connections belong to no user profile",
    ),
];

const AFTER_A_MINUTE: &[Row] = &[
    missing("health", &["/payload/eventLoop"], NO_LOOP),
    added(
        "health",
        &[
            "/payload/config",
            "/payload/connections",
            "/payload/modelRuntime",
            "/payload/nodes",
            "/payload/runs",
            "/payload/store",
            "/payload/uptimeMs",
        ],
        MORE,
    ),
];

#[tokio::test]
async fn each_client_is_greeted_as_it_was_recorded() {
    let gateway = gateway().await;
    let mut replay = replay("hello");
    let mut first = person(&gateway, 4, 1, ALL).await;
    say(&mut first, "main", "r-1").await;
    let mut clients = hello::clients(&mut replay, &gateway, 4).await;
    clients[1].event("presence").await;
    gateway.stop().await;
    for client in &mut clients {
        client.event("shutdown").await;
        let (code, reason) = client.closed().await;
        assert_eq!((code, reason.as_str()), (1012, "service restart"));
    }
    let clients: Vec<&Client> = clients.iter().collect();
    replay.events(&clients, &EVENTS[..3], UNRECORDED);
    replay.settle(&[DIFFERENCES]);
}

#[tokio::test]
async fn a_minute_brings_a_tick_and_the_health() {
    let mut replay = replay("hello");
    let client = hello::after_a_minute(&mut replay, 4, ALL).await;
    replay.events(&[&client], &EVENTS[3..], UNRECORDED);
    replay.settle(&[AFTER_A_MINUTE]);
}
