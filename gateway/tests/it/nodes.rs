//! Commands for nodes: listed, invoked, cancelled, and what becomes of them when somebody leaves.

use clawline_gateway::settings::V3Commands;
use serde_json::{Value, json};

use crate::support::{Client, Connect, Device, TestGateway};

const COMMANDS: [&str; 4] = ["system.run", "system.which", "camera.snap", "file.write"];

/// A node host's connect, of this version and with this key.
pub fn node(version: u32, token: &str, seed: u8) -> Connect {
    let mut device = Device::new(seed);
    if version == 3 {
        device.version = clawline::protocol::device_auth::PayloadVersion::V2;
    }
    Connect::cli(version, token, &[])
        .set("/role", json!("node"))
        .set("/client/id", json!("node-host"))
        .set("/client/mode", json!("node"))
        .set("/client/displayName", json!("shed"))
        .set("/client/deviceFamily", json!("Linux"))
        .set("/caps", json!(["system"]))
        .set("/commands", json!(COMMANDS))
        .set("/pathEnv", json!("/usr/bin:/bin"))
        .with_device(device)
}

pub fn node_id(seed: u8) -> String {
    Device::new(seed).identity.device_id().to_string()
}

/// An operator that may do everything, without a device.
pub async fn operator(gateway: &TestGateway, version: u32) -> Client {
    let scopes = ["operator.admin", "operator.pairing", "operator.approvals"];
    let connect = Connect::cli(version, &gateway.secret, &scopes);
    let connect = match version {
        // Version 3 keeps scopes for devices only.
        3 => {
            let mut device = Device::new(90);
            device.version = clawline::protocol::device_auth::PayloadVersion::V2;
            connect.with_device(device)
        }
        _ => connect,
    };
    Client::connect(gateway.address, &connect).await.0
}

/// A node of version 4 whose commands are approved, and the operator that did it.
pub async fn approved(gateway: &TestGateway, seed: u8) -> (Client, Client) {
    let mut operator = operator(gateway, 4).await;
    let (node, _) = Client::connect(gateway.address, &node(4, &gateway.secret, seed)).await;
    approve_next(&mut operator).await;
    (node, operator)
}

/// Approves what the next node asks for.
pub async fn approve_next(operator: &mut Client) {
    let asked = operator.event("node.pair.requested").await;
    let params = json!({"requestId": asked["payload"]["requestId"]});
    operator.ok("node.pair.approve", params).await;
}

pub fn invoke(seed: u8, command: &str, params: Value, key: &str) -> Value {
    json!({
        "nodeId": node_id(seed), "command": command, "params": params, "idempotencyKey": key,
        // Longer than large messages take on a busy machine.
        "timeoutMs": 60_000,
    })
}

/// Answers the next command of a node.
pub async fn answer(node: &mut Client, result: Value) -> Value {
    let request = node.event("node.invoke.request").await;
    let mut params = json!({
        "id": request["payload"]["id"], "nodeId": request["payload"]["nodeId"], "ok": true,
    });
    for (name, value) in result.as_object().unwrap() {
        params[name] = value.clone();
    }
    node.ok("node.invoke.result", params).await;
    request
}

