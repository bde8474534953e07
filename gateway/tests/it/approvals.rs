//! Approvals of commands: asked for, shown to those who decide, decided once, used once.

use serde_json::{Value, json};

use crate::nodes::{answer, approve_next, approved, invoke, node_id, operator, params_of};
use crate::support::{Client, Connect, Device, TestGateway};

/// A program that shows approvals to a person.
pub async fn approver(gateway: &TestGateway, seed: u8, scopes: &[&str]) -> Client {
    let connect = Connect::cli(4, &gateway.secret, scopes)
        .set("/client/id", json!("openclaw-tui"))
        .set("/client/mode", json!("ui"))
        .set("/caps", json!(["exec-approvals"]))
        .with_device(Device::new(seed));
    Client::connect(gateway.address, &connect).await.0
}

const ADMIN: [&str; 2] = ["operator.admin", "operator.approvals"];

pub fn ask(id: &str, argv: &[&str]) -> Value {
    json!({
        "id": id, "commandArgv": argv, "command": argv.join(" "), "cwd": "/", "host": "gateway",
        "agentId": "main", "sessionKey": "agent:main:main", "timeoutMs": 600_000, "twoPhase": true,
    })
}

/// The parameters of a decision.
pub fn decision(id: &str, decision: &str) -> Value {
    json!({"id": id, "decision": decision})
}

#[tokio::test]
async fn a_request_is_accepted_shown_decided_and_answered() {
    let gateway = TestGateway::start().await;
    let mut asker = operator(&gateway, 4).await;
    let mut person = approver(&gateway, 7, &ADMIN).await;
    let call = asker
        .start("exec.approval.request", ask("a1", &["echo", "hi"]))
        .await;
    let first = asker.response(&call).await["payload"].clone();
    assert_eq!(first["status"], "accepted");
    assert_eq!(first["deliveryRoute"], "approval-client");
    let shown = person.event("exec.approval.requested").await["payload"].clone();
    assert_eq!(shown["id"], "a1");
    assert_eq!(shown["approvalKind"], "exec");
    for (member, value) in [
        ("command", json!("echo hi")),
        ("commandArgv", json!(["echo", "hi"])),
        ("cwd", json!("/")),
        ("nodeId", Value::Null),
        ("warningText", Value::Null),
        (
            "allowedDecisions",
            json!(["allow-once", "allow-always", "deny"]),
        ),
    ] {
        assert_eq!(shown["request"][member], value, "{member}");
    }
    let list = person.ok("exec.approval.list", json!({})).await;
    assert_eq!(list[0]["request"], shown["request"]);
    let detail = person.ok("exec.approval.get", json!({"id": "a1"})).await;
    assert_eq!(detail["commandText"], "echo hi");
    assert_eq!(detail["commandLength"], 7);
    let any = person.ok("approval.get", json!({"id": "a1"})).await;
    assert_eq!(any["approval"]["status"], "pending");
    let wait = asker
        .start("exec.approval.waitDecision", json!({"id": "a1"}))
        .await;
    let decide = decision("a1", "allow-once");
    assert_eq!(
        person.ok("exec.approval.resolve", decide).await,
        json!({"ok": true})
    );
    let waited = asker.response(&wait).await["payload"].clone();
    assert_eq!(waited["decision"], "allow-once");
    assert_eq!(waited["terminalReason"], "user");
    let last = asker.response(&call).await["payload"].clone();
    let expected = json!({
        "id": "a1", "decision": "allow-once", "createdAtMs": first["createdAtMs"],
        "expiresAtMs": first["expiresAtMs"],
    });
    assert_eq!(last, expected);
    let told = person.event("exec.approval.resolved").await["payload"].clone();
    assert_eq!(told["resolvedBy"], "openclaw-tui");
    assert_eq!(told["request"], shown["request"]);
    let any = person.ok("approval.get", json!({"id": "a1"})).await;
    assert_eq!(any["approval"]["status"], "allowed");
    assert_eq!(person.ok("exec.approval.list", json!({})).await, json!([]));
}

