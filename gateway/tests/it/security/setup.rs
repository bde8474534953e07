//! SECURITY S42, B36, F41: setup codes.

use clawline_gateway::policy::Policy;
use clawline_gateway::settings::{AuthMode, GatewaySettings};
use serde_json::{Value, json};

use super::{enter, no_change, refused_unless};
use crate::support::program::command;
use crate::support::{Connect, Device, TestGateway};

const OTHER_USER: u32 = 4001;

async fn code(gateway: &TestGateway, args: &[&str]) -> String {
    let done = command(gateway, &[&["token", "--setup"], args].concat()).await;
    assert!(done.status.success(), "{done:?}");
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

fn phone(code: &str, seed: u8, scopes: &[&str]) -> Connect {
    Connect::cli(4, "", scopes)
        .set("/auth", json!({"bootstrapToken": code}))
        .set("/client/displayName", json!("phone"))
        .with_device(Device::new(seed))
}

fn words(refusal: &Value) -> String {
    let error = &refusal["error"];
    assert_eq!(error["details"]["code"], "AUTH_BOOTSTRAP_TOKEN_INVALID");
    error["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn s42_a_code_lets_one_device_in_once_and_no_other() {
    let refusal = refused_unless(
        |policy| policy.code_once = false,
        no_change,
        async |gateway| {
            gateway.peers.become_user(OTHER_USER);
            let code = code(gateway, &[]).await;
            // However it was typed.
            let typed = code.to_lowercase().replace('-', " ").replace('0', "o");
            let first = phone(&typed, 51, &["operator.read"]);
            let hello = enter(gateway, &[], &first).await.unwrap();
            assert_eq!(hello["auth"]["method"], "bootstrap-token");
            // From then on it has a token of its own.
            let token = hello["auth"]["deviceToken"].as_str().unwrap();
            let again = phone("", 51, &["operator.read"]).set("/auth", json!({"token": token}));
            enter(gateway, &[], &again).await.unwrap();
            let second = phone(&code, 52, &["operator.read"]);
            enter(gateway, &[], &second).await
        },
    )
    .await;
    let words = words(&refusal);
    assert!(words.contains("was already used by phone"), "{words}");
}

#[tokio::test]
async fn s42_who_is_let_in_without_a_secret_still_uses_his_code() {
    let open = |settings: &mut GatewaySettings| settings.auth.mode = AuthMode::None;
    let gateway = TestGateway::start_under(Policy::default(), open).await;
    gateway.peers.become_user(OTHER_USER);
    let code = code(&gateway, &[]).await;
    let asks = phone(&code, 53, &["operator.read"]);
    let hello = enter(&gateway, &[], &asks).await.unwrap();
    assert_eq!(hello["auth"]["method"], "bootstrap-token");
}

#[tokio::test]
async fn s42_two_sockets_at_once_get_one_success() {
    let gateway = TestGateway::start_under(Policy::default(), no_change).await;
    gateway.peers.become_user(OTHER_USER);
    for round in 0..5 {
        let code = code(&gateway, &[]).await;
        let one = phone(&code, 60 + round * 2, &["operator.read"]);
        let two = phone(&code, 61 + round * 2, &["operator.read"]);
        let (one, two) = tokio::join!(enter(&gateway, &[], &one), enter(&gateway, &[], &two));
        assert_ne!(one.is_ok(), two.is_ok(), "{one:?} {two:?}");
    }
}

#[tokio::test]
async fn s42_a_code_gives_no_more_than_was_said_on_the_host() {
    let gateway = TestGateway::start_under(Policy::default(), no_change).await;
    gateway.peers.become_user(OTHER_USER);
    let usual = code(&gateway, &[]).await;
    let admin = phone(&usual, 71, &["operator.admin"]);
    let refusal = enter(&gateway, &[], &admin).await.unwrap_err();
    let words = words(&refusal);
    assert!(
        words.contains("operator.read, operator.write and no more"),
        "{words}"
    );
    let node = phone(&usual, 71, &[])
        .set("/client/id", json!("node-host"))
        .set("/client/mode", json!("node"))
        .set("/role", json!("node"));
    enter(&gateway, &[], &node).await.unwrap_err();
    // It was not used up, and an admin's code is made by saying so.
    let writer = phone(&usual, 71, &["operator.write"]);
    enter(&gateway, &[], &writer).await.unwrap();
    let all = code(&gateway, &["--admin"]).await;
    let hello = enter(&gateway, &[], &phone(&all, 72, &["operator.admin"]))
        .await
        .unwrap();
    assert_eq!(hello["auth"]["scopes"], json!(["operator.admin"]));
    let refused = command(&gateway, &["token", "--setup", "--scopes", "admin"]).await;
    assert_eq!(refused.status.code(), Some(2));
}

#[tokio::test]
async fn b36_a_wrong_code_says_what_is_wrong_and_a_strange_one_is_only_invalid() {
    let gateway = TestGateway::start_under(Policy::default(), no_change).await;
    let other = TestGateway::start_under(Policy::default(), no_change).await;
    let ours = code(&gateway, &[]).await;
    let theirs = code(&other, &[]).await;
    let last = if ours.ends_with('7') { "8" } else { "7" };
    let mistyped = format!("{}{last}", &ours[..ours.len() - 1]);
    for (text, expected) in [
        (theirs.as_str(), "belongs to gateway"),
        (&ours[..15], "is incomplete"),
        (&mistyped, "has a typing error"),
        (&"A".repeat(10_000), "is too long"),
        ("nope", "invalid, expired, revoked, or already used"),
    ] {
        let refusal = enter(&gateway, &[], &phone(text, 81, &["operator.read"])).await;
        let words = words(&refusal.unwrap_err());
        assert!(words.contains(expected), "{text}: {words}");
    }
}

#[tokio::test]
async fn f41_a_code_of_before_a_restart_is_good_once_after_it() {
    let gateway = TestGateway::start_under(Policy::default(), no_change).await;
    let code = code(&gateway, &[]).await;
    let gateway = gateway.restart().await;
    gateway.peers.become_user(OTHER_USER);
    let first = phone(&code, 91, &["operator.read"]);
    enter(&gateway, &[], &first).await.unwrap();
    let gateway = gateway.restart().await;
    gateway.peers.become_user(OTHER_USER);
    let refusal = enter(&gateway, &[], &first).await.unwrap_err();
    assert!(words(&refusal).contains("was already used"));
}
