//! Connecting: what each official client is greeted with, and what everybody is told.

use super::super::table::{Row, missing};
use super::super::{gateway, hello, say};
use super::{ALL, COMMON, UNRECORDED, replay};
use crate::support::Client;

pub const EVENTS: &[&str] = &["connect.challenge", "health", "shutdown", "tick"];

const DIFFERENCES: &[Row] = &[
    missing("connect", &["/canvasHostUrl"], "there is no canvas here"),
    missing(
        "connect",
        &[
            "/snapshot/authMode",
            "/snapshot/configPath",
            "/snapshot/presence/*",
            "/snapshot/presence/*/deviceFamily",
            "/snapshot/stateDir",
        ],
        "a node, or whoever may not read, is not told who is there nor where the files are",
    ),
    missing(
        "connect",
        &["/snapshot/presence/*/modelIdentifier"],
        "theirs says the kind of processor there, which is no model of a machine",
    ),
];

#[tokio::test]
async fn each_client_is_greeted_as_it_was_recorded() {
    let gateway = gateway().await;
    let mut replay = replay("hello");
    let mut first = super::super::person(&gateway, 3, 1, ALL).await;
    say(&mut first, "main", "r-1").await;
    let mut clients = hello::clients(&mut replay, &gateway, 3).await;
    for client in &mut clients {
        client.event("health").await;
    }
    gateway.stop().await;
    for client in &mut clients {
        client.event("shutdown").await;
        let (code, reason) = client.closed().await;
        assert_eq!((code, reason.as_str()), (1012, "service restart"));
    }
    let clients: Vec<&Client> = clients.iter().collect();
    replay.events(&clients, &EVENTS[..3], UNRECORDED);
    replay.settle(&[COMMON, DIFFERENCES]);
}

#[tokio::test]
async fn a_minute_brings_a_tick_and_the_health() {
    let mut replay = replay("hello");
    let client = hello::after_a_minute(&mut replay, 3, ALL).await;
    replay.events(&[&client], &["health", "tick"], UNRECORDED);
    replay.settle(&[COMMON]);
}