#[tokio::test]
async fn version_3_asks_everybody_and_gets_one_answer() {
    let gateway = TestGateway::start().await;
    let mut asker = operator(&gateway, 3).await;
    let mut person = approver(&gateway, 7, &ADMIN).await;
    let request = json!({
        "id": "x1", "command": "echo hi", "cwd": "/", "host": "gateway", "agentId": "main",
        "sessionKey": "agent:main:main", "timeoutMs": 600_000,
    });
    let call = asker.start("exec.approval.request", request).await;
    let shown = asker.event("exec.approval.requested").await["payload"].clone();
    let expected = json!({
        "command": "echo hi", "cwd": "/", "host": "gateway", "security": null, "ask": null,
        "agentId": "main", "resolvedPath": null, "sessionKey": "agent:main:main",
    });
    assert_eq!(shown["request"], expected, "version 3's shape");
    assert_eq!(shown.get("approvalKind"), None);
    person.event("exec.approval.requested").await;
    let decide = decision("x1", "deny");
    person
        .ok(
            "approval.resolve",
            json!({"id": "x1", "kind": "exec", "decision": "deny"}),
        )
        .await;
    assert_eq!(asker.response(&call).await["payload"]["decision"], "deny");
    let error = asker.error("exec.approval.resolve", decide).await;
    assert_eq!(error["message"], "unknown approval id");
}

#[tokio::test]
async fn with_nobody_to_ask_version_4_is_told_at_once() {
    let gateway = TestGateway::start().await;
    let mut asker = operator(&gateway, 4).await;
    let done = asker.ok("exec.approval.request", ask("a1", &["ls"])).await;
    assert_eq!(done["decision"], Value::Null);
    assert_eq!(done.get("status"), None);
    let waited = asker
        .ok("exec.approval.waitDecision", json!({"id": "a1"}))
        .await;
    assert_eq!(waited["terminalReason"], "no-route");
    let error = asker
        .error("exec.approval.request", ask("a1", &["ls"]))
        .await;
    assert_eq!(error["code"], "UNAVAILABLE");
    assert_eq!(
        error["message"],
        "this approval id was used before; ask again with another one"
    );
}

#[tokio::test]
async fn a_request_that_nobody_answers_ends_with_its_time() {
    let gateway = TestGateway::start().await;
    let mut asker = operator(&gateway, 4).await;
    let mut person = approver(&gateway, 7, &ADMIN).await;
    let mut request = ask("a1", &["ls"]);
    request["timeoutMs"] = json!(30);
    request["twoPhase"] = json!(false);
    let done = asker.ok("exec.approval.request", request).await;
    assert_eq!(done["decision"], Value::Null);
    let waited = asker
        .ok("exec.approval.waitDecision", json!({"id": "a1"}))
        .await;
    assert_eq!(waited["terminalReason"], "timeout");
    let late = decision("a1", "allow-once");
    let error = person.error("exec.approval.resolve", late).await;
    assert_eq!(error["details"]["reason"], "APPROVAL_NOT_FOUND");
}

#[tokio::test]
async fn what_is_asked_always_cannot_be_allowed_always() {
    let gateway = TestGateway::start().await;
    let mut asker = operator(&gateway, 4).await;
    let mut person = approver(&gateway, 7, &ADMIN).await;
    let mut request = ask("a1", &["ls"]);
    request["ask"] = json!("always");
    asker.start("exec.approval.request", request).await;
    let shown = person.event("exec.approval.requested").await;
    let allowed = &shown["payload"]["request"]["allowedDecisions"];
    assert_eq!(*allowed, json!(["allow-once", "deny"]));
    for said in ["allow-always", "yes", ""] {
        let decide = decision("a1", said);
        let error = person.error("exec.approval.resolve", decide).await;
        assert_eq!(error["message"], "invalid decision");
    }
}

