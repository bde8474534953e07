//! Approvals of commands, and the standing policies.

use serde_json::{Value, json};

use super::super::table::{Row, added, missing, outcome};
use super::super::{device, gateway, person};
use super::{ALL, COMMON, UNRECORDED, replay};
use crate::nodes;
use crate::support::Client;

pub const EVENTS: &[&str] = &["exec.approval.requested", "exec.approval.resolved"];

const DIFFERENCES: &[Row] = &[
    outcome(
        "exec.approval.list",
        "version 3 had no such method; ours is for both",
    ),
    added(
        "exec.approval.resolve refused",
        &["/details"],
        "more in `details` is harmless, and says what to do",
    ),
    missing(
        "exec.approvals.get",
        &["/file/socket"],
        "nothing here listens on such a socket; a policy that names one keeps it",
    ),
];

const NODE: &str = "5ea52821e88289d9de2c1b0c561a80a0cd67238ea2dcc294d13ad4c7f19a986a";
const SEED: u8 = 2;

/// Asks a node for its policy; it answers as was recorded.
async fn policy_of_node(
    replay: &mut super::super::replay::Replay,
    client: &mut Client,
    node: &mut Client,
) {
    let pair = replay.take("exec.approvals.node.get");
    let policy: Value = pair.answer()["payload"].clone();
    let sent = replay.send_pair(client, pair).await;
    nodes::answer(node, json!({"payloadJSON": policy.to_string()})).await;
    replay.answered(client, sent).await;
}

#[tokio::test]
async fn approvals_and_policies_go_as_recorded() {
    let gateway = gateway().await;
    let mut replay = replay("approvals");
    let mut asker = person(&gateway, 3, 1, ALL).await;
    let mut person_ = person(&gateway, 3, 3, ALL).await;
    let connect = nodes::node(3, &gateway.secret, SEED).set(
        "/commands",
        json!(["system.execApprovals.get", "system.execApprovals.set"]),
    );
    let (mut node, _) = Client::connect(gateway.address, &connect).await;
    replay.stands_for(NODE, &json!(device(3, SEED).identity.device_id()));
    policy_of_node(&mut replay, &mut asker, &mut node).await;
    // Two people.
    let asked = replay.send(&mut asker, "exec.approval.request").await;
    person_.event("exec.approval.requested").await;
    replay.next(&mut person_, "exec.approval.resolve").await;
    replay.answered(&mut asker, asked).await;
    replay.next(&mut person_, "exec.approval.resolve").await;
    // One of each method.
    replay
        .until(&mut asker, Some("exec.approvals.node.get"))
        .await;
    policy_of_node(&mut replay, &mut asker, &mut node).await;
    replay.next(&mut asker, "exec.approval.list").await;
    let mut last = Vec::new();
    while let Some(method) = replay.peek().map(str::to_owned) {
        last.push(replay.take(&method));
    }
    let request = last.pop().unwrap();
    // Its parameters were not recorded; it is the one that the others are about, and was answered first.
    let asked = json!({
        "id": "appr-1", "command": "echo hi", "cwd": "/", "host": "gateway", "agentId": "main",
        "sessionKey": "agent:main:main", "timeoutMs": 600_000, "twoPhase": true,
    });
    let id = asker.start(&request.method, asked).await;
    let answer = asker.response(&id).await;
    replay.compare(&request.method, request.answer(), &answer);
    for pair in last {
        let sent = replay.send_pair(&mut person_, pair).await;
        replay.answered(&mut person_, sent).await;
    }
    asker.event("exec.approval.resolved").await;
    replay.events(&[&asker, &person_], EVENTS, UNRECORDED);
    replay.settle(&[COMMON, DIFFERENCES]);
}
