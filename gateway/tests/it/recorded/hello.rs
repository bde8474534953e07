//! Connecting as each official client was recorded to: what it is greeted with.

use std::time::Duration;

use serde_json::{Value, json};

use super::replay::Replay;
use super::{device, gateway, person};
use crate::support::{Client, Connect, TestGateway};

/// Every recorded client, in their order, each with a key of its own.
pub async fn clients(replay: &mut Replay, gateway: &TestGateway, version: u32) -> Vec<Client> {
    let mut clients = Vec::new();
    while replay.peek().is_some() {
        let seed = 10 + u8::try_from(clients.len()).unwrap();
        clients.push(greet(replay, gateway, version, seed).await);
    }
    clients
}

/// Connects as was recorded, with our secret, and our key where there was one; the hello is compared.
async fn greet(replay: &mut Replay, gateway: &TestGateway, version: u32, seed: u8) -> Client {
    let pair = replay.take("connect");
    let connect = Connect {
        params: pair.params.clone(),
        device: None,
    }
    .set("/auth/token", json!(gateway.secret));
    let connect = match pair.params["device"] {
        Value::Null => connect,
        _ => connect.with_device(device(version, seed)),
    };
    let mut client = Client::open(gateway.address).await;
    let answer = client.greet(&connect).await;
    replay.compare("connect", pair.answer(), &answer);
    client
}

/// A client that was here for a minute, and was told so; the recorded connects are left out.
pub async fn after_a_minute(replay: &mut Replay, version: u32, scopes: &[&str]) -> Client {
    let gateway = gateway().await;
    let mut client = person(&gateway, version, 1, scopes).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    let tick = client.event("tick").await;
    assert!(tick["payload"]["ts"].is_i64(), "{tick}");
    client.event("health").await;
    while replay.peek().is_some() {
        replay.take("connect");
    }
    client
}
