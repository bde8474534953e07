//! Connects that official gateways answered in modes password and none and through a proxy, as they were
//! recorded (`tests/data/recorded-auth.jsonl`): ours answers the same. Ids of requests and devices are left out.

use clawline::protocol::device_auth::PayloadVersion;
use clawline::secret::Secret;
use clawline_gateway::settings::{AuthMode, GatewaySettings, IpRange};
use serde_json::{Value, json};

use crate::support::{Client, Connect, Device, TestGateway};

const RECORDED: &str = include_str!("../data/recorded-auth.jsonl");

fn settings_of(recording: &str) -> fn(&mut GatewaySettings) {
    match recording.rsplit('/').next().unwrap() {
        "wire-auth-passwordmode" => |settings| {
            settings.auth.mode = AuthMode::Password;
            settings.auth.password = Some(Secret::new("fixture-shared-password"));
        },
        "wire-auth-nonemode" => |settings| settings.auth.mode = AuthMode::None,
        "wire-auth-remote" => |settings| {
            settings.auth.token = Some(Secret::new("fixture-shared-token"));
            settings.trusted_proxies = vec![IpRange::parse("127.0.0.1").unwrap()];
        },
        other => panic!("no settings for {other}"),
    }
}

async fn replay(gateway: &TestGateway, seed: u8, row: &Value) {
    let from = row["from"].as_str().unwrap();
    let name = format!("{from} {}", row["case"]);
    let mut connect = Connect {
        params: row["connect"].clone(),
        device: None,
    };
    if let Some(signed) = row["signed"].as_str() {
        let version = match signed {
            "v2" => PayloadVersion::V2,
            _ => PayloadVersion::V3,
        };
        connect = connect.with_device(Device {
            version,
            ..Device::new(seed)
        });
    }
    let remote = [("x-forwarded-for", "203.0.113.9")];
    let headers = if from.ends_with("remote") {
        &remote[..]
    } else {
        &[]
    };
    let mut client = Client::try_open(gateway.address, headers)
        .await
        .ok()
        .unwrap();
    let answer = client.greet(&connect).await;
    if row["error"].is_null() {
        assert_eq!(answer["ok"], true, "{name}: {answer}");
        let auth = &answer["payload"]["auth"];
        for (member, value) in row["auth"].as_object().into_iter().flatten() {
            assert_eq!(auth[member], *value, "{name}");
        }
        assert_eq!(auth.is_null(), row["auth"].is_null(), "{name}: {auth}");
        let has_token = auth["deviceToken"].is_string();
        assert_eq!(has_token, row["token"] == true, "{name}");
        return;
    }
    let mut error = answer["error"].clone();
    let has_details = row["error"].get("details").is_some();
    if let Some(details) = error["details"].as_object_mut() {
        details.remove("requestId");
        details.remove("deviceId");
    } else if let Some(members) = error.as_object_mut() {
        members.remove("details");
    }
    assert_eq!(
        error.get("details").is_some(),
        has_details,
        "{name}: {error}"
    );
    assert_eq!(error, row["error"], "{name}");
    let (code, reason) = client.closed().await;
    assert_eq!(json!(code), row["close"][0], "{name}");
    if let Some(expected) = row["close"][1].as_str() {
        assert_eq!(reason, expected, "{name}");
    }
}

#[tokio::test]
async fn recorded_connects_are_answered_as_recorded() {
    let rows: Vec<Value> = RECORDED
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let mut recordings: Vec<&str> = rows
        .iter()
        .map(|row| row["from"].as_str().unwrap())
        .collect();
    recordings.dedup();
    for recording in recordings {
        let gateway = TestGateway::start_with(settings_of(recording)).await;
        let of_it = rows.iter().filter(|row| row["from"] == recording);
        for (seed, row) in (1..).zip(of_it) {
            replay(&gateway, seed, row).await;
        }
    }
}
