//! Nodes: listed, asked to do something, paired by name.

use serde_json::json;

use super::super::replay::Replay;
use super::super::table::{Row, added, missing, outcome};
use super::super::{device, gateway, person};
use super::{ALL, COMMON, UNRECORDED, replay};
use crate::nodes;
use crate::support::Client;

pub const EVENTS: &[&str] = &[
    "node.invoke.request",
    "node.pair.requested",
    "node.pair.resolved",
];

const DIFFERENCES: &[Row] = &[
    added(
        "node.pair.list",
        &["/paired/*"],
        "nodes that were paired by their device are listed too, not only those paired by name",
    ),
    missing(
        "node.pair.verify",
        &["/node/token"],
        "the caller has it; it is not told again",
    ),
    outcome(
        "node.rename",
        "nodes that were paired by their device have names too",
    ),
];

/// The recorded node, and the calls that it was given.
const NODE: &str = "5ea52821e88289d9de2c1b0c561a80a0cd67238ea2dcc294d13ad4c7f19a986a";
const FIRST_CALL: &str = "3edb6085-aa0f-4fea-89b7-83f582e1cf65";
const SECOND_CALL: &str = "c1284404-0516-4819-afda-53c2e0418fa5";
const SEED: u8 = 2;

/// Sends the next `node.invoke`, which the node answers as it was recorded.
async fn invoke(replay: &mut Replay, client: &mut Client, node: &mut Client) {
    let pair = replay.take("node.invoke");
    let answer = pair.answer().clone();
    let sent = replay.send_pair(client, pair).await;
    let result = if answer["ok"] == true {
        json!({"payloadJSON": answer["payload"]["payloadJSON"]})
    } else {
        json!({"ok": false, "error": answer["error"]["details"]["nodeError"]})
    };
    nodes::answer(node, result).await;
    replay.answered(client, sent).await;
}

/// Starts a command on the node; the call that the node is given takes the place of the recorded one.
async fn begin(replay: &mut Replay, client: &mut Client, node: &mut Client, recorded: &str) {
    let params = nodes::invoke(SEED, "system.which", json!({"bins": ["ls"]}), recorded);
    client.start("node.invoke", params).await;
    let request = node.event("node.invoke.request").await;
    replay.stands_for(recorded, &request["payload"]["id"]);
}

#[tokio::test]
async fn nodes_are_listed_invoked_and_paired_as_recorded() {
    let gateway = gateway().await;
    let mut replay = replay("nodes");
    let mut client = person(&gateway, 3, 1, ALL).await;
    let connect = nodes::node(3, &gateway.secret, SEED).without("/client/deviceFamily");
    let (mut node, _) = Client::connect(gateway.address, &connect).await;
    replay.stands_for(NODE, &json!(device(3, SEED).identity.device_id()));
    // The command line.
    replay.until(&mut client, Some("node.invoke")).await;
    invoke(&mut replay, &mut client, &mut node).await;
    replay.until(&mut client, Some("node.invoke.result")).await;
    // The node host.
    begin(&mut replay, &mut client, &mut node, FIRST_CALL).await;
    replay.next(&mut node, "node.invoke.result").await;
    invoke(&mut replay, &mut client, &mut node).await;
    replay.next(&mut node, "node.event").await;
    begin(&mut replay, &mut client, &mut node, SECOND_CALL).await;
    replay.next(&mut node, "node.invoke.result").await;
    // One of each method.
    replay.until(&mut client, Some("node.invoke")).await;
    invoke(&mut replay, &mut client, &mut node).await;
    invoke(&mut replay, &mut client, &mut node).await;
    replay.until(&mut client, None).await;
    replay.events(&[&client, &node], EVENTS, UNRECORDED);
    replay.settle(&[COMMON, DIFFERENCES]);
}
