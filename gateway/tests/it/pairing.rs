//! Devices: let in silently, made to wait, approved on the host, rotated, revoked, removed.

use clawline_gateway::settings::SilentScopes;
use serde_json::{Value, json};

use crate::support::program::command;
use crate::support::{Client, Connect, Device, OWN_UID, TestGateway};

const OTHER_USER: u32 = 4001;

fn laptop(token: &str, scopes: &[&str]) -> Connect {
    Connect::cli(4, token, scopes)
        .set("/client/id", json!("gateway-client"))
        .set("/client/mode", json!("ui"))
        .set("/client/displayName", json!("laptop"))
        .with_device(Device::new(11))
}

#[tokio::test]
async fn the_same_user_is_paired_silently_with_what_it_asks_for() {
    let gateway = TestGateway::start().await;
    let (_, hello) = Client::connect(
        gateway.address,
        &laptop(&gateway.secret, &["operator.admin"]),
    )
    .await;
    assert_eq!(hello["auth"]["scopes"], json!(["operator.admin"]));
    let token = hello["auth"]["deviceToken"].as_str().unwrap();
    // From then on its token is enough, in either member, for what it covers.
    for member in ["token", "deviceToken"] {
        let connect = laptop("", &["operator.read"]).set("/auth", json!({member: token}));
        let (_, hello) = Client::connect(gateway.address, &connect).await;
        assert_eq!(hello["auth"]["method"], "device-token");
        assert_eq!(hello["auth"]["deviceToken"], token, "re-sent, not renewed");
    }
    let other = laptop(token, &["operator.read"]).with_device(Device::new(12));
    let (error, ..) = Client::refused(gateway.address, &other).await;
    assert_eq!(
        error["details"]["code"], "AUTH_TOKEN_MISMATCH",
        "a token is bound to its device"
    );
}

#[tokio::test]
async fn another_user_with_the_secret_waits_for_an_approval_on_the_host() {
    let gateway = TestGateway::start_at("clawline-gateway").await;
    let admin = Connect::cli(4, &gateway.secret, &["operator.admin"]);
    let (mut admin, _) = Client::connect(gateway.address, &admin).await;
    gateway.peers.become_user(OTHER_USER);
    let ask = laptop(&gateway.secret, &["operator.read"]);
    let (error, code, reason) = Client::refused(gateway.address, &ask).await;
    let request = error["details"]["requestId"].as_str().unwrap().to_owned();
    assert_eq!(error["code"], "NOT_PAIRED");
    assert_eq!(
        error["message"],
        "pairing required: device is not approved yet"
    );
    assert_eq!(error["details"]["reason"], "not-paired");
    assert_eq!(code, 1008);
    assert!(
        reason.ends_with(&format!("(requestId: {request})")),
        "{reason}"
    );
    let event = admin.event("device.pair.requested").await;
    assert_eq!(event["payload"]["requestId"], request);
    assert_eq!(event["payload"]["displayName"], "laptop");
    let (again, ..) = Client::refused(gateway.address, &ask).await;
    assert_eq!(again["details"]["requestId"], request, "asked once");

    let done = command(&gateway, &["devices", "approve", &request[..8]]).await;
    assert!(done.status.success(), "{done:?}");
    let resolved = admin.event("device.pair.resolved").await;
    assert_eq!(resolved["payload"]["decision"], "approved");
    let (_, hello) = Client::connect(gateway.address, &ask).await;
    assert_eq!(hello["auth"]["scopes"], json!(["operator.read"]));
    let more = laptop(&gateway.secret, &["operator.read", "operator.write"]);
    let (error, ..) = Client::refused(gateway.address, &more).await;
    assert_eq!(error["details"]["reason"], "scope-upgrade");
    assert_eq!(error["details"]["approvedScopes"], json!(["operator.read"]));
    let v3 = more
        .set("/minProtocol", json!(3))
        .set("/maxProtocol", json!(3));
    let (error, _, reason) = Client::refused(gateway.address, &v3).await;
    assert_eq!(error["message"], "pairing required");
    assert!(error["details"]["requestId"].is_string());
    assert_eq!(reason, "pairing required");
}

