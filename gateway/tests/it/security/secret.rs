//! SECURITY §1.2: the shared secret, scopes, guessing.

use serde_json::json;

use super::{enter, enter_keeping, no_change, outcome, refused_unless, told, told_and_closed};
use crate::metrics::get;
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

#[tokio::test]
async fn s16_a_scope_that_nobody_knows_is_not_given() {
    let refusal = refused_unless(
        |policy| policy.known_scopes = false,
        no_change,
        async |gateway| {
            let scopes = ["operator.root", "operator.read"];
            let connect = Connect::cli(4, &gateway.secret, &scopes).with_device(Device::new(16));
            let hello = enter(gateway, &[], &connect).await?;
            let told = hello["auth"]["scopes"].clone();
            match told.to_string().contains("operator.root") {
                true => Ok(told),
                false => Err(told),
            }
        },
    )
    .await;
    assert_eq!(refusal, json!(["operator.read"]));
}

/// What is shown in each of the ways there are goes through the one compare that tells nothing by its
/// time; `auth::compare` has the test that there is no other.
#[tokio::test]
async fn s20_every_compare_with_a_secret_takes_a_time_that_tells_nothing() {
    let refusal = refused_unless(
        |policy| policy.constant_time = false,
        no_change,
        async |gateway| {
            let wrong = Connect::cli(4, "a wrong token", &[]);
            enter(gateway, &[], &wrong).await.unwrap_err();
            let device = Connect::cli(4, &gateway.secret, &["operator.read"]);
            let device = device.with_device(Device::new(20));
            let hello = enter(gateway, &[], &device).await.unwrap();
            let token = hello["auth"]["deviceToken"].clone();
            let by_token = device.set("/auth", json!({"deviceToken": token}));
            enter(gateway, &[], &by_token).await.unwrap();
            let bearer = format!("Authorization: Bearer {}\r\n", gateway.secret);
            assert_eq!(get(gateway.address, "/metrics", &bearer).await.0, 200);
            let compares = &gateway.policy().compares;
            match compares.early_exit() {
                0 => Err(json!(compares.constant_time())),
                early => Ok(json!(early)),
            }
        },
    )
    .await;
    assert!(refusal.as_u64().unwrap() >= 4, "{refusal}");
}

#[tokio::test]
async fn s28_a_command_in_a_chat_does_no_more_than_its_method_would() {
    let refusal = refused_unless(
        |policy| policy.slash_scope = false,
        no_change,
        async |gateway| {
            let connect = Connect::cli(4, &gateway.secret, &["operator.write"]);
            let (mut writer, _) = enter_keeping(gateway, &[], &connect).await?;
            let reset = json!({"sessionKey": "main", "message": "/reset", "idempotencyKey": "r"});
            outcome(&writer.call("chat.send", reset).await)
        },
    )
    .await;
    assert_eq!(refusal["details"]["missingScope"], "operator.admin");
}
