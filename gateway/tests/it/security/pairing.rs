//! SECURITY S15, S27, S41, S46, S47, S48, B35: who is let in without being asked, who decides about
//! others, and what a person sees before deciding.

use clawline_gateway::policy::Policy;
use clawline_gateway::settings::SilentScopes;
use serde_json::{Value, json};

use super::{enter, enter_keeping, no_change, outcome, refused_unless};
use crate::nodes::node;
use crate::support::{Client, Connect, Device, TestGateway};

const OTHER_USER: u32 = 4001;

fn asking(gateway: &TestGateway, seed: u8, scopes: &[&str]) -> Connect {
    Connect::cli(4, &gateway.secret, scopes).with_device(Device::new(seed))
}

async fn owner(gateway: &TestGateway) -> Client {
    let owner = Connect::cli(4, &gateway.secret, &["operator.admin"]);
    enter_keeping(gateway, &[], &owner).await.unwrap().0
}

fn reason(refusal: &Value) -> &Value {
    assert_eq!(refusal["error"]["code"], "NOT_PAIRED");
    assert_eq!(refusal["close"], 1008);
    &refusal["error"]["details"]["reason"]
}

#[tokio::test]
async fn s15_the_token_alone_pairs_nobody_but_the_gateway_s_own_user() {
    let refusal = refused_unless(
        |policy| policy.silent_for_owner = false,
        no_change,
        async |gateway| {
            gateway.peers.become_user(OTHER_USER);
            enter(gateway, &[], &asking(gateway, 1, &["operator.admin"])).await
        },
    )
    .await;
    assert_eq!(reason(&refusal), "not-paired");
    let strict = TestGateway::start_with(|settings| {
        settings.silent_scopes = SilentScopes::ReadWrite;
    })
    .await;
    let admin = asking(&strict, 1, &["operator.admin"]);
    let refusal = enter(&strict, &[], &admin).await.unwrap_err();
    assert_eq!(reason(&refusal), "not-paired", "the strict switch");
}

#[tokio::test]
async fn s27_nobody_gives_what_it_has_not() {
    let refusal = refused_unless(
        |policy| policy.grant_within_own = false,
        no_change,
        async |gateway| {
            let pairer = asking(gateway, 2, &["operator.pairing"]);
            let (mut pairer, _) = enter_keeping(gateway, &[], &pairer).await.unwrap();
            gateway.peers.become_user(OTHER_USER);
            let wider = asking(gateway, 2, &["operator.pairing", "operator.admin"]);
            let refusal = enter(gateway, &[], &wider).await.unwrap_err();
            let request = refusal["error"]["details"]["requestId"].clone();
            let params = json!({"requestId": request});
            outcome(&pairer.call("device.pair.approve", params).await)
        },
    )
    .await;
    assert_eq!(refusal["code"], "FORBIDDEN");
    assert_eq!(refusal["message"], "missing scope: operator.admin");
}

#[tokio::test]
async fn s41_a_device_that_comes_back_as_another_platform_is_approved_again() {
    let refusal = refused_unless(
        |policy| policy.metadata_pin = false,
        no_change,
        async |gateway| {
            let device = asking(gateway, 3, &["operator.read"]);
            enter(gateway, &[], &device).await.unwrap();
            let moved = device.set("/client/platform", json!("macos"));
            enter(gateway, &[], &moved).await
        },
    )
    .await;
    assert_eq!(reason(&refusal), "metadata-upgrade");
    assert!(refusal["error"]["details"]["requestId"].is_string());
}