#[tokio::test]
async fn the_strict_switch_limits_callers_without_a_device_too() {
    let gateway = TestGateway::start_with(|settings| {
        settings.silent_scopes = SilentScopes::ReadWrite;
    })
    .await;
    let all = ["operator.admin", "operator.pairing", "operator.write"];
    for (id, mode) in [("cli", "cli"), ("gateway-client", "backend")] {
        let connect = Connect::cli(4, &gateway.secret, &all)
            .set("/client/id", json!(id))
            .set("/client/mode", json!(mode));
        let (mut client, hello) = Client::connect(gateway.address, &connect).await;
        assert_eq!(hello["auth"]["scopes"], json!(["operator.write"]), "{id}");
        let error = client.error("device.pair.list", json!({})).await;
        assert_eq!(error["details"]["missingScope"], "operator.pairing", "{id}");
        client.ok("sessions.list", json!({})).await;
    }
}

#[tokio::test]
async fn a_page_or_an_unknown_user_is_never_paired_silently() {
    let gateway = TestGateway::start().await;
    let ask = laptop(&gateway.secret, &["operator.read"]);
    let own_page = format!("http://{}", gateway.address);
    let mut client = Client::try_open(gateway.address, &[("origin", &own_page)])
        .await
        .unwrap_or_else(|refused| panic!("{refused:?}"));
    let response = client.greet(&ask).await;
    assert_eq!(response["error"]["details"]["code"], "PAIRING_REQUIRED");
    gateway.peers.become_unknown();
    let (error, ..) = Client::refused(gateway.address, &ask).await;
    assert_eq!(error["details"]["code"], "PAIRING_REQUIRED");
}

#[tokio::test]
async fn what_a_client_says_about_itself_is_cut_and_cannot_deceive() {
    let gateway = TestGateway::start().await;
    let admin = Connect::cli(4, &gateway.secret, &["operator.admin"]);
    let (mut admin, _) = Client::connect(gateway.address, &admin).await;
    gateway.peers.become_user(OTHER_USER);
    let long = "x".repeat(10_000);
    let ask = laptop(&gateway.secret, &["operator.read"])
        .set(
            "/client/displayName",
            json!("\u{1b}[2Jok\nrole: \u{202e}gpj"),
        )
        .set("/client/platform", json!(long))
        .set("/client/version", json!(long));
    Client::refused(gateway.address, &ask).await;
    let event = admin.event("device.pair.requested").await;
    assert_eq!(
        event["payload"]["displayName"],
        "\\u{1b}[2Jok role: \\u{202e}gpj"
    );
    assert_eq!(event["payload"]["platform"], long[..64]);
    gateway.peers.become_user(OWN_UID);
    let request = json!({"requestId": event["payload"]["requestId"]});
    admin.ok("device.pair.approve", request).await;
    // The same device with the same long name is the same device, once in presence.
    let (_first, _) = Client::connect(gateway.address, &ask).await;
    let (_second, _) = Client::connect(gateway.address, &ask).await;
    let present = admin.ok("system-presence", json!({})).await;
    let present = present.as_array().unwrap();
    assert_eq!(present.len(), 2, "the gateway and the device: {present:?}");
    assert_eq!(present[1]["version"], long[..64]);
}

#[tokio::test]
async fn a_device_that_changes_its_platform_is_approved_again() {
    let gateway = TestGateway::start().await;
    let ask = laptop(&gateway.secret, &["operator.read"]);
    Client::connect(gateway.address, &ask).await;
    let moved = ask.set("/client/platform", json!("darwin"));
    let (error, ..) = Client::refused(gateway.address, &moved).await;
    assert_eq!(error["details"]["reason"], "metadata-upgrade");
    assert_eq!(
        error["message"],
        "pairing required: device identity changed and must be re-approved"
    );
}

