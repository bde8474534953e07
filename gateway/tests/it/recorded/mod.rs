//! What official clients sent and got, as it was recorded (`tests/data/recorded/`), sent to a gateway of ours: each
//! answer and event has the recorded shape, or a table says in what it differs and why.
//!
//! Version 3 has no published schema, so this is what pins it; of version 4 it pins what the schema leaves open.
//! The recordings are excerpts: one call of each shape, lists cut to one item of each shape, long texts cut.

mod connects;
mod hello;
mod replay;
mod shape;
mod table;
mod talk;
mod v3;
mod v4;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Client, Connect, Device, TestGateway};

/// For what the gateway does beside a call.
const DEADLINE: Duration = Duration::from_secs(60);
/// Some of what stood in the configuration of the recorded gateways.
const CONFIG: &str = r#"{"gateway": {"port": 18789, "auth": {"token": "fixture-shared-token"}}}"#;
const LOG_LINE: &str =
    "{\"timestamp\":\"2026-11-22T14:33:17Z\",\"level\":\"INFO\",\"message\":\"x\"}\n";

/// As the recorded gateways were set up: a model with a price and a known window, and one more to change to.
async fn gateway() -> TestGateway {
    TestGateway::start_with(|settings| {
        settings.models = serde_json::from_value(json!({
            "default": "fake/echo",
            "providers": {
                "fake": {"kind": "echo", "models": [
                    {"id": "echo", "name": "Echo", "contextWindow": 128_000,
                     "cost": {"input": 1, "output": 1}},
                ]},
                "amazon-bedrock": {"kind": "echo", "models": [
                    {"id": "anthropic.claude-3-haiku-20240307-v1:0", "contextWindow": 200_000},
                ]},
                "nobody": {"baseUrl": "http://127.0.0.1:1/v1", "apiKey": "k", "models": [
                    {"id": "x", "contextWindow": 1000},
                ]},
            },
        }))
        .unwrap();
        std::fs::write(&settings.config.path, CONFIG).unwrap();
        settings.config.effective = serde_json::from_str(CONFIG).unwrap();
        let log = settings.state_dir.join("logs/gateway.jsonl");
        std::fs::create_dir_all(log.parent().unwrap()).unwrap();
        std::fs::write(log, LOG_LINE).unwrap();
    })
    .await
}

/// Sends a message and waits for the end of its answer.
async fn say(client: &mut Client, key: &str, run: &str) {
    let params = json!({"sessionKey": key, "message": "one two", "idempotencyKey": run});
    client.ok("chat.send", params).await;
    ended(client, run).await;
}

/// Waits for a run's last `chat` event.
async fn ended(client: &mut Client, run: &str) -> Value {
    let ends = |frame: &Value| {
        let payload = &frame["payload"];
        frame["event"] == "chat"
            && payload["runId"] == run
            && ["final", "aborted", "error"]
                .iter()
                .any(|state| payload["state"] == *state)
    };
    client.until(ends).await
}

/// The client that recorded most calls, with a device of this seed.
async fn person(gateway: &TestGateway, version: u32, seed: u8, scopes: &[&str]) -> Client {
    let connect = Connect::cli(version, &gateway.secret, scopes)
        .set("/client/id", json!("gateway-client"))
        .set("/client/mode", json!("ui"))
        .set("/client/displayName", json!("probe"))
        .set("/caps", json!(["tool-events"]))
        .with_device(device(version, seed));
    let connect = match version {
        3 => connect,
        _ => connect.set("/client/deviceFamily", json!("Linux")),
    };
    Client::connect(gateway.address, &connect).await.0
}

/// Waits until it is written down of every paired device that it was here.
async fn all_seen(client: &mut Client) {
    let wait = async {
        loop {
            let list = client.ok("device.pair.list", json!({})).await;
            let tokens = list["paired"]
                .as_array()
                .unwrap()
                .iter()
                .map(|row| &row["tokens"]);
            if tokens
                .into_iter()
                .all(|tokens| tokens[0]["lastUsedAtMs"].is_number())
            {
                return;
            }
        }
    };
    tokio::time::timeout(DEADLINE, wait)
        .await
        .expect("the devices were not seen in time");
}

/// A device whose proof is of the kind that this version's clients make.
fn device(version: u32, seed: u8) -> Device {
    let mut device = Device::new(seed);
    if version == 3 {
        device.version = clawline::protocol::device_auth::PayloadVersion::V2;
    }
    device
}