/// The parameters of a command, as its node was told them.
pub fn params_of(told: &Value) -> Value {
    serde_json::from_str(told["payload"]["paramsJSON"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn an_approved_command_is_carried_out_and_its_result_comes_back() {
    let gateway = TestGateway::start().await;
    let (mut node, mut operator) = approved(&gateway, 1).await;
    let params = invoke(1, "system.which", json!({"bins": ["ls"]}), "k1");
    let call = operator.start("node.invoke", params.clone()).await;
    let text = r#"{"bins":{"ls":"/usr/bin/ls"}}"#;
    let request = answer(&mut node, json!({"payloadJSON": text})).await;
    assert_eq!(request.get("seq"), None, "it is for this node alone");
    let told = &request["payload"];
    assert_eq!(told["command"], "system.which");
    assert_eq!(told["paramsJSON"], r#"{"bins":["ls"]}"#);
    assert_eq!(told["idempotencyKey"], "k1");
    assert!(told["timeoutMs"].as_u64().unwrap() <= 60_000);
    let reply = operator.response(&call).await;
    let payload = json!({"bins": {"ls": "/usr/bin/ls"}});
    let expected = json!({
        "ok": true, "nodeId": node_id(1), "command": "system.which", "payload": payload,
        "payloadJSON": text,
    });
    assert_eq!(reply["payload"], expected);
    // The same key again is answered from what is known; for something else it is refused.
    assert_eq!(operator.ok("node.invoke", params).await, expected);
    let other = invoke(1, "system.which", json!({"bins": ["cat"]}), "k1");
    let error = operator.error("node.invoke", other).await;
    assert_eq!(error["details"]["code"], "IDEMPOTENCY_CONFLICT");
}

#[tokio::test]
async fn a_version_3_node_of_the_same_user_may_be_used_at_once() {
    let gateway = TestGateway::start().await;
    let (mut node, hello) = Client::connect(gateway.address, &node(3, &gateway.secret, 2)).await;
    assert_eq!(hello["auth"]["role"], "node");
    let wake = node.event("voicewake.changed").await;
    assert_eq!(
        wake["payload"]["triggers"],
        json!(["openclaw", "claude", "computer"])
    );
    assert_eq!(wake.get("seq"), None);
    let mut operator = operator(&gateway, 3).await;
    let list = operator.ok("node.list", json!({})).await;
    let row = list["nodes"][0].clone();
    let connected_at = row["connectedAtMs"].clone();
    let expected = json!({
        "nodeId": node_id(2), "displayName": "shed", "platform": "linux", "version": "1",
        "deviceFamily": "Linux", "caps": ["system"], "commands": ["system.run", "system.which"],
        "pathEnv": "/usr/bin:/bin", "connectedAtMs": connected_at, "paired": true, "connected": true,
    });
    assert_eq!(row, expected, "version 3's shape, and no more");
    let params = invoke(2, "system.run", json!({"command": ["echo", "hi"]}), "k");
    let call = operator.start("node.invoke", params).await;
    let error = json!({"code": "UNAVAILABLE", "message": "SYSTEM_RUN_DENIED: approval required"});
    answer(&mut node, json!({"ok": false, "error": error})).await;
    let reply = operator.response(&call).await;
    assert_eq!(reply["error"]["code"], "UNAVAILABLE");
    assert_eq!(
        reply["error"]["message"],
        "SYSTEM_RUN_DENIED: approval required"
    );
    assert_eq!(reply["error"]["details"], json!({"nodeError": error}));
}

#[tokio::test]
async fn the_strict_switch_makes_a_version_3_node_wait_too() {
    let gateway = TestGateway::start_with(|settings| {
        settings.nodes.v3_commands = V3Commands::Ask;
    })
    .await;
    let (_node, _) = Client::connect(gateway.address, &node(3, &gateway.secret, 2)).await;
    let mut operator = operator(&gateway, 3).await;
    let params = invoke(2, "system.which", json!({}), "k");
    let error = operator.error("node.invoke", params).await;
    assert_eq!(error["details"]["code"], "NODE_COMMAND_NOT_APPROVED");
    let pending = operator.ok("node.pair.list", json!({})).await["pending"].clone();
    assert_eq!(pending[0]["nodeId"], node_id(2));
}

#[tokio::test]
async fn what_is_not_allowed_is_refused_in_the_words_of_each_version() {
    let gateway = TestGateway::start_with(|settings| {
        settings.nodes.deny = vec!["system.notify".into()];
    })
    .await;
    let (_node, mut v4) = approved(&gateway, 1).await;
    for (command, reason, text) in [
        (
            "camera.snap",
            "command not allowlisted",
            "node command not allowed: \"camera.snap\" requires explicit gateway.nodes.commands.allow opt-in",
        ),
        (
            "system.notify",
            "command not allowlisted",
            "node command not allowed: \"system.notify\" is blocked by gateway.nodes.commands.deny",
        ),
        (
            "nope.cmd",
            "command not allowlisted",
            "node command not allowed: \"nope.cmd\" is not in the allowlist for platform \"linux\"; gateway.nodes.commands.allow adds it",
        ),
        (
            "ollama.chat",
            "command not declared by node",
            "node command not allowed: the node (platform: linux) does not support \"ollama.chat\"",
        ),
    ] {
        let error = v4
            .error("node.invoke", invoke(1, command, json!({}), command))
            .await;
        assert_eq!(error["code"], "INVALID_REQUEST");
        assert_eq!(error["message"], text);
        assert_eq!(
            error["details"],
            json!({"reason": reason, "command": command})
        );
    }
    let mut v3 = operator(&gateway, 3).await;
    let error = v3
        .error("node.invoke", invoke(1, "nope.cmd", json!({}), "k"))
        .await;
    assert_eq!(error["message"], "node command not allowed");
    let unknown = json!({"nodeId": "nobody", "command": "system.which", "idempotencyKey": "k"});
    let error = v3.error("node.invoke", unknown).await;
    assert_eq!(error["message"], "node not connected");
    assert_eq!(error["details"]["code"], "NOT_CONNECTED");
    let error = v3.error("node.describe", json!({"nodeId": "nobody"})).await;
    assert_eq!(error["message"], "unknown nodeId");
}

#[tokio::test]
async fn a_node_that_disconnects_in_mid_call_answers_its_callers_at_once() {
    let gateway = TestGateway::start().await;
    let (mut node, mut operator) = approved(&gateway, 1).await;
    let mut params = invoke(1, "system.run", json!({"command": ["sleep", "60"]}), "k");
    params["timeoutMs"] = json!(3_600_000);
    let call = operator.start("node.invoke", params).await;
    node.event("node.invoke.request").await;
    drop(node);
    let error = operator.response(&call).await["error"].clone();
    assert_eq!(error["code"], "UNAVAILABLE");
    assert_eq!(
        error["message"],
        "node gone: it disconnected before it answered"
    );
    // The client's own deadline shows that nobody waited for the command's hour.
}

#[tokio::test]
async fn a_result_counts_from_the_connection_that_was_asked_and_only_once() {
    let gateway = TestGateway::start().await;
    let (mut old, mut operator) = approved(&gateway, 1).await;
    let call = operator
        .start("node.invoke", invoke(1, "system.which", json!({}), "k"))
        .await;
    let request = old.event("node.invoke.request").await["payload"].clone();
    // The same node again, and another node: neither was asked.
    let (mut again, _) = Client::connect(gateway.address, &node(4, &gateway.secret, 1)).await;
    let result = json!({"id": request["id"], "nodeId": node_id(1), "ok": true, "payloadJSON": "1"});
    let ignored = json!({"ok": true, "ignored": true});
    assert_eq!(
        again.ok("node.invoke.result", result.clone()).await,
        ignored
    );
    let (mut other, _) = Client::connect(gateway.address, &node(4, &gateway.secret, 5)).await;
    let error = other.error("node.invoke.result", result.clone()).await;
    assert_eq!(error["message"], "nodeId mismatch");
    assert_eq!(
        old.ok("node.invoke.result", result.clone()).await,
        json!({"ok": true})
    );
    assert_eq!(operator.response(&call).await["payload"]["payload"], 1);
    assert_eq!(
        old.ok("node.invoke.result", result).await,
        ignored,
        "nobody waits any more"
    );
}

#[tokio::test]
async fn a_caller_that_leaves_or_waits_too_long_cancels_the_command() {
    let gateway = TestGateway::start().await;
    let (mut node, mut operator) = approved(&gateway, 1).await;
    // The time counts from the call on: on a busy machine it may be over before the node is asked.
    let mut times = (0..).map(|doubled| 50_u64 << doubled);
    let request = loop {
        let ms = times.next().unwrap();
        let mut short = invoke(1, "system.which", json!({}), &format!("k-{ms}"));
        short["timeoutMs"] = json!(ms);
        let error = operator.error("node.invoke", short).await;
        assert_eq!(error["code"], "UNAVAILABLE");
        assert_eq!(error["message"], "node invoke timed out");
        // Whatever the node was asked came before this.
        node.ok("health", json!({})).await;
        let is_asked = |frame: &Value| frame["event"] == "node.invoke.request";
        if node.skipped.iter().any(is_asked) {
            break node.event("node.invoke.request").await;
        }
    };
    let cancel = node.event("node.invoke.cancel").await;
    assert_eq!(cancel["payload"]["invokeId"], request["payload"]["id"]);
    operator
        .start("node.invoke", invoke(1, "system.which", json!({}), "k2"))
        .await;
    let request = node.event("node.invoke.request").await;
    drop(operator);
    let cancel = node.event("node.invoke.cancel").await;
    let expected = json!({"invokeId": request["payload"]["id"], "nodeId": node_id(1)});
    assert_eq!(cancel["payload"], expected);
}

#[tokio::test]
async fn a_result_that_is_too_large_is_refused_at_the_limit() {
    let gateway = TestGateway::start().await;
    let (mut node, mut operator) = approved(&gateway, 1).await;
    let call = operator
        .start("node.invoke", invoke(1, "system.which", json!({}), "k"))
        .await;
    let request = node.event("node.invoke.request").await["payload"].clone();
    let text = format!("\"{}\"", "x".repeat(24 * 1024 * 1024));
    let result =
        json!({"id": request["id"], "nodeId": node_id(1), "ok": true, "payloadJSON": text});
    let error = node.error("node.invoke.result", result).await;
    assert_eq!(error["details"]["code"], "RESULT_TOO_LARGE");
    let error = operator.response(&call).await["error"].clone();
    let words = error["message"].as_str().unwrap();
    assert!(words.contains("at most 25165824 are passed on"), "{words}");
}

#[tokio::test]
async fn the_largest_file_comes_through_as_a_value_alone() {
    let gateway = TestGateway::start().await;
    let (mut node, mut operator) = approved(&gateway, 1).await;
    // 16 MiB in base64, the most that file.fetch gives.
    for (key, size, is_twice) in [("k1", 1024, true), ("k2", 22_369_624, false)] {
        let call = operator
            .start("node.invoke", invoke(1, "system.which", json!({}), key))
            .await;
        let text = json!({"base64": "x".repeat(size)}).to_string();
        answer(&mut node, json!({"payloadJSON": text})).await;
        let reply = operator.response(&call).await["payload"].clone();
        assert_eq!(reply["payload"]["base64"].as_str().unwrap().len(), size);
        assert_eq!(reply["payloadJSON"].is_string(), is_twice);
    }
}

#[tokio::test]
async fn a_node_is_busy_with_a_bounded_number_of_commands() {
    let gateway = TestGateway::start().await;
    let (_node, mut operator) = approved(&gateway, 1).await;
    for at in 0..64 {
        let params = invoke(1, "system.which", json!({}), &format!("k{at}"));
        operator.start("node.invoke", params).await;
    }
    let error = operator
        .error(
            "node.invoke",
            invoke(1, "system.which", json!({}), "one more"),
        )
        .await;
    assert_eq!(error["details"]["code"], "NODE_BUSY");
    assert_eq!(error["retryable"], true);
}

#[tokio::test]
async fn a_node_tells_its_load_and_is_described_with_it() {
    let gateway = TestGateway::start().await;
    let (mut node, mut operator) = approved(&gateway, 1).await;
    let stats = json!({
        "cpuCount": 2, "loadAverage": [0.5, 0.25, 0.125], "memoryTotalBytes": 8, "memoryFreeBytes": 4,
        "diskTotalBytes": 100, "diskAvailableBytes": 50,
    });
    let event = json!({"event": "node.host.stats", "payloadJSON": stats.to_string()});
    let reply = node.ok("node.event", event).await;
    assert_eq!(
        reply,
        json!({"ok": true, "event": "node.host.stats", "handled": true})
    );
    let told = operator.event("node.hostStats").await["payload"].clone();
    assert_eq!(told["nodeId"], node_id(1));
    assert_eq!(told["hostStats"]["diskAvailableBytes"], 50);
    let described = operator
        .ok("node.describe", json!({"nodeId": node_id(1)}))
        .await;
    assert_eq!(described["hostStats"], told["hostStats"]);
    assert_eq!(described["approvalState"], "approved");
    let health = operator.ok("health", json!({})).await;
    assert_eq!(health["nodes"]["connected"], 1);
    let who = operator.ok("system-presence", json!({})).await;
    let is_node =
        |entry: &Value| entry["mode"] == "node" && entry["deviceId"] == node_id(1).as_str();
    assert!(who.as_array().unwrap().iter().any(is_node), "{who}");
    // Gone, it is still known, with what it said last. Whoever was here before it came is of no interest.
    operator.skipped.clear();
    drop(node);
    let left = |frame: &Value| {
        let who = frame["payload"]["presence"].as_array();
        frame["event"] == "presence" && who.is_some_and(|who| !who.iter().any(is_node))
    };
    operator.until(left).await;
    let described = operator
        .ok("node.describe", json!({"nodeId": node_id(1)}))
        .await;
    assert_eq!(described["connected"], false);
    assert_eq!(described["commands"], json!(["system.run", "system.which"]));
}

#[tokio::test]
async fn what_a_node_offers_is_bounded_and_no_operators_method() {
    let gateway = TestGateway::start().await;
    let (mut node, mut operator) = approved(&gateway, 1).await;
    let reply = node.ok("node.skills.update", json!({"skills": []})).await;
    assert_eq!(reply, json!({"nodeId": node_id(1), "skills": []}));
    let reply = node
        .ok("node.pluginTools.update", json!({"tools": []}))
        .await;
    assert_eq!(reply, json!({"nodeId": node_id(1), "tools": []}));
    let tools = vec![json!({}); 65];
    let error = node
        .error("node.pluginTools.update", json!({"tools": tools}))
        .await;
    assert_eq!(error["code"], "INVALID_REQUEST");
    let inventory = json!({"protocolFeatures": [], "workerHost": {"enabled": false}});
    assert_eq!(
        node.ok("node.runnerInventory.update", inventory).await,
        json!({"ok": true})
    );
    assert_eq!(node.ok("skills.bins", json!({})).await, json!({"bins": []}));
    let error = operator.error("skills.bins", json!({})).await;
    assert_eq!(error["message"], "unauthorized role: operator");
    let error = node.error("node.list", json!({})).await;
    assert_eq!(error["message"], "unauthorized role: node");
}
