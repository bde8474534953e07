//! SECURITY S21, S24, S26, F43: secrets that change, and where they are never seen.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clawline::protocol::device_auth::decode;
use clawline_gateway::policy::Policy;
use serde_json::{Value, json};

use super::{enter, enter_keeping, no_change, refused_unless};
use crate::metrics::get;
use crate::nodes::node;
use crate::support::program::command;
use crate::support::{Connect, Device, TestGateway, log};

fn admin(gateway: &TestGateway) -> Connect {
    Connect::cli(4, &gateway.secret, &["operator.admin", "operator.pairing"])
}

#[tokio::test]
async fn s21_a_rotated_token_is_void_at_once_and_its_connections_end() {
    let refusal = refused_unless(
        |policy| policy.close_voided = false,
        no_change,
        async |gateway| {
            let (mut old, _) = enter_keeping(gateway, &[], &admin(gateway)).await.unwrap();
            let device = admin(gateway).with_device(Device::new(61));
            let (_, hello) = enter_keeping(gateway, &[], &device).await.unwrap();
            let token = hello["auth"]["deviceToken"].clone();
            let with_token = device.clone().set("/auth", json!({"deviceToken": token}));
            let (mut paired, _) = enter_keeping(gateway, &[], &with_token).await.unwrap();
            let done = command(gateway, &["token", "--rotate"]).await;
            assert!(done.status.success(), "{done:?}");
            // The old one is refused, the new one, in the file, is good; paired devices keep theirs.
            let refusal = enter(gateway, &[], &admin(gateway)).await.unwrap_err();
            assert_eq!(refusal["error"]["details"]["code"], "AUTH_TOKEN_MISMATCH");
            let new = std::fs::read_to_string(gateway.settings.token_file()).unwrap();
            assert_ne!(new, gateway.secret);
            let with_new = Connect::cli(4, new.trim(), &["operator.read"]);
            enter(gateway, &[], &with_new).await.unwrap();
            paired.ok("sessions.list", json!({})).await;
            old.start("sessions.list", json!({})).await;
            match old.frame_or_close().await {
                Ok(answer) => Ok(answer),
                Err((code, reason)) => Err(json!({"close": code, "reason": reason})),
            }
        },
    )
    .await;
    assert_eq!(
        refusal,
        json!({"close": 4001, "reason": "gateway auth changed"})
    );
}

#[tokio::test]
async fn s24_a_token_in_the_query_is_nobody_s_and_no_log_or_error_holds_a_secret() {
    let gateway = TestGateway::start_under(Policy::default(), no_change).await;
    let path = format!("/?token={}", gateway.secret);
    let none = Connect::cli(4, "", &["operator.read"]).without("/auth");
    let mut client = crate::support::Client::open_at(gateway.address, &path).await;
    let answer = client.greet(&none).await;
    assert_eq!(answer["error"]["message"], "device identity required");
    assert!(!answer.to_string().contains(&gateway.secret));
}

#[tokio::test]
async fn s26_a_pairing_session_mints_nothing_wider_and_nothing_for_others() {
    let attack = async |gateway: &TestGateway| {
        let other =
            Connect::cli(4, &gateway.secret, &["operator.read"]).with_device(Device::new(62));
        enter(gateway, &[], &other).await.unwrap();
        let pairer =
            Connect::cli(4, &gateway.secret, &["operator.pairing"]).with_device(Device::new(63));
        let (mut pairer, _) = enter_keeping(gateway, &[], &pairer).await.unwrap();
        let target = Device::new(62).identity.device_id().to_owned();
        let params = json!({"deviceId": target, "role": "operator", "scopes": ["operator.read"]});
        let answer = pairer.call("device.token.rotate", params).await;
        if answer["ok"] == true {
            return Ok(answer);
        }
        // Nor wider ones for itself.
        let own = Device::new(63).identity.device_id().to_owned();
        let wide = json!({"deviceId": own, "role": "operator", "scopes": ["operator.admin"]});
        let error = pairer.error("device.token.rotate", wide).await;
        assert_eq!(error["message"], "device token rotation denied");
        Err(answer["error"].clone())
    };
    let refusal = refused_unless(|policy| policy.own_device_only = false, no_change, attack).await;
    assert_eq!(refusal["code"], "FORBIDDEN");
    let text = refusal.to_string();
    assert!(!text.contains("operator.read"), "generic: {text}");
}

#[tokio::test]
async fn s26_a_revoked_device_comes_back_neither_in_another_role_nor_with_its_key_spelt_otherwise()
{
    let refusal = refused_unless(
        |policy| policy.revoked_stays = false,
        no_change,
        async |gateway| {
            let device = admin(gateway).with_device(Device::new(66));
            enter(gateway, &[], &device).await.unwrap();
            let (mut owner, _) = enter_keeping(gateway, &[], &admin(gateway)).await.unwrap();
            let id = Device::new(66).identity.device_id().to_owned();
            let target = json!({"deviceId": id, "role": "operator"});
            owner.ok("device.token.revoke", target).await;
            let key = decode(&Device::new(66).identity.public_key()).unwrap();
            let spelt = STANDARD.encode(key);
            let as_node = node(4, &gateway.secret, 66).set("/device", json!({"publicKey": spelt}));
            let entered = enter(gateway, &[], &as_node).await;
            // Nor is the revocation forgotten over it.
            enter(gateway, &[], &device).await.and(entered)
        },
    )
    .await;
    assert_eq!(refusal["error"]["details"]["reason"], "role-upgrade");
}

