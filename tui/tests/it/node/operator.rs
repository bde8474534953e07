//! `clawline nodes`: what the laptop asks a gateway about its nodes.

use serde_json::{Value, json};

use super::gateway::{Gateway, Node};
use crate::support::Home;
use crate::tunnel::world::Process;

/// Starts `clawline nodes` and lets it in.
fn nodes(home: &Home, gateway: &Gateway, args: &[&str]) -> (Process, Node) {
    let url = gateway.url();
    let mut all = vec!["nodes"];
    all.extend(args);
    all.extend(["--url", &url, "--token", "t"]);
    let process = Process::start(home.command(&all));
    (process, gateway.accept())
}

fn list() -> Value {
    json!({"ts": 1, "nodes": [
        {"nodeId": "ab".repeat(32), "displayName": "pi\u{1b}[2J", "platform": "linux", "connected": true, "paired": true,
            "commands": ["system.which"], "approvalState": "approved"},
        {"nodeId": "cd".repeat(32), "displayName": "shed", "platform": "linux", "connected": false, "paired": true,
            "approvalState": "pending-approval", "pendingRequestId": "r-1"},
    ]})
}

#[test]
fn nodes_are_listed_in_80_columns_and_cannot_steer_the_terminal() {
    let (home, gateway) = (Home::new(), Gateway::new(4));
    let (mut process, mut side) = nodes(&home, &gateway, &["list"]);
    side.answer("node.list", &list());
    let (code, said) = process.ended();
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("connected")
            && said.contains("waits")
            && said.contains("clawline nodes pending")
    );
    assert!(
        said.lines().all(|line| line.chars().count() <= 80),
        "{said}"
    );
    assert!(!said.contains('\u{1b}'));
}

#[test]
fn json_has_the_shape_of_every_command() {
    let (home, gateway) = (Home::new(), Gateway::new(4));
    let (mut process, mut side) = nodes(&home, &gateway, &["list", "--json"]);
    side.answer("node.list", &list());
    let (code, said) = process.ended();
    let json: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (code, &json["ok"], &json["v"]),
        (Some(0), &json!(true), &json!(1))
    );
    assert_eq!(json["nodes"][1]["pendingRequestId"], "r-1");
}

#[test]
fn a_node_that_is_not_there_is_wrong_usage_and_a_refusal_is_exit_code_1() {
    let (home, gateway) = (Home::new(), Gateway::new(4));
    let (mut process, mut side) = nodes(&home, &gateway, &["describe", "nobody"]);
    side.answer("node.list", &list());
    assert_eq!(process.ended().0, Some(2));
    let (mut process, mut side) = nodes(&home, &gateway, &["approve", "r-9"]);
    side.refuse("node.pair.approve", "unknown requestId", &json!(null));
    let (code, said) = process.ended();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("unknown requestId"), "{said}");
    let ran = home.run(&["nodes", "invoke", "pi", "system.which", "--params", "[]"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
}

#[test]
fn ask_runs_what_the_node_prepared_and_only_once_it_is_approved() {
    let params = r#"{"command":["id"],"cwd":"/tmp/link"}"#;
    let args = ["invoke", "abab", "system.run", "--ask", "--params", params];
    let plan = json!({"argv": ["id"], "cwd": "/real", "commandText": "id", "agentId": null, "sessionKey": null});
    for decision in [json!("allow-once"), json!("deny"), Value::Null] {
        let (home, gateway) = (Home::new(), Gateway::new(4));
        let (mut process, mut side) = nodes(&home, &gateway, &args);
        side.answer("node.list", &list());
        let prepare = side.answer(
            "node.invoke",
            &json!({"ok": true, "payload": {"plan": plan}}),
        );
        assert_eq!(prepare["command"], "system.run.prepare");
        let asked = side.answer(
            "exec.approval.request",
            &json!({"status": "accepted", "id": "x"}),
        );
        assert_eq!(asked["systemRunPlan"], plan);
        assert_eq!(
            (&asked["cwd"], &asked["nodeId"]),
            (&json!("/real"), &json!("ab".repeat(32)))
        );
        let waited = side.answer(
            "exec.approval.waitDecision",
            &json!({"id": "x", "decision": decision}),
        );
        assert_eq!(waited["id"], asked["id"]);
        if decision == "allow-once" {
            let result = json!({"exitCode": 0, "success": true, "timedOut": false, "stdout": "uid=0\n", "stderr": ""});
            let run = side.answer(
                "node.invoke",
                &json!({"ok": true, "payloadJSON": result.to_string()}),
            );
            assert_eq!(
                (&run["command"], &run["params"]["cwd"]),
                (&json!("system.run"), &json!("/real"))
            );
            assert_eq!(run["params"]["runId"], asked["id"]);
        }
        let (code, said) = process.ended();
        let is_allowed = decision == "allow-once";
        assert_eq!(code, Some(i32::from(!is_allowed)), "{said}");
        assert_eq!(said.contains("uid=0"), is_allowed, "{said}");
    }
}
