//! Which commands of a node may be used: asked for, approved, rejected, removed.

use serde_json::json;

use crate::nodes::{approved, invoke, node, node_id, operator};
use crate::support::{Client, Connect, Device, OWN_UID, TestGateway};

#[tokio::test]
async fn a_version_4_node_is_paired_silently_and_its_commands_wait() {
    let gateway = TestGateway::start().await;
    let mut admin = operator(&gateway, 4).await;
    let (mut host, _) = Client::connect(gateway.address, &node(4, &gateway.secret, 1)).await;
    let asked = admin.event("node.pair.requested").await["payload"].clone();
    let request_id = asked["requestId"].as_str().unwrap().to_owned();
    let expected = json!({
        "requestId": request_id, "nodeId": node_id(1), "clientId": "node-host", "clientMode": "node",
        "displayName": "shed", "platform": "linux", "version": "1", "deviceFamily": "Linux",
        "caps": ["system"], "commands": ["system.run", "system.which"],
        "requiredApproveScopes": ["operator.pairing", "operator.admin"], "silent": true,
        "ts": asked["ts"],
    });
    assert_eq!(
        asked, expected,
        "what linux may not have is not even asked for"
    );
    let list = admin.ok("node.pair.list", json!({})).await;
    assert_eq!(list, json!({"pending": [expected], "paired": []}));
    let row = admin.ok("node.list", json!({})).await["nodes"][0].clone();
    assert_eq!(row["approvalState"], "pending-approval");
    assert_eq!(row["pendingRequestId"], request_id);
    assert_eq!(row["commands"], json!([]));
    assert_eq!(
        row["pendingDeclaredCommands"],
        json!(["system.run", "system.which"])
    );
    // Until then the node host is told so, in the words that it waits out.
    let inventory = json!({"protocolFeatures": [], "workerHost": {"enabled": false}});
    let error = host
        .error("node.runnerInventory.update", inventory.clone())
        .await;
    let text = error["message"].as_str().unwrap();
    assert!(
        text.contains(&format!("openclaw nodes approve {request_id}")),
        "{text}"
    );
    let error = host
        .error("node.event", json!({"event": "node.host.stats"}))
        .await;
    assert_eq!(error["details"]["code"], "PAIRING_CHANGED");

    let done = admin
        .ok("node.pair.approve", json!({"requestId": request_id}))
        .await;
    assert_eq!(
        done["node"]["commands"],
        json!(["system.run", "system.which"])
    );
    let told = host.event("node.pair.resolved").await;
    assert_eq!(told["payload"]["decision"], "approved");
    assert_eq!(told.get("seq"), None, "the node is told directly");
    assert_eq!(
        admin.event("node.pair.resolved").await["payload"],
        told["payload"]
    );
    assert_eq!(
        host.ok("node.runnerInventory.update", inventory).await,
        json!({"ok": true})
    );
    let error = admin
        .error("node.pair.approve", json!({"requestId": request_id}))
        .await;
    assert_eq!(error["message"], "unknown requestId");
}

#[tokio::test]
async fn more_commands_ask_again_while_the_approved_ones_work() {
    let gateway = TestGateway::start().await;
    let (host, mut admin) = approved(&gateway, 1).await;
    drop(host);
    let more =
        node(4, &gateway.secret, 1).set("/commands", json!(["system.which", "system.notify"]));
    let (mut host, _) = Client::connect(gateway.address, &more).await;
    let asked = admin.event("node.pair.requested").await["payload"].clone();
    assert_eq!(asked["commands"], json!(["system.notify", "system.which"]));
    let row = admin
        .ok("node.describe", json!({"nodeId": node_id(1)}))
        .await;
    assert_eq!(row["approvalState"], "pending-reapproval");
    assert_eq!(
        row["commands"],
        json!(["system.which"]),
        "approved and still declared"
    );
    let params = invoke(1, "system.notify", json!({}), "k1");
    let error = admin.error("node.invoke", params).await;
    assert_eq!(error["details"]["code"], "NODE_COMMAND_NOT_APPROVED");
    let call = admin
        .start("node.invoke", invoke(1, "system.which", json!({}), "k2"))
        .await;
    crate::nodes::answer(&mut host, json!({"payloadJSON": "{}"})).await;
    assert_eq!(admin.response(&call).await["ok"], true);
    let reject = json!({"requestId": asked["requestId"]});
    let done = admin.ok("node.pair.reject", reject).await;
    assert_eq!(
        done,
        json!({"requestId": asked["requestId"], "nodeId": node_id(1)})
    );
    let row = admin
        .ok("node.describe", json!({"nodeId": node_id(1)}))
        .await;
    assert_eq!(
        row["approvalState"], "approved",
        "a rejection takes nothing away"
    );
}