#[tokio::test]
async fn rotation_and_removal_void_the_token_and_close_the_device_s_connections() {
    let gateway = TestGateway::start().await;
    let scopes = ["operator.admin", "operator.pairing"];
    let ask = laptop(&gateway.secret, &scopes);
    let (mut device, hello) = Client::connect(gateway.address, &ask).await;
    let old = hello["auth"]["deviceToken"].as_str().unwrap().to_owned();
    let admin = Connect::cli(4, &gateway.secret, &["operator.admin"]);
    let (mut admin, _) = Client::connect(gateway.address, &admin).await;
    let listed = admin.ok("device.pair.list", json!({})).await;
    let id = listed["paired"][0]["deviceId"].clone();
    assert_eq!(listed["paired"][0]["connected"], true);
    assert!(
        !listed.to_string().contains(&old),
        "tokens are never listed"
    );

    let target = json!({"deviceId": id, "role": "operator"});
    let rotated = admin.ok("device.token.rotate", target.clone()).await;
    assert_eq!(rotated["tokenDelivery"], "withheld-cross-device");
    assert!(rotated.get("token").is_none());
    assert_eq!(device.closed().await, (4001, "device removed".to_owned()));
    let with_old = laptop(&old, &["operator.read"]);
    let (error, ..) = Client::refused(gateway.address, &with_old).await;
    assert_eq!(error["details"]["code"], "AUTH_TOKEN_MISMATCH");

    let (mut device, hello) = Client::connect(gateway.address, &ask).await;
    assert_ne!(hello["auth"]["deviceToken"], old);
    let own = device.ok("device.token.rotate", target.clone()).await;
    let new = own["token"].as_str().unwrap().to_owned();
    assert_eq!(device.closed().await.0, 4001);
    Client::connect(gateway.address, &laptop(&new, &["operator.read"])).await;

    admin.ok("device.token.revoke", target).await;
    let (error, ..) = Client::refused(gateway.address, &ask).await;
    assert_eq!(error["details"]["reason"], "role-upgrade");
    admin
        .ok("device.pair.remove", json!({"deviceId": id}))
        .await;
    let unknown = admin
        .error("device.pair.remove", json!({"deviceId": id}))
        .await;
    assert_eq!(unknown["message"], "unknown deviceId");
    // Gone means new: the same user may come again.
    Client::connect(gateway.address, &ask).await;
}

#[tokio::test]
async fn a_removed_device_gets_its_answer_and_no_further_call() {
    let gateway = TestGateway::start().await;
    let ask = laptop(&gateway.secret, &["operator.admin"]);
    let (mut device, _) = Client::connect(gateway.address, &ask).await;
    let id = Device::new(11).identity.device_id().to_owned();
    // A call that waits for long does not keep the connection.
    let wait = json!({"runId": "none", "timeoutMs": 600_000});
    device.start("agent.wait", wait).await;
    let removal = device
        .start("device.pair.remove", json!({"deviceId": id}))
        .await;
    let removed = device.response(&removal).await;
    assert_eq!(removed["ok"], true, "{removed}");
    let late = device.start("sessions.list", json!({})).await;
    assert_eq!(device.closed().await.0, 4001);
    assert!(device.seen.iter().all(|frame| frame["id"] != late));
}

#[tokio::test]
async fn a_device_neither_sees_nor_changes_others_nor_gives_more_than_it_has() {
    let gateway = TestGateway::start().await;
    let pairer =
        Connect::cli(4, &gateway.secret, &["operator.pairing"]).with_device(Device::new(21));
    let wants_admin = pairer
        .clone()
        .set("/scopes", json!(["operator.admin", "operator.pairing"]));
    let pairer_id = Device::new(21).identity.device_id().to_owned();
    let (mut pairer, _) = Client::connect(gateway.address, &pairer).await;
    let other = laptop(&gateway.secret, &["operator.admin"]);
    let id = other
        .device
        .clone()
        .unwrap()
        .identity
        .device_id()
        .to_owned();
    let (_other, _) = Client::connect(gateway.address, &other).await;
    let error = pairer
        .error("device.pair.remove", json!({"deviceId": id}))
        .await;
    assert_eq!(error["code"], "FORBIDDEN");
    gateway.peers.become_user(OTHER_USER);
    let stranger = Connect::cli(4, &gateway.secret, &["operator.pairing"]);
    let stranger = stranger.with_device(Device::new(22));
    let (error, ..) = Client::refused(gateway.address, &stranger).await;
    let request = json!({"requestId": error["details"]["requestId"]});
    for method in ["device.pair.approve", "device.pair.reject"] {
        let error = pairer.error(method, request.clone()).await;
        assert_eq!(error["code"], "FORBIDDEN", "{method}");
    }
    let (error, ..) = Client::refused(gateway.address, &wants_admin).await;
    let own = json!({"requestId": error["details"]["requestId"]});
    let error = pairer.error("device.pair.approve", own.clone()).await;
    assert_eq!(error["message"], "missing scope: operator.admin");

    let listed = pairer.ok("device.pair.list", json!({})).await;
    let ids = |rows: &Value| -> Vec<Value> {
        let rows = rows.as_array().unwrap();
        rows.iter().map(|row| row["deviceId"].clone()).collect()
    };
    assert_eq!(ids(&listed["pending"]), std::slice::from_ref(&pairer_id));
    assert_eq!(ids(&listed["paired"]), std::slice::from_ref(&pairer_id));
    let told = pairer.seen.iter().filter(|frame| frame["type"] == "event");
    for event in told.filter(|event| event["payload"]["requestId"].is_string()) {
        assert_eq!(event["payload"]["deviceId"], pairer_id);
    }
    pairer.ok("device.pair.reject", own).await;
    // The owner's own command line, which shows no device, sees and decides about all.
    gateway.peers.become_user(OWN_UID);
    let owner = Connect::cli(4, &gateway.secret, &["operator.pairing"]);
    let (mut owner, _) = Client::connect(gateway.address, &owner).await;
    let listed = owner.ok("device.pair.list", json!({})).await;
    assert_eq!(ids(&listed["paired"]).len(), 2);
    owner.ok("device.pair.approve", request).await;
}

