//! Connecting: what each official client is greeted with, and what everybody is told.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::replay::Replay;
use super::super::table::{Row, missing};
use super::super::{device, gateway, say};
use super::{ALL, COMMON, UNRECORDED, replay};
use crate::support::{Client, Connect, TestGateway};

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

/// Connects as was recorded, with our secret and key; the hello is compared.
async fn greet(replay: &mut Replay, gateway: &TestGateway, seed: u8) -> Client {
    let pair = replay.take("connect");
    let connect = Connect {
        params: pair.params.clone(),
        device: None,
    }
    .set("/auth/token", json!(gateway.secret))
    .with_device(device(3, seed));
    let mut client = Client::open(gateway.address).await;
    let answer = client.greet(&connect).await;
    replay.compare("connect", pair.answer(), &answer);
    client
}

#[tokio::test]
async fn each_client_is_greeted_as_it_was_recorded() {
    let gateway = gateway().await;
    let mut replay = replay("hello");
    let mut first = super::super::person(&gateway, 3, 1, ALL).await;
    say(&mut first, "main", "r-1").await;
    let mut clients = Vec::new();
    while replay.peek().is_some() {
        let seed = 10 + u8::try_from(clients.len()).unwrap();
        let mut client = greet(&mut replay, &gateway, seed).await;
        client.event("health").await;
        clients.push(client);
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
async fn a_tick_has_its_time_and_its_number() {
    let gateway = gateway().await;
    let mut client = super::super::person(&gateway, 3, 1, ALL).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(31)).await;
    tokio::time::resume();
    let tick: Value = client.event("tick").await;
    assert!(tick["payload"]["ts"].is_i64(), "{tick}");
    let mut replay = replay("hello");
    while replay.peek().is_some() {
        replay.take("connect");
    }
    replay.events(&[&client], &["tick"], UNRECORDED);
    replay.settle(&[COMMON]);
}
