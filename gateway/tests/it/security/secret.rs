//! SECURITY §1.2: the shared secret, scopes, guessing.

use serde_json::json;

use super::{enter, enter_keeping, no_change, outcome, refused_unless, told, told_and_closed};
use crate::support::{Client, Connect, Device, TestGateway};

#[tokio::test]
async fn s11_nothing_is_called_before_connect() {
    let refusal = refused_unless(
        |policy| policy.first_is_connect = false,
        no_change,
        async |gateway| {
            let mut client = Client::open(gateway.address).await;
            let params = Connect::cli(4, &gateway.secret, &["operator.read"]).params;
            client.expect_answer("1", "connect");
            let call =
                json!({"type": "req", "id": "1", "method": "config.apply", "params": params});
            client.send_text(call.to_string()).await;
            let answer = client.frame().await;
            told(client, answer).await.map(|(_, hello)| hello)
        },
    )
    .await;
    let words = "invalid handshake: first request must be connect";
    assert_eq!(refusal["error"]["message"], words);
    assert_eq!(refusal["close"], 1008);
    assert_eq!(refusal["reason"], words);
}

#[tokio::test]
async fn s12_that_a_token_was_sent_proves_nothing() {
    let refusal = refused_unless(
        |policy| policy.credential = false,
        no_change,
        async |gateway| enter(gateway, &[], &Connect::cli(4, "x", &["operator.read"])).await,
    )
    .await;
    assert_eq!(refusal["error"]["details"]["code"], "AUTH_TOKEN_MISMATCH");
    assert_eq!(refusal["close"], 1008);
    let gateway = TestGateway::start().await;
    let empty = Connect::cli(4, "", &["operator.read"]);
    let details = json!({"code": "DEVICE_IDENTITY_REQUIRED"});
    let expected = told_and_closed("NOT_PAIRED", "device identity required", &details);
    assert_eq!(enter(&gateway, &[], &empty).await, Err(expected));
    let list = empty.set("/auth", json!({"token": ["x"]}));
    let refusal = enter(&gateway, &[], &list).await.unwrap_err();
    assert_eq!(
        refusal["error"]["message"],
        "invalid connect params: at /auth/token: must be string"
    );
}

#[tokio::test]
async fn s13_the_token_alone_makes_nobody_admin() {
    let refusal = refused_unless(
        |policy| policy.deviceless_scopes = false,
        no_change,
        async |gateway| {
            let connect = Connect::cli(4, &gateway.secret, &["operator.admin"])
                .set("/client/id", json!("gateway-client"))
                .set("/client/mode", json!("ui"));
            let (mut client, hello) = enter_keeping(gateway, &[], &connect).await?;
            let answer = client.call("config.get", json!({})).await;
            if answer["ok"] == true {
                return Ok(answer);
            }
            assert_eq!(hello["auth"]["scopes"], json!([]));
            Err(answer["error"].clone())
        },
    )
    .await;
    assert_eq!(refusal["code"], "FORBIDDEN");
    assert_eq!(refusal["details"]["code"], "MISSING_SCOPE");
}

#[tokio::test]
async fn s14_who_asks_for_no_scope_has_none() {
    let refusal = refused_unless(
        |policy| policy.call_scope = false,
        no_change,
        async |gateway| {
            let connect = Connect::cli(4, &gateway.secret, &[])
                .without("/scopes")
                .with_device(Device::new(3));
            let (mut client, hello) = enter_keeping(gateway, &[], &connect).await?;
            assert_eq!(hello["auth"]["scopes"], json!([]));
            outcome(&client.call("sessions.list", json!({})).await)
        },
    )
    .await;
    assert_eq!(refusal["details"]["missingScope"], "operator.read");
}
