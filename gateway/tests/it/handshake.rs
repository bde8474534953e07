//! Coming in: good connects of both versions, and every refusal in its exact words.

use serde_json::json;

use crate::support::{Client, Connect, Device, TestGateway};

#[tokio::test]
async fn the_v4_command_line_comes_in_without_a_device_and_keeps_its_scopes() {
    let gateway = TestGateway::start().await;
    let connect = Connect::cli(4, &gateway.secret, &["operator.read", "operator.admin"]);
    let (mut client, hello) = Client::connect(gateway.address, &connect).await;
    assert_eq!(hello["type"], "hello-ok");
    assert_eq!(hello["protocol"], 4);
    assert_eq!(hello["auth"]["method"], "token");
    assert_eq!(
        hello["auth"]["scopes"],
        json!(["operator.read", "operator.admin"])
    );
    assert_eq!(hello["snapshot"]["health"]["ok"], true);
    assert_eq!(hello["policy"]["tickIntervalMs"], 30_000);
    let health = client.ok("health", json!(null)).await;
    assert_eq!(health["ok"], true);
    assert_eq!(health["channels"], json!({}));
}

#[tokio::test]
async fn the_v3_app_comes_in_with_its_device_and_gets_a_token() {
    let gateway = TestGateway::start().await;
    let connect = Connect::cli(3, &gateway.secret, &["operator.admin"]).with_device(Device::new(1));
    let (mut client, hello) = Client::connect(gateway.address, &connect).await;
    assert_eq!(hello["protocol"], 3);
    assert_eq!(hello["auth"]["scopes"], json!(["operator.admin"]));
    assert_eq!(hello["auth"]["deviceToken"].as_str().unwrap().len(), 43);
    assert_eq!(client.ok("health", json!({})).await["ok"], true);
    let health = client.event("health").await;
    let members: Vec<&String> = health.as_object().unwrap().keys().collect();
    assert_eq!(
        members,
        ["type", "event", "payload", "seq", "stateVersion"],
        "a version 3 client drops frames with members it does not know"
    );
}
