//! Looks at the gateway and its machine: health, status, presence, logs, and lists of what it does not have.

use super::super::table::{Row, missing, outcome};
use super::super::{gateway, person, say};
use super::{ALL, COMMON, UNRECORDED, replay};
use crate::nodes;
use crate::support::Client;

pub const EVENTS: &[&str] = &["voicewake.changed"];

const DIFFERENCES: &[Row] = &[
    super::talk::TOLD_AT_THE_END,
    missing("skills.status", &["/skills/*"], "its agent has no skills"),
    missing(
        "system-presence",
        &["/*/modelIdentifier"],
        "theirs says the kind of processor there, which is no model of a machine",
    ),
    outcome(
        "tools.catalog",
        "version 3 had no such method; ours is for both",
    ),
];

#[tokio::test]
async fn looks_at_the_gateway_are_answered_as_recorded() {
    let gateway = gateway().await;
    let mut replay = replay("system");
    let mut client = person(&gateway, 3, 1, ALL).await;
    let node = nodes::node(3, &gateway.secret, 2);
    let (_node, _) = Client::connect(gateway.address, &node).await;
    say(&mut client, "main", "r-1").await;
    replay.until(&mut client, None).await;
    client.event("voicewake.changed").await;
    replay.events(&[&client], EVENTS, UNRECORDED);
    replay.settle(&[COMMON, DIFFERENCES]);
}
