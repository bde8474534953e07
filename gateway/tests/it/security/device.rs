//! SECURITY §1.4: forged, replayed and changed devices.

use serde_json::{Value, json};

use super::{enter, no_change, refused_unless, told, told_and_closed};
use crate::support::{Client, Connect, Device, TestGateway};

fn device_connect(gateway: &TestGateway) -> Connect {
    Connect::cli(4, &gateway.secret, &["operator.read"]).with_device(Device::new(7))
}

fn proof_fault(message: &str, code: &str, reason: &str) -> Value {
    let details = json!({"code": code, "reason": reason});
    told_and_closed("INVALID_REQUEST", message, &details)
}

#[tokio::test]
async fn s38_a_captured_connect_frame_is_worth_nothing_on_another_socket() {
    let refusal = refused_unless(
        |policy| policy.nonce = false,
        no_change,
        async |gateway| {
            let connect = device_connect(gateway);
            let first = Client::open(gateway.address).await;
            let captured = connect.signed(&first.nonce, first.ts);
            let mut second = Client::open(gateway.address).await;
            second
                .send(&json!({"type": "req", "id": "c1", "method": "connect", "params": captured}))
                .await;
            let answer = second.frame().await;
            told(second, answer).await.map(|(_, hello)| hello)
        },
    )
    .await;
    let expected = proof_fault(
        "device nonce mismatch",
        "DEVICE_AUTH_NONCE_MISMATCH",
        "device-nonce-mismatch",
    );
    assert_eq!(refusal, expected);
}

#[tokio::test]
async fn s40_another_device_s_id_and_a_forged_signature_are_refused() {
    let refusal = refused_unless(
        |policy| policy.device_id = false,
        no_change,
        async |gateway| {
            let mut connect = device_connect(gateway);
            // Signed with our own key for somebody else's id.
            connect.device.as_mut().unwrap().claimed_id = Some("0".repeat(64));
            enter(gateway, &[], &connect).await
        },
    )
    .await;
    let mismatch = proof_fault(
        "device identity mismatch",
        "DEVICE_AUTH_DEVICE_ID_MISMATCH",
        "device-id-mismatch",
    );
    assert_eq!(refusal, mismatch);
    let refusal = refused_unless(
        |policy| policy.signature = false,
        no_change,
        async |gateway| {
            let connect = device_connect(gateway);
            let connect = connect.set("/device", json!({"signature": "A".repeat(86)}));
            enter(gateway, &[], &connect).await
        },
    )
    .await;
    let forged = proof_fault(
        "device signature invalid",
        "DEVICE_AUTH_SIGNATURE_INVALID",
        "device-signature",
    );
    assert_eq!(refusal, forged);
}

#[tokio::test]
async fn s44_a_node_shows_a_device_and_no_other_role_exists() {
    let refusal = refused_unless(
        |policy| policy.node_device = false,
        no_change,
        async |gateway| {
            let node = Connect::cli(4, &gateway.secret, &[])
                .set("/client/id", json!("node-host"))
                .set("/client/mode", json!("node"))
                .set("/role", json!("node"));
            enter(gateway, &[], &node).await
        },
    )
    .await;
    let details = json!({"code": "DEVICE_IDENTITY_REQUIRED"});
    let expected = told_and_closed("NOT_PAIRED", "device identity required", &details);
    assert_eq!(refusal, expected);
    let gateway = TestGateway::start().await;
    let boss = device_connect(&gateway).set("/role", json!("superuser"));
    let (error, close, reason) = Client::refused(gateway.address, &boss).await;
    assert_eq!(
        error,
        json!({"code": "INVALID_REQUEST", "message": "invalid role"})
    );
    assert_eq!((close, reason.as_str()), (1008, "invalid role"));
}