#[tokio::test]
async fn a_restart_keeps_devices_their_tokens_and_the_shared_token() {
    let gateway = TestGateway::start().await;
    let ask = laptop(&gateway.secret, &["operator.read"]);
    let (_, hello) = Client::connect(gateway.address, &ask).await;
    let token = hello["auth"]["deviceToken"].as_str().unwrap().to_owned();
    let secret = gateway.secret.clone();
    let gateway = gateway.restart().await;
    assert_eq!(gateway.secret, secret);
    gateway.peers.become_user(OTHER_USER);
    let connect = laptop(&token, &["operator.read"]);
    let (_, hello) = Client::connect(gateway.address, &connect).await;
    assert_eq!(hello["auth"]["deviceToken"], token);
}

#[tokio::test]
async fn devices_are_decided_while_the_gateway_is_stopped_too() {
    let gateway = TestGateway::start_at("clawline-gateway").await;
    gateway.peers.become_user(OTHER_USER);
    let ask = laptop(&gateway.secret, &["operator.read"]);
    Client::refused(gateway.address, &ask).await;
    let gateway = gateway.pause().await;
    let listed = command(&gateway, &["devices", "list", "--json"]).await;
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed["pending"].as_array().unwrap().len(), 1);
    let request = listed["pending"][0]["requestId"].as_str().unwrap();
    let done = command(&gateway, &["devices", "approve", request]).await;
    assert!(done.status.success(), "{done:?}");
    let gateway = gateway.resume().await;
    gateway.peers.become_user(OTHER_USER);
    Client::connect(gateway.address, &ask).await;
}

#[tokio::test]
async fn what_waits_is_not_approved_before_somebody_has_seen_it() {
    let gateway = TestGateway::start_at("clawline-gateway").await;
    gateway.peers.become_user(OTHER_USER);
    let ask = laptop(&gateway.secret, &["operator.read"]);
    let (error, ..) = Client::refused(gateway.address, &ask).await;
    let first = error["details"]["requestId"].as_str().unwrap().to_owned();
    // It asks for more after somebody has looked at the list.
    let more = laptop(&gateway.secret, &["operator.admin"]);
    let (error, ..) = Client::refused(gateway.address, &more).await;
    let request = error["details"]["requestId"].as_str().unwrap().to_owned();
    assert_ne!(first, request);
    let done = command(&gateway, &["devices", "approve", &first]).await;
    assert!(!done.status.success(), "{done:?}");
    // Nobody can be asked here.
    let done = command(&gateway, &["devices", "approve"]).await;
    assert_eq!(done.status.code(), Some(2), "{done:?}");
    let shown = String::from_utf8(done.stdout).unwrap();
    assert!(shown.contains("asks for admin"), "{shown}");
    let words = String::from_utf8(done.stderr).unwrap();
    let next = format!("clawline-gateway devices approve {request}");
    assert!(words.contains(&next), "{words}");
    Client::refused(gateway.address, &more).await;
    let done = command(&gateway, &["devices", "approve", &request]).await;
    let shown = String::from_utf8(done.stdout).unwrap();
    assert!(shown.starts_with("approved: "), "{shown}");
    assert!(shown.contains("asks for admin"), "{shown}");
}
