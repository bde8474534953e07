//! Devices: listed, approved, refused, their tokens changed.

use serde_json::{Value, json};

use super::super::table::{Row, added, missing, outcome};
use super::super::{all_seen, device, gateway, person};
use super::{ALL, COMMON, UNRECORDED, replay};
use crate::support::{Client, Connect, TestGateway};

pub const EVENTS: &[&str] = &["device.pair.requested", "device.pair.resolved"];

const DIFFERENCES: &[Row] = &[
    added(
        "device.pair.list",
        &["/paired/*/tokens/*/revokedAtMs"],
        "theirs gave the revoked device another token at once, so that no recording has it",
    ),
    outcome(
        "device.pair.remove",
        "version 3 had no such method; ours is for both",
    ),
    missing(
        "device.token.rotate",
        &["/token"],
        "a token is told to its own device and to nobody else",
    ),
    added(
        "device.token.rotate",
        &["/tokenDelivery"],
        "says why there is no token",
    ),
];

/// Recorded values that ours stand for: the device that asks, and its requests.
const DEVICE: &str = "efd54a58d43c42b5943a4b7f3353c90924bb24b7ad264616e2263367dab3f614";
const FIRST_REQUEST: &str = "bb2a2b8c-6dd1-4b17-a87b-499a5c6c4846";
const SECOND_REQUEST: &str = "2201cfb3-7197-45d4-93cb-4c3b836cbbf2";
const LAPTOP: u8 = 2;
/// Asks too, and is never answered.
const OTHER: u8 = 5;
/// Not the gateway's own user, so its devices are not paired silently.
const SOMEBODY_ELSE: u32 = 4001;

fn laptop(gateway: &TestGateway, scopes: &[&str]) -> Connect {
    Connect::cli(3, &gateway.secret, scopes)
        .set("/client/displayName", json!("rust-laptop"))
        .with_device(device(3, LAPTOP))
}

/// The request that a refused device is told of.
async fn asks(gateway: &TestGateway, connect: &Connect) -> Value {
    let (error, ..) = Client::refused(gateway.address, connect).await;
    assert_eq!(error["message"], "pairing required");
    error["details"]["requestId"].clone()
}

#[tokio::test]
async fn devices_are_paired_and_changed_as_recorded() {
    let gateway = gateway().await;
    let mut replay = replay("devices");
    let mut admin = person(&gateway, 3, 1, ALL).await;
    let id = device(3, LAPTOP).identity.device_id().to_owned();
    replay.stands_for(DEVICE, &json!(id));
    all_seen(&mut admin).await;
    replay.next(&mut admin, "device.pair.list").await;
    gateway.peers.become_user(SOMEBODY_ELSE);
    let reader = laptop(&gateway, &["operator.read"]);
    let other = laptop(&gateway, &["operator.read"]).with_device(device(3, OTHER));
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
    let node = crate::nodes::node(3, &gateway.secret, LAPTOP).without("/client/deviceFamily");
    asks(&gateway, &node).await;
    let (mut idle, _) = Client::connect(gateway.address, &laptop(&gateway, &[])).await;
    replay.next(&mut idle, "status").await;
    all_seen(&mut admin).await;
    replay.until(&mut admin, None).await;
    replay.events(&[&admin], EVENTS, UNRECORDED);
    replay.settle(&[COMMON, DIFFERENCES]);
}