#[tokio::test]
async fn s41_a_device_does_not_approve_its_own_new_role_or_platform() {
    let scopes = ["operator.read", "operator.pairing"];
    let moved =
        |gateway: &TestGateway| asking(gateway, 3, &scopes).set("/client/platform", json!("macos"));
    let as_node = |gateway: &TestGateway| node(4, &gateway.secret, 3);
    for (reason, change) in [
        (
            "metadata-upgrade",
            &moved as &dyn Fn(&TestGateway) -> Connect,
        ),
        ("role-upgrade", &as_node),
    ] {
        let refusal = refused_unless(
            |policy| policy.own_upgrade = false,
            no_change,
            async |gateway| {
                let device = asking(gateway, 3, &scopes);
                let (mut pairer, _) = enter_keeping(gateway, &[], &device).await.unwrap();
                gateway.peers.become_user(OTHER_USER);
                let refusal = enter(gateway, &[], &change(gateway)).await.unwrap_err();
                assert_eq!(self::reason(&refusal), reason);
                let request = json!({"requestId": refusal["error"]["details"]["requestId"]});
                outcome(&pairer.call("device.pair.approve", request).await)
            },
        )
        .await;
        assert_eq!(refusal["code"], "FORBIDDEN");
        assert!(refusal["message"].as_str().unwrap().contains("its own"));
    }
}

#[tokio::test]
async fn s46_a_device_sees_and_decides_about_itself_alone() {
    let refusal = refused_unless(
        |policy| policy.own_device_only = false,
        no_change,
        async |gateway| {
            let scopes = ["operator.read", "operator.pairing"];
            let (mut pairer, _) = enter_keeping(gateway, &[], &asking(gateway, 4, &scopes))
                .await
                .unwrap();
            gateway.peers.become_user(OTHER_USER);
            let stranger = asking(gateway, 5, &["operator.read"]);
            let refusal = enter(gateway, &[], &stranger).await.unwrap_err();
            let listed = pairer.ok("device.pair.list", json!({})).await;
            let foreign = Device::new(5).identity.device_id().to_owned();
            let sees = listed.to_string().contains(&foreign);
            let request = json!({"requestId": refusal["error"]["details"]["requestId"]});
            let answer = pairer.call("device.pair.approve", request).await;
            assert_eq!(answer["ok"] == true, sees, "{answer}");
            outcome(&answer)
        },
    )
    .await;
    assert_eq!(refusal["code"], "FORBIDDEN");
}

#[tokio::test]
async fn s47_a_flood_of_new_devices_leaves_ten_waiting_and_the_oldest_stay() {
    let flood = async |gateway: &TestGateway| {
        let mut owner = owner(gateway).await;
        gateway.peers.become_user(OTHER_USER);
        let first = asking(gateway, 100, &["operator.read"]);
        let first = enter(gateway, &[], &first).await.unwrap_err();
        let all = (101..160).map(|seed| {
            let connect = asking(gateway, seed, &["operator.read"]);
            async move { enter(gateway, &[], &connect).await.unwrap_err() }
        });
        let refusals = futures_util::future::join_all(all).await;
        let listed = owner.ok("device.pair.list", json!({})).await;
        let pending = listed["pending"].as_array().unwrap();
        let mut ids: Vec<_> = pending.iter().map(|row| &row["deviceId"]).collect();
        ids.sort_unstable_by_key(|id| id.to_string());
        ids.dedup();
        assert_eq!(ids.len(), pending.len(), "one request a device");
        let kept = &first["error"]["details"]["requestId"];
        assert!(pending.iter().any(|row| row["requestId"] == *kept));
        if pending.len() > 10 {
            return Ok(json!(pending.len()));
        }
        let full = refusals
            .iter()
            .find(|r| r["error"]["code"] == "UNAVAILABLE");
        Err(full.unwrap()["error"].clone())
    };
    let refusal = refused_unless(|policy| policy.pending_cap = false, no_change, flood).await;
    let message = refusal["message"].as_str().unwrap();
    assert!(message.contains("too many devices wait"), "{message}");
    assert!(
        refusal["retryAfterMs"]
            .as_u64()
            .is_some_and(|ms| ms > 0 && ms <= 300_000)
    );
}