#[tokio::test]
async fn running_programs_is_approved_by_an_admin_only() {
    let gateway = TestGateway::start().await;
    let mut admin = operator(&gateway, 4).await;
    let (_host, _) = Client::connect(gateway.address, &node(4, &gateway.secret, 1)).await;
    let asked = admin.event("node.pair.requested").await["payload"].clone();
    let pairing = Connect::cli(4, &gateway.secret, &["operator.pairing"]);
    let (mut pairing, _) = Client::connect(gateway.address, &pairing).await;
    let params = json!({"requestId": asked["requestId"]});
    let error = pairing.error("node.pair.approve", params.clone()).await;
    assert_eq!(error["code"], "FORBIDDEN");
    assert_eq!(error["details"]["missingScope"], "operator.admin");
    admin.ok("node.pair.approve", params).await;
}

#[tokio::test]
async fn a_removed_node_is_closed_and_starts_over() {
    let gateway = TestGateway::start().await;
    let (mut host, mut admin) = approved(&gateway, 1).await;
    let done = admin
        .ok("node.pair.remove", json!({"nodeId": node_id(1)}))
        .await;
    assert_eq!(done, json!({"nodeId": node_id(1)}));
    assert_eq!(host.closed().await, (4001, "device removed".to_owned()));
    let (_host, _) = Client::connect(gateway.address, &node(4, &gateway.secret, 1)).await;
    let row = admin
        .ok("node.describe", json!({"nodeId": node_id(1)}))
        .await;
    assert_eq!(
        row["approvalState"], "pending-approval",
        "nothing of it is left"
    );
    let error = admin
        .error("node.pair.remove", json!({"nodeId": "nobody"}))
        .await;
    assert_eq!(error["message"], "unknown nodeId");
}

#[tokio::test]
async fn approvals_and_requests_survive_a_restart() {
    let gateway = TestGateway::start().await;
    let (host, admin) = approved(&gateway, 1).await;
    drop((host, admin));
    let gateway = gateway.restart().await;
    let mut admin = operator(&gateway, 4).await;
    let (mut host, _) = Client::connect(gateway.address, &node(4, &gateway.secret, 1)).await;
    let call = admin
        .start("node.invoke", invoke(1, "system.which", json!({}), "k"))
        .await;
    crate::nodes::answer(&mut host, json!({"payloadJSON": "{}"})).await;
    assert_eq!(admin.response(&call).await["ok"], true);
}

#[tokio::test]
async fn a_node_has_the_name_that_a_person_gave_it() {
    let gateway = TestGateway::start().await;
    let (_host, mut admin) = approved(&gateway, 1).await;
    let params = json!({"nodeId": node_id(1), "displayName": " bench \u{202e}x "});
    let done = admin.ok("node.rename", params).await;
    assert_eq!(
        done,
        json!({"nodeId": node_id(1), "displayName": "bench \\u{202e}x"})
    );
    let (_again, _) = Client::connect(gateway.address, &node(4, &gateway.secret, 1)).await;
    let row = admin
        .ok("node.describe", json!({"nodeId": node_id(1)}))
        .await;
    assert_eq!(
        row["displayName"], "bench \\u{202e}x",
        "its own name does not win"
    );
    for (params, text) in [
        (
            json!({"nodeId": "nobody", "displayName": "x"}),
            "unknown nodeId",
        ),
        (
            json!({"nodeId": node_id(1), "displayName": "  "}),
            "displayName required",
        ),
    ] {
        assert_eq!(admin.error("node.rename", params).await["message"], text);
    }
}

#[tokio::test]
async fn version_3_asks_by_name_and_gets_a_token_once() {
    let gateway = TestGateway::start().await;
    let mut admin = operator(&gateway, 3).await;
    let ask = json!({
        "nodeId": "legacy-node", "displayName": "Legacy", "platform": "linux",
        "commands": ["system.which"],
    });
    let asked = admin.ok("node.pair.request", ask.clone()).await;
    assert_eq!(asked["status"], "pending");
    assert_eq!(asked["created"], true);
    assert_eq!(asked["request"]["isRepair"], false);
    assert_eq!(
        admin.event("node.pair.requested").await["payload"],
        asked["request"]
    );
    assert_eq!(admin.ok("node.pair.request", ask).await["created"], false);
    let request = json!({"requestId": asked["request"]["requestId"]});
    let node = admin.ok("node.pair.approve", request).await["node"].clone();
    let token = node["token"].as_str().unwrap();
    let verify = |token: &str| json!({"nodeId": "legacy-node", "token": token});
    assert_eq!(
        admin.ok("node.pair.verify", verify(token)).await["ok"],
        true
    );
    assert_eq!(
        admin.ok("node.pair.verify", verify("x")).await,
        json!({"ok": false})
    );
    let listed = admin.ok("node.pair.list", json!({})).await["paired"][0].clone();
    assert_eq!(listed["nodeId"], "legacy-node");
    assert_eq!(listed.get("token"), None, "it is told once");
}