#[tokio::test]
async fn an_allowed_command_runs_on_a_node_with_the_gateways_word() {
    let gateway = TestGateway::start().await;
    let (mut host, mut asker) = approved(&gateway, 1).await;
    let mut person = approver(&gateway, 7, &ADMIN).await;
    let mut request = ask("a1", &["uptime", "-p"]);
    request["nodeId"] = json!(node_id(1));
    let call = asker.start("exec.approval.request", request).await;
    asker.response(&call).await;
    person.event("exec.approval.requested").await;
    let decide = decision("a1", "allow-once");
    person.ok("exec.approval.resolve", decide).await;
    asker.response(&call).await;
    let run = json!({
        "command": ["uptime", "-p"], "cwd": "/", "agentId": "main", "sessionKey": "agent:main:main",
        "approved": true, "approvalDecision": "allow-once", "runId": "a1",
    });
    let call = asker
        .start("node.invoke", invoke(1, "system.run", run, "k"))
        .await;
    let told = answer(&mut host, json!({"payloadJSON": "{\"exitCode\":0}"})).await;
    assert_eq!(asker.response(&call).await["ok"], true);
    let params = params_of(&told);
    assert_eq!(params["approved"], true);
    assert_eq!(params["approvalDecision"], "allow-once");
    assert_eq!(
        params["runId"], told["payload"]["id"],
        "the run's id is the gateway's"
    );
}

#[tokio::test]
async fn an_approval_is_not_used_up_by_a_call_that_is_refused() {
    let gateway = TestGateway::start().await;
    let (mut host, mut asker) = approved(&gateway, 1).await;
    let mut person = approver(&gateway, 7, &ADMIN).await;
    let mut request = ask("a1", &["uptime"]);
    request["nodeId"] = json!(node_id(1));
    let call = asker.start("exec.approval.request", request).await;
    asker.response(&call).await;
    let decide = json!({"id": "a1", "decision": "allow-once"});
    person.ok("exec.approval.resolve", decide).await;
    asker.response(&call).await;
    let mut run = json!({
        "command": ["uptime"], "cwd": "/", "agentId": "main", "sessionKey": "agent:main:main",
        "approved": true, "runId": "a1", "needsScreenRecording": "x".repeat(1024 * 1024),
    });
    let error = asker
        .error("node.invoke", invoke(1, "system.run", run.clone(), "k1"))
        .await;
    assert_eq!(error["details"]["code"], "TOO_LARGE");
    run["needsScreenRecording"] = json!(false);
    let call = asker
        .start("node.invoke", invoke(1, "system.run", run, "k2"))
        .await;
    answer(&mut host, json!({"payloadJSON": "{}"})).await;
    assert_eq!(asker.response(&call).await["ok"], true);
}

#[tokio::test]
async fn standing_policies_are_read_and_written_by_their_own_methods() {
    let gateway = TestGateway::start().await;
    let mut admin = operator(&gateway, 4).await;
    let before = admin.ok("exec.approvals.get", json!({})).await;
    assert_eq!(before["exists"], false);
    assert_eq!(before["resolvedDefaults"]["security"], "deny");
    let file = json!({"version": 1, "defaults": {"ask": "always"}, "agents": {}});
    let set = |hash: &Value| json!({"file": file, "baseHash": hash});
    let stored = admin.ok("exec.approvals.set", set(&before["hash"])).await;
    assert_eq!(stored["file"], file);
    let error = admin
        .error("exec.approvals.set", set(&before["hash"]))
        .await;
    assert_eq!(
        error["message"],
        "exec approvals changed since last load; re-run exec.approvals.get and retry"
    );
    // A node's own, through the node.
    let commands = json!(["system.execApprovals.get", "system.execApprovals.set"]);
    let host = crate::nodes::node(4, &gateway.secret, 3).set("/commands", commands);
    let (mut host, _) = Client::connect(gateway.address, &host).await;
    approve_next(&mut admin).await;
    let call = admin
        .start(
            "exec.approvals.node.set",
            json!({"nodeId": node_id(3), "file": file, "baseHash": "h"}),
        )
        .await;
    let told = answer(&mut host, json!({"payloadJSON": "{\"hash\":\"n\"}"})).await;
    assert_eq!(told["payload"]["command"], "system.execApprovals.set");
    let params = params_of(&told);
    assert_eq!(params, json!({"file": file, "baseHash": "h"}));
    assert_eq!(admin.response(&call).await["payload"], json!({"hash": "n"}));
}
