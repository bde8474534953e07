//! Approvals of commands, and the standing policies.

use serde_json::{Value, json};

use super::super::replay::Replay;
use super::super::table::{Row, added, missing, words};
use super::super::{device, gateway, person};
use super::{ALL, NO_PROFILES, UNRECORDED, replay};
use crate::support::Client;
use crate::{approvals, nodes};

pub const EVENTS: &[&str] = &["exec.approval.requested", "exec.approval.resolved"];

const OVER: &str = "unknown, over, used or somebody else's is all the same to whoever asks";
const WHOLE_COMMAND: &str = "so that a person sees whether all of a long command is shown";

const DIFFERENCES: &[Row] = &[
    added(
        "exec.approval.get",
        &["/commandLength", "/commandSha256"],
        WHOLE_COMMAND,
    ),
    added(
        "exec.approval.list",
        &["/*/request/commandLength", "/*/request/commandSha256"],
        WHOLE_COMMAND,
    ),
    added(
        "exec.approval.requested",
        &[
            "/payload/request/commandLength",
            "/payload/request/commandSha256",
        ],
        WHOLE_COMMAND,
    ),
    added(
        "exec.approval.resolved",
        &[
            "/payload/request/commandLength",
            "/payload/request/commandSha256",
        ],
        WHOLE_COMMAND,
    ),
    missing(
        "exec.approval.requested",
        &["/recipientProfileId"],
        NO_PROFILES,
    ),
    missing(
        "exec.approval.resolved",
        &["/recipientProfileId"],
        NO_PROFILES,
    ),
    words("exec.approval.resolve", OVER),
    added(
        "exec.approval.resolve refused",
        &["/details/remediation"],
        OVER,
    ),
    missing(
        "exec.approvals.get",
        &["/file/socket"],
        "nothing here listens on such a socket; a policy that names one keeps it",
    ),
];

const NODE: &str = "0f4047f783d3cd4f68ab93fcc8da649f8aa32d18ad50d96c5d59145aaf15185b";
const SEED: u8 = 2;

/// Asks the node for its policy; it answers as was recorded.
async fn policy_of_node(replay: &mut Replay, client: &mut Client, node: &mut Client) {
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
    let mut asker = person(&gateway, 4, 1, ALL).await;
    // With nobody to ask; the parameters of this one were not recorded.
    let request = replay.take("exec.approval.request");
    let asked = approvals::ask("appr-1", &["echo", "hi"]);
    let id = asker.start(&request.method, asked).await;
    let answer = asker.response(&id).await;
    replay.compare(&request.method, request.answer(), &answer);
    let mut decider = approvals::approver(&gateway, 3, ALL).await;
    // Two people.
    let asked = replay.send(&mut asker, "exec.approval.request").await;
    decider.event("exec.approval.requested").await;
    replay.next(&mut decider, "exec.approval.list").await;
    replay.next(&mut decider, "exec.approval.get").await;
    let waits = replay.send(&mut asker, "exec.approval.waitDecision").await;
    replay.next(&mut decider, "exec.approval.resolve").await;
    replay.answered(&mut asker, waits).await;
    replay.answered(&mut asker, asked).await;
    replay.next(&mut decider, "exec.approval.resolve").await;
    // One of each method.
    let connect = nodes::node(4, &gateway.secret, SEED).set(
        "/commands",
        json!(["system.execApprovals.get", "system.execApprovals.set"]),
    );
    let (mut node, _) = Client::connect(gateway.address, &connect).await;
    replay.stands_for(NODE, &json!(device(4, SEED).identity.device_id()));
    let request = asker.event("node.pair.requested").await;
    let approve = json!({"requestId": request["payload"]["requestId"]});
    asker.ok("node.pair.approve", approve).await;
    replay
        .until(&mut asker, Some("exec.approvals.node.get"))
        .await;
    policy_of_node(&mut replay, &mut asker, &mut node).await;
    replay.next(&mut asker, "exec.approval.list").await;
    // About the first one.
    replay.until(&mut asker, None).await;
    replay.events(&[&asker, &decider], EVENTS, UNRECORDED);
    replay.settle(&[DIFFERENCES]);
}