#[tokio::test]
async fn s26_a_revoked_device_stays_revoked_after_a_restart_and_a_rotation() {
    let refusal = refused_unless(
        |policy| policy.revoked_stays = false,
        no_change,
        async |gateway| {
            let device = admin(gateway).with_device(Device::new(64));
            let hello = enter(gateway, &[], &device).await.unwrap();
            let token = hello["auth"]["deviceToken"].clone();
            let (mut owner, _) = enter_keeping(gateway, &[], &admin(gateway)).await.unwrap();
            let id = Device::new(64).identity.device_id().to_owned();
            let target = json!({"deviceId": id, "role": "operator"});
            owner.ok("device.token.revoke", target.clone()).await;
            owner.ok("device.token.rotate", target).await;
            let with_token = device.clone().set("/auth", json!({"deviceToken": token}));
            enter(gateway, &[], &with_token).await.unwrap_err();
            enter(gateway, &[], &device).await
        },
    )
    .await;
    assert_eq!(refusal["error"]["details"]["reason"], "role-upgrade");
    let gateway = TestGateway::start_under(Policy::default(), no_change).await;
    let device = admin(&gateway).with_device(Device::new(64));
    enter(&gateway, &[], &device).await.unwrap();
    let id = Device::new(64).identity.device_id().to_owned();
    let done = command(&gateway, &["devices", "revoke", &id[..12]]).await;
    assert!(done.status.success(), "{done:?}");
    let gateway = gateway.restart().await;
    let refusal = enter(&gateway, &[], &device).await.unwrap_err();
    assert_eq!(refusal["error"]["details"]["reason"], "role-upgrade");
    // The owner may change its mind, on the host.
    let request = refusal["error"]["details"]["requestId"].as_str().unwrap();
    let done = command(&gateway, &["devices", "approve", request]).await;
    assert!(done.status.success(), "{done:?}");
    let hello: Value = enter(&gateway, &[], &device).await.unwrap();
    let old = hello["auth"]["deviceToken"].clone();
    let done = command(&gateway, &["devices", "rotate", &id[..12]]).await;
    assert!(done.status.success(), "{done:?}");
    let with_old = device.clone().set("/auth", json!({"deviceToken": old}));
    let refusal = enter(&gateway, &[], &with_old).await.unwrap_err();
    let code = &refusal["error"]["details"]["code"];
    assert_eq!(code, "AUTH_DEVICE_TOKEN_MISMATCH");
}

#[tokio::test]
async fn s24_the_log_shows_what_a_client_sends_without_its_secrets() {
    let refusal = refused_unless(
        |policy| policy.masked_log = false,
        no_change,
        async |gateway| {
            let name = format!("look-for-{}", gateway.address.port());
            let device = admin(gateway)
                .with_device(Device::new(24))
                .set("/client/displayName", json!(name));
            let hello = enter(gateway, &[], &device).await.unwrap();
            let token = hello["auth"]["deviceToken"].as_str().unwrap().to_owned();
            let again = device.set("/auth", json!({"deviceToken": token}));
            enter(gateway, &[], &again).await.unwrap();
            let text = log().text();
            let mut shown = text.lines().filter(|line| line.contains(&name));
            let shown = shown
                .next()
                .expect("the log shows what was sent")
                .to_owned();
            match text.contains(&gateway.secret) || text.contains(&token) {
                true => Ok(json!(shown)),
                false => Err(json!(shown)),
            }
        },
    )
    .await;
    let shown = refusal.as_str().unwrap();
    assert!(shown.contains("__OPENCLAW_REDACTED__"), "{shown}");
}

#[tokio::test]
async fn s24_over_http_a_token_in_the_query_is_nobody_s() {
    let refusal = refused_unless(
        |policy| policy.secret_in_header = false,
        no_change,
        async |gateway| {
            let path = format!("/metrics?token={}", gateway.secret);
            let (status, _) = get(gateway.address, &path, "").await;
            match status {
                200 => Ok(json!(status)),
                other => Err(json!(other)),
            }
        },
    )
    .await;
    assert_eq!(refusal, 401);
}

/// F43 and S21: the end comes with the change itself. The silent connection would notice nothing else
/// before the first ping, after 25 s; the test waits for 10 s at most.
#[tokio::test]
async fn f43_a_device_whose_token_is_void_is_sent_away_by_the_change_itself() {
    for method in [
        "device.token.revoke",
        "device.token.rotate",
        "device.pair.remove",
    ] {
        let refusal = refused_unless(
            |policy| policy.close_voided = false,
            no_change,
            async |gateway| {
                let device = admin(gateway).with_device(Device::new(65));
                let (mut silent, _) = enter_keeping(gateway, &[], &device).await.unwrap();
                let (mut calling, _) = enter_keeping(gateway, &[], &device).await.unwrap();
                let (mut owner, _) = enter_keeping(gateway, &[], &admin(gateway)).await.unwrap();
                let id = Device::new(65).identity.device_id().to_owned();
                let target = match method {
                    "device.pair.remove" => json!({"deviceId": id}),
                    _ => json!({"deviceId": id, "role": "operator"}),
                };
                owner.ok(method, target).await;
                calling.start("sessions.list", json!({})).await;
                match calling.frame_or_close().await {
                    Ok(answer) => Ok(answer),
                    Err((code, reason)) => {
                        assert_eq!(silent.closed().await, (code, reason.clone()));
                        Err(json!({"close": code, "reason": reason}))
                    }
                }
            },
        )
        .await;
        let expected = json!({"close": 4001, "reason": "device removed"});
        assert_eq!(refusal, expected, "{method}");
    }
}
