//! Nodes: listed, approved, asked to do something, removed.

use serde_json::{Value, json};

use super::super::replay::Replay;
use super::super::table::{Row, added, missing};
use super::super::{DEADLINE, device, gateway, person};
use super::{ALL, NO_PROFILES, UNRECORDED, replay};
use crate::nodes;
use crate::support::{Client, Connect, TestGateway};

pub const EVENTS: &[&str] = &[
    "node.hostStats",
    "node.invoke.request",
    "node.pair.requested",
    "node.pair.resolved",
    "node.runnerInventory.changed",
    "voicewake.changed",
    "voicewake.routing.changed",
];

const DIFFERENCES: &[Row] = &[
    missing("node.hostStats", &["/recipientProfileId"], NO_PROFILES),
    missing(
        "node.pair.list",
        &["/paired/*/lastDisconnectedAtMs", "/paired/*/lastHostStats"],
        "both are written down when a node leaves, and this one has not left yet",
    ),
    added(
        "node.pair.approve",
        &["/node/lastConnectedAtMs"],
        "as `node.pair.list` has it",
    ),
];

/// The recorded nodes and the call that one of them was given.
const NODE: &str = "0f4047f783d3cd4f68ab93fcc8da649f8aa32d18ad50d96c5d59145aaf15185b";
const REQUEST: &str = "449a65e8-71cf-4e68-a388-29aacfcfaa41";
const OTHER_NODE: &str = "efd54a58d43c42b5943a4b7f3353c90924bb24b7ad264616e2263367dab3f614";
const CALL: &str = "2fc8ac15-2ee0-482b-8877-cd4726d5024d";
const SEED: u8 = 2;
const OTHER_SEED: u8 = 3;
const LEFT_SEED: u8 = 4;
const WAITING_SEED: u8 = 5;

fn node(gateway: &TestGateway, seed: u8) -> Connect {
    nodes::node(4, &gateway.secret, seed).set(
        "/commands",
        json!(["system.run", "system.which", "camera.snap"]),
    )
}

/// What a node tells of its load.
fn stats() -> Value {
    let stats = json!({
        "cpuCount": 2, "loadAverage": [0.1, 0.1, 0.1], "memoryTotalBytes": 2, "memoryFreeBytes": 1,
        "diskTotalBytes": 2, "diskAvailableBytes": 1,
    });
    json!({"event": "node.host.stats", "payloadJSON": stats.to_string()})
}

/// A node is approved, tells its load and leaves.
async fn left(gateway: &TestGateway, client: &mut Client) {
    let (mut host, _) = Client::connect(gateway.address, &node(gateway, LEFT_SEED)).await;
    let request = client.event("node.pair.requested").await;
    let approve = json!({"requestId": request["payload"]["requestId"]});
    client.ok("node.pair.approve", approve).await;
    host.ok("node.event", stats()).await;
    drop(host);
    let wait = async {
        loop {
            let list = client.ok("node.pair.list", json!({})).await;
            let paired = list["paired"].as_array().unwrap().iter();
            if paired
                .into_iter()
                .any(|row| row["lastDisconnectedAtMs"].is_number())
            {
                return;
            }
        }
    };
    let done = tokio::time::timeout(DEADLINE, wait).await;
    done.expect("the node was not missed in time");
}

/// Sends the next `node.invoke`, which the node answers as it was recorded.
async fn invoke(replay: &mut Replay, client: &mut Client, node: &mut Client) {
    let pair = replay.take("node.invoke");
    let payload = pair.answer()["payload"]["payloadJSON"].clone();
    let sent = replay.send_pair(client, pair).await;
    nodes::answer(node, json!({"payloadJSON": payload})).await;
    replay.answered(client, sent).await;
}

#[tokio::test]
async fn nodes_are_approved_invoked_and_removed_as_recorded() {
    let gateway = gateway().await;
    let mut replay = replay("nodes");
    let mut client = person(&gateway, 4, 1, ALL).await;
    let (mut host, _) = Client::connect(gateway.address, &node(&gateway, SEED)).await;
    replay.stands_for(NODE, &json!(device(4, SEED).identity.device_id()));
    let request = client.event("node.pair.requested").await;
    replay.stands_for(REQUEST, &request["payload"]["requestId"]);
    replay.next(&mut host, "node.runnerInventory.update").await;
    // The command line.
    replay.until(&mut client, Some("node.invoke")).await;
    host.ok("node.event", stats()).await;
    let inventory = json!({"protocolFeatures": [], "workerHost": {"enabled": false}});
    host.ok("node.runnerInventory.update", inventory).await;
    invoke(&mut replay, &mut client, &mut host).await;
    replay.until(&mut client, Some("node.skills.update")).await;
    // The node host.
    replay.next(&mut host, "node.skills.update").await;
    replay.next(&mut host, "node.pluginTools.update").await;
    let call = nodes::invoke(SEED, "system.which", json!({"bins": ["ls"]}), "k");
    client.start("node.invoke", call).await;
    let request: Value = host.event("node.invoke.request").await;
    replay.stands_for(CALL, &request["payload"]["id"]);
    replay.next(&mut host, "node.invoke.result").await;
    // One of each method.
    replay.until(&mut client, Some("node.invoke")).await;
    invoke(&mut replay, &mut client, &mut host).await;
    invoke(&mut replay, &mut client, &mut host).await;
    replay.next(&mut client, "node.invoke").await;
    replay.next(&mut client, "node.pair.list").await;
    replay.next(&mut client, "node.rename").await;
    replay.next(&mut client, "node.rename").await;
    // Others: one that left, one that waits.
    left(&gateway, &mut client).await;
    let (_waiting, _) = Client::connect(gateway.address, &node(&gateway, WAITING_SEED)).await;
    client.event("node.pair.requested").await;
    // Another node: approved, come back with more, refused, removed.
    let (other, _) = Client::connect(gateway.address, &node(&gateway, OTHER_SEED)).await;
    replay.stands_for(
        OTHER_NODE,
        &json!(device(4, OTHER_SEED).identity.device_id()),
    );
    client.event("node.pair.requested").await;
    replay.next(&mut client, "node.pair.list").await;
    replay.next(&mut client, "node.list").await;
    replay.next(&mut client, "node.pair.approve").await;
    replay.next(&mut client, "node.list").await;
    drop(other);
    let more = node(&gateway, OTHER_SEED).set(
        "/commands",
        json!(["system.run", "system.which", "fs.listDir"]),
    );
    let (_other, _) = Client::connect(gateway.address, &more).await;
    let is_asked_again = |frame: &Value| {
        let commands = frame["payload"]["commands"].as_array();
        frame["event"] == "node.pair.requested"
            && commands.is_some_and(|commands| commands.contains(&json!("fs.listDir")))
    };
    client.until(is_asked_again).await;
    replay.until(&mut client, None).await;
    replay.events(&[&client, &host], EVENTS, UNRECORDED);
    replay.settle(&[DIFFERENCES]);
}
