//! Devices: listed, approved, refused, removed.

use serde_json::{Value, json};

use super::super::table::{Row, added, missing};
use super::super::{all_seen, device, gateway, person};
use super::{ALL, MORE, UNRECORDED, replay};
use crate::support::{Client, Connect, TestGateway};

pub const EVENTS: &[&str] = &["device.pair.requested", "device.pair.resolved"];

const DIFFERENCES: &[Row] = &[
    added(
        "device.pair.approve",
        &["/device/connected"],
        "as `device.pair.list` has it",
    ),
    missing(
        "device.pair.list",
        &["/paired/*/nodeSurface"],
        "what a node offers is in `node.list`",
    ),
    added(
        "device.pair.list",
        &["/pending/*/expiresAtMs", "/pending/*/reason"],
        MORE,
    ),
];

/// Recorded values that ours stand for: the device that asks, and its requests.
const DEVICE: &str = "b64719a2a6468d45f8b93090587af63495fbec9e9342aa5a42d5a7ee83869c49";
const FIRST_REQUEST: &str = "b5784043-9b31-477c-8143-149ef0bb484c";
const SECOND_REQUEST: &str = "8a95a6e4-7978-4ee6-9e57-ed538ffc9c67";
const LAPTOP: u8 = 2;
/// Asks too, and is never answered.
const OTHER: u8 = 5;
/// Not the gateway's own user, so its devices are not paired silently.
const SOMEBODY_ELSE: u32 = 4001;

fn laptop(gateway: &TestGateway, scopes: &[&str]) -> Connect {
    Connect::cli(4, &gateway.secret, scopes)
        .set("/client/displayName", json!("rust-laptop"))
        .with_device(device(4, LAPTOP))
}

/// The request that a refused device is told of.
async fn asks(gateway: &TestGateway, connect: &Connect) -> Value {
    let (error, ..) = Client::refused(gateway.address, connect).await;
    error["details"]["requestId"].clone()
}

#[tokio::test]
async fn devices_are_paired_and_removed_as_recorded() {
    let gateway = gateway().await;
    let mut replay = replay("devices");
    let mut admin = person(&gateway, 4, 1, ALL).await;
    replay.stands_for(DEVICE, &json!(device(4, LAPTOP).identity.device_id()));
    all_seen(&mut admin).await;
    replay.next(&mut admin, "device.pair.list").await;
    gateway.peers.become_user(SOMEBODY_ELSE);
    let reader = laptop(&gateway, &["operator.read"]);
    let other = laptop(&gateway, &["operator.read"])
        .set("/client/deviceFamily", json!("Mac"))
        .with_device(device(4, OTHER));
    asks(&gateway, &other).await;
    let request = asks(&gateway, &reader).await;
    replay.stands_for(FIRST_REQUEST, &request);
    replay.next(&mut admin, "device.pair.list").await;
    replay.next(&mut admin, "device.pair.approve").await;
    let (_paired, _) = Client::connect(gateway.address, &reader).await;
    let writer = laptop(&gateway, &["operator.read", "operator.write"]);
    let request = asks(&gateway, &writer).await;
    replay.stands_for(SECOND_REQUEST, &request);
    replay.next(&mut admin, "device.pair.reject").await;
    asks(&gateway, &crate::nodes::node(4, &gateway.secret, LAPTOP)).await;
    let (mut idle, _) = Client::connect(gateway.address, &laptop(&gateway, &[])).await;
    replay.next(&mut idle, "status").await;
    all_seen(&mut admin).await;
    replay.until(&mut admin, None).await;
    replay.events(&[&admin], EVENTS, UNRECORDED);
    replay.settle(&[DIFFERENCES]);
}