#[tokio::test]
async fn s48_what_a_device_says_about_itself_cannot_paint_the_screen() {
    let refusal = refused_unless(
        |policy| policy.clean_names = false,
        no_change,
        async |gateway| {
            let mut owner = owner(gateway).await;
            gateway.peers.become_user(OTHER_USER);
            for (seed, name) in [
                (110, "\u{1b}[2J".to_owned()),
                (111, "iPhone\u{202e}gpj.exe".to_owned()),
                (112, "ok\nrole: operator.read".to_owned()),
                (113, "x".repeat(10_000)),
            ] {
                let connect = asking(gateway, seed, &["operator.read"]);
                let connect = connect.set("/client/displayName", json!(name));
                enter(gateway, &[], &connect).await.unwrap_err();
            }
            let listed = owner.ok("device.pair.list", json!({})).await;
            let rows = listed["pending"].as_array().unwrap();
            let names: Vec<&str> = rows
                .iter()
                .filter_map(|r| r["displayName"].as_str())
                .collect();
            let raw = |name: &&str| {
                name.chars().any(|c| c.is_control() || c == '\u{202e}') || name.chars().count() > 64
            };
            match names.iter().find(|name| raw(name)) {
                Some(name) => Ok(json!(name)),
                None => Err(json!(names)),
            }
        },
    )
    .await;
    assert_eq!(refusal.as_array().unwrap().len(), 4);
    assert_eq!(refusal[0], "\\u{1b}[2J");
}

#[tokio::test]
async fn b35_keys_that_are_none_prove_nothing() {
    let gateway = TestGateway::start_under(Policy::default(), no_change).await;
    let device = asking(&gateway, 6, &["operator.read"]);
    let id = Device::new(6).identity.device_id().to_owned();
    let encode = clawline::protocol::device_auth::encode;
    let small_order: [u8; 32] = {
        let mut point = [0; 32];
        point[0] = 1;
        point
    };
    for (what, proof, expected) in [
        (
            "31 bytes",
            json!({"publicKey": encode(&[7; 31])}),
            "DEVICE_AUTH_DEVICE_ID_MISMATCH",
        ),
        (
            "a broken PEM",
            json!({"publicKey": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"}),
            "DEVICE_AUTH_DEVICE_ID_MISMATCH",
        ),
        (
            "all zero",
            json!({"publicKey": encode(&[0; 32])}),
            "DEVICE_AUTH_DEVICE_ID_MISMATCH",
        ),
        (
            "a key of small order",
            json!({"publicKey": encode(&small_order)}),
            "DEVICE_AUTH_DEVICE_ID_MISMATCH",
        ),
        (
            "no base64",
            json!({"publicKey": "!!!"}),
            "DEVICE_AUTH_DEVICE_ID_MISMATCH",
        ),
        (
            "an id in capitals",
            json!({"id": id.to_uppercase()}),
            "DEVICE_AUTH_DEVICE_ID_MISMATCH",
        ),
        (
            "64 zero bytes",
            json!({"signature": encode(&[0; 64])}),
            "DEVICE_AUTH_SIGNATURE_INVALID",
        ),
        (
            "10 bytes",
            json!({"signature": encode(&[1; 10])}),
            "DEVICE_AUTH_SIGNATURE_INVALID",
        ),
    ] {
        let connect = device.clone().set("/device", proof);
        let refusal = enter(&gateway, &[], &connect).await.unwrap_err();
        assert_eq!(refusal["error"]["details"]["code"], expected, "{what}");
    }
    // S + L is the same number, and another text: a signature has one form.
    let mut client = Client::open(gateway.address).await;
    let mut params = device.signed(&client.nonce, client.ts);
    let signature = params["device"]["signature"].as_str().unwrap();
    let mut bytes = clawline::protocol::device_auth::parse_signature(signature)
        .unwrap()
        .to_bytes();
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0u16;
    for (byte, order) in bytes[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    params["device"]["signature"] = json!(encode(&bytes));
    client
        .send(&json!({"type": "req", "id": "c1", "method": "connect", "params": params}))
        .await;
    let answer = client.frame().await;
    assert_eq!(
        answer["error"]["details"]["code"],
        "DEVICE_AUTH_SIGNATURE_INVALID"
    );
}
