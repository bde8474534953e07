//! What a device keeps, and what is void at once, over a real store.

use clawline::protocol::scope::Scope;

use super::*;
use crate::store::Store;

const ID: &str = "device";

async fn pairing(home: &tempfile::TempDir) -> (Store, Pairing) {
    let store = Store::open(&home.path().join("gateway.db")).await.unwrap();
    let tokens = DeviceTokens::new(store.gateway_secret().clone());
    let pairing = Pairing::new(
        store.devices(),
        store.pairing(),
        store.setup_codes(),
        tokens,
        SilentScopes::Asked,
        Arc::default(),
        Arc::default(),
    );
    (store, pairing)
}

fn ask(generation: Option<i64>) -> Ask {
    Ask {
        device_id: ID.into(),
        public_key: "key".into(),
        display_name: None,
        platform: "linux".into(),
        device_family: None,
        client_id: "cli".into(),
        client_mode: "cli".into(),
        remote_ip: "127.0.0.1".into(),
        role: Role::Operator,
        scopes: [Scope::Read].into_iter().collect(),
        generation,
        may_be_silent: generation.is_none(),
    }
}

#[tokio::test]
async fn a_token_that_was_rotated_while_it_was_checked_lets_nobody_in() {
    let home = tempfile::tempdir().unwrap();
    let (_store, pairing) = pairing(&home).await;
    let old = pairing.admit(&ask(None)).await.unwrap().generation;
    assert!(pairing.admit(&ask(Some(old))).await.is_ok());
    pairing
        .rotate(ID, Role::Operator, None, None)
        .await
        .unwrap();
    let refused = pairing.admit(&ask(Some(old))).await.unwrap_err();
    assert_eq!(refused, Refusal::DeviceTokenMismatch);
    let with_secret = pairing.admit(&ask(None)).await.unwrap();
    assert!(with_secret.generation > old);
}

#[tokio::test]
async fn a_connection_under_way_is_void_after_rotation_revocation_and_removal() {
    let home = tempfile::tempdir().unwrap();
    let (_store, pairing) = pairing(&home).await;
    let operator = Role::Operator;
    let enter = || async { pairing.admit(&ask(None)).await.unwrap().generation };
    let holds = |generation| pairing.still_admits(ID, operator, generation);

    let first = enter().await;
    assert!(holds(first).await.unwrap());
    assert!(!pairing.still_admits(ID, Role::Node, first).await.unwrap());
    pairing.rotate(ID, operator, None, None).await.unwrap();
    assert!(!holds(first).await.unwrap());

    let second = enter().await;
    pairing.remove(ID, None).await.unwrap();
    assert!(!holds(second).await.unwrap());

    let third = enter().await;
    assert!(
        third > second,
        "a removed device does not get its old token back"
    );
    pairing.revoke(ID, operator, None).await.unwrap();
    assert!(!holds(third).await.unwrap());
}

#[tokio::test]
async fn a_setup_code_adds_what_it_gives_and_takes_nothing_away() {
    let home = tempfile::tempdir().unwrap();
    let (store, pairing) = pairing(&home).await;
    let asking = |scopes: &[Scope]| Ask {
        scopes: scopes.iter().copied().collect(),
        ..ask(None)
    };
    let held = async || {
        let device = store.devices().get(ID).await.unwrap().unwrap();
        Scopes::from_wire(&device.roles["operator"].scopes)
    };
    let all = |scopes: &[Scope]| -> Scopes { scopes.iter().copied().collect() };
    let code = async |scopes: &[Scope]| {
        let made = pairing.make_code(Role::Operator, &all(scopes)).await;
        made.unwrap().code
    };
    pairing.admit(&asking(&[Scope::Pairing])).await.unwrap();

    // More than the code gives: refused, and nothing changed.
    let writes = code(&[Scope::Write]).await;
    let admin = asking(&[Scope::Admin]);
    let refused = pairing.redeem(&admin, writes.expose()).await.unwrap_err();
    assert!(matches!(refused, Refusal::SetupCode(_)), "{refused:?}");
    assert_eq!(held().await, all(&[Scope::Pairing]));

    // What the code gives is added, also when the device holds something that the code does not give.
    let write = asking(&[Scope::Write]);
    pairing.redeem(&write, writes.expose()).await.unwrap();
    assert_eq!(held().await, all(&[Scope::Pairing, Scope::Write]));
    let reads = code(&[Scope::Read]).await;
    let read = asking(&[Scope::Read]);
    pairing.redeem(&read, reads.expose()).await.unwrap();
    assert!(held().await.covers(&all(&[Scope::Pairing, Scope::Write])));

    // What was taken away stays so.
    pairing.revoke(ID, Role::Operator, None).await.unwrap();
    let reads = code(&[Scope::Read]).await;
    pairing.redeem(&read, reads.expose()).await.unwrap();
    assert_eq!(held().await, all(&[Scope::Read]));
}

#[tokio::test]
async fn devices_that_nobody_was_asked_about_are_forgotten_after_a_year_and_beyond_a_number() {
    let device = |id: &str, silent, approved_at, last_seen_at| Device {
        device_id: id.to_owned(),
        public_key: String::new(),
        display_name: None,
        platform: None,
        device_family: None,
        client_id: None,
        client_mode: None,
        remote_ip: None,
        silent,
        roles: std::collections::BTreeMap::new(),
        created_at: 0,
        approved_at,
        last_seen_at,
    };
    let devices = || {
        vec![
            device("asked", false, 1, Some(1)),
            device("old", true, 1, Some(5)),
            device("old, and here", true, 1, Some(4)),
            device("never seen", true, 2, None),
            device("seen", true, 1, Some(20)),
            device("approved", true, 30, None),
        ]
    };
    let here = HashSet::from(["old, and here".to_owned()]);
    let gone = |before, most| unseen(devices(), before, most, &here);
    assert_eq!(gone(10, 100), ["never seen", "old"]);
    assert_eq!(gone(0, 100), [""; 0]);
    assert_eq!(gone(0, 2), ["never seen", "old"]);
    assert_eq!(gone(0, 1), ["never seen", "old", "seen"]);

    // And of a real store.
    let home = tempfile::tempdir().unwrap();
    let (store, pairing) = pairing(&home).await;
    let silent = |id: &str| DeviceGrant {
        device_id: id.to_owned(),
        ..grant(&ask(None), None, true)
    };
    let now = now_ms();
    let long_ago = now - SILENT_LIFETIME_MS - 1;
    let devices = store.devices();
    devices.grant(silent("long ago"), long_ago).await.unwrap();
    devices.grant(silent("now"), now).await.unwrap();
    let by_a_person = DeviceGrant {
        silent: false,
        ..silent("by a person")
    };
    devices.grant(by_a_person, long_ago).await.unwrap();
    // More was given to it later, which nobody was asked about.
    devices
        .grant(silent("by a person"), long_ago)
        .await
        .unwrap();
    devices.grant(silent("revoked"), long_ago).await.unwrap();
    let revoked = devices.revoke("revoked", "operator", long_ago).await;
    assert!(revoked.unwrap().is_some());
    let node = DeviceGrant {
        role: "node".to_owned(),
        ..silent("a node")
    };
    devices.grant(node, long_ago).await.unwrap();
    pairing.forget_unseen().await;
    let left = devices.list().await.unwrap();
    let mut left: Vec<&str> = left.iter().map(|device| &*device.device_id).collect();
    left.sort_unstable();
    assert_eq!(left, ["a node", "by a person", "now", "revoked"]);
}