#[tokio::test]
async fn only_an_admin_decides_about_the_nodes_of_others() {
    let gateway = TestGateway::start().await;
    let (_host, mut admin) = approved(&gateway, 1).await;
    let (_other, _) = Client::connect(gateway.address, &node(4, &gateway.secret, 2)).await;
    let waits = admin.event("node.pair.requested").await["payload"].clone();
    let request = json!({"requestId": waits["requestId"]});
    let device =
        Connect::cli(4, &gateway.secret, &["operator.pairing"]).with_device(Device::new(9));
    let (mut device, _) = Client::connect(gateway.address, &device).await;
    let of_other = json!({"nodeId": node_id(1), "displayName": "mine"});
    for (method, params) in [
        ("node.rename", &of_other),
        ("node.pair.remove", &of_other),
        ("node.pair.reject", &request),
        ("node.pair.approve", &request),
    ] {
        let error = device.error(method, params.clone()).await;
        assert_eq!(error["code"], "FORBIDDEN", "{method}");
        assert_eq!(
            error["message"],
            "only the device itself or an admin may do this"
        );
    }
    let none = json!({"pending": [], "paired": []});
    assert_eq!(device.ok("node.pair.list", json!({})).await, none);
    let listed = admin.ok("node.pair.list", json!({})).await;
    assert_eq!(listed["pending"][0]["requestId"], waits["requestId"]);
    assert_eq!(listed["paired"][0]["displayName"], "shed");
    admin.ok("node.rename", of_other.clone()).await;
    admin.ok("node.pair.reject", request).await;
    admin
        .ok("node.pair.remove", json!({"nodeId": node_id(1)}))
        .await;
}

#[tokio::test]
async fn a_request_is_told_to_those_who_see_it_in_the_list() {
    let gateway = TestGateway::start().await;
    let mut admin = operator(&gateway, 4).await;
    let scopes = ["operator.pairing"];
    let pairing = |seed| Connect::cli(4, &gateway.secret, &scopes).with_device(Device::new(seed));
    let (mut itself, _) = Client::connect(gateway.address, &pairing(1)).await;
    let (mut other, _) = Client::connect(gateway.address, &pairing(9)).await;
    // The owner's command line, which has no device.
    let owner = Connect::cli(4, &gateway.secret, &scopes);
    let (mut owner, _) = Client::connect(gateway.address, &owner).await;
    // A node's commands, and a device that is new here.
    let (_host, _) = Client::connect(gateway.address, &node(4, &gateway.secret, 1)).await;
    let node_asks = admin.event("node.pair.requested").await["payload"].clone();
    gateway.peers.become_user(OWN_UID + 1);
    let (error, ..) = Client::refused(gateway.address, &pairing(2)).await;
    let device_asks = error["details"]["requestId"].clone();
    let reject = json!({"requestId": node_asks["requestId"]});
    admin.ok("node.pair.reject", reject).await;
    let reject = json!({"requestId": device_asks});
    admin.ok("device.pair.reject", reject).await;
    let told = async |client: &mut Client| {
        // Whatever came before it was sent before it.
        client.ok("health", json!({})).await;
        let events = client.seen.iter().filter_map(|frame| {
            let name = frame["event"].as_str()?;
            let is_silent = frame["payload"]["decision"] == "approved";
            let is_pairing = name.contains(".pair.") && !is_silent;
            is_pairing.then(|| format!("{name} {}", frame["payload"]["requestId"]))
        });
        events.collect::<Vec<_>>()
    };
    let of_node = [
        format!("node.pair.requested {}", node_asks["requestId"]),
        format!("node.pair.resolved {}", node_asks["requestId"]),
    ];
    let of_device = [
        format!("device.pair.requested {device_asks}"),
        format!("device.pair.resolved {device_asks}"),
    ];
    let all = [
        of_node[0].clone(),
        of_device[0].clone(),
        of_node[1].clone(),
        of_device[1].clone(),
    ];
    assert_eq!(told(&mut admin).await, all);
    assert_eq!(told(&mut owner).await, all);
    assert_eq!(told(&mut itself).await, of_node);
    assert_eq!(told(&mut other).await, [""; 0]);
}

#[tokio::test]
async fn nobody_asks_by_name_for_a_node_that_has_a_device() {
    let gateway = TestGateway::start().await;
    let mut v3 = operator(&gateway, 3).await;
    let by_name = json!({
        "nodeId": node_id(1), "displayName": "mine", "platform": "darwin",
        "commands": ["system.which", "camera.list"],
    });
    // Asked for before the device came: what it asks for by itself takes its place.
    let early = v3.ok("node.pair.request", by_name.clone()).await["request"].clone();
    let (_host, mut admin) = approved(&gateway, 1).await;
    let early = json!({"requestId": early["requestId"]});
    admin.error("node.pair.approve", early).await;
    let before = admin
        .ok("node.describe", json!({"nodeId": node_id(1)}))
        .await;
    let error = v3.error("node.pair.request", by_name).await;
    assert_eq!(
        error["message"],
        "nodeId: a paired device asks for itself when it connects"
    );
    let mut after = admin
        .ok("node.describe", json!({"nodeId": node_id(1)}))
        .await;
    after["ts"] = before["ts"].clone();
    assert_eq!(after, before);
    assert_eq!(before["platform"], "linux");
    let listed = admin.ok("node.pair.list", json!({})).await;
    assert_eq!(listed["pending"], json!([]));
}
