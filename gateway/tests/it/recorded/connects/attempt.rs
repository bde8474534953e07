//! One connect that was recorded, carried out with a key and a challenge of ours.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use clawline::protocol::device_auth::PayloadVersion;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Client, Connect, Device};

/// Members of a refusal's details whose values are each gateway's own.
const OWN: [&str; 3] = ["requestId", "deviceId", "gatewayBuildId"];

#[derive(Debug, Deserialize)]
pub struct Attempt {
    /// The recording, `wire-auth` for those of one connect each.
    pub from: String,
    pub case: String,
    /// Of the upgrade; `{here}` is the address.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Of the connect, without the device.
    #[serde(default)]
    params: Value,
    device: Option<Proof>,
    /// What was sent otherwise than a connect in a text message.
    #[serde(default)]
    sent: Value,
    #[serde(default)]
    pub answer: Value,
    close: Option<(u16, String)>,
    http: Option<(u16, Value)>,
}

/// How a device proved itself.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Proof {
    /// Which of the recording's devices.
    key: u8,
    /// The version of the signed text.
    signed: Option<String>,
    /// How far its clock was off.
    skew_ms: Option<i64>,
    /// The public key in the base64 that everybody else has.
    #[serde(default)]
    padded: bool,
    /// Members that were not as they should be; null is none.
    #[serde(default)]
    set: Map<String, Value>,
}

/// How a gateway took an attempt.
#[derive(Debug, Default)]
pub struct Ours {
    /// To the upgrade, where there was no WebSocket.
    pub http: Option<(u16, Value)>,
    /// To the connect; null without one.
    pub answer: Value,
    pub close: Option<(u16, String)>,
}

impl Attempt {
    /// How the recorded gateway took it.
    pub fn answered(&self) -> Ours {
        Ours {
            http: self.http.clone(),
            answer: self.answer.clone(),
            close: self.close.clone(),
        }
    }

    /// Does as was recorded.
    pub async fn carry_out(&self, address: SocketAddr) -> Ours {
        let here = address.to_string();
        let headers: Vec<(&str, String)> = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.replace("{here}", &here)))
            .collect();
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let mut client = match Client::try_open(address, &headers).await {
            Ok(client) => client,
            Err((status, body)) => {
                return Ours {
                    http: Some((status, serde_json::from_str(&body).unwrap())),
                    ..Ours::default()
                };
            }
        };
        if !self.sends(&mut client).await {
            tokio::time::pause();
            let close = client.closed_at_last().await;
            tokio::time::resume();
            return Ours {
                close: Some(close),
                ..Ours::default()
            };
        }
        match client.frame_or_close().await {
            Err(close) => Ours {
                close: Some(close),
                ..Ours::default()
            },
            Ok(answer) => {
                let is_refused = answer["ok"] == false;
                let close = match is_refused {
                    true => Some(client.closed().await),
                    false => None,
                };
                Ours {
                    answer: compared(&answer),
                    close,
                    http: None,
                }
            }
        }
    }

    /// Whether anything was sent.
    async fn sends(&self, client: &mut Client) -> bool {
        let filler = |member: &str| {
            let size = self.sent[member].as_u64()?;
            Some(usize::try_from(size).unwrap())
        };
        if let Some(text) = self.sent["raw"].as_str() {
            client.send_text(text.to_owned()).await;
        } else if let Some(size) = filler("text") {
            client.send_text("x".repeat(size)).await;
        } else if let Some(size) = filler("bytes") {
            let bytes = vec![0xff; size];
            client.send_raw(Message::Binary(bytes.into())).await;
        } else if self.params.is_object() {
            let params = self.connect(client.ts).signed(&client.nonce, client.ts);
            let call = json!({"type": "req", "id": "c1", "method": "connect", "params": params});
            if self.sent == "binary" {
                client.expect_answer("c1", "connect");
                let bytes = call.to_string().into_bytes();
                client.send_raw(Message::Binary(bytes.into())).await;
            } else {
                client.send(&call).await;
            }
        } else {
            return false;
        }
        true
    }

    /// The connect for a challenge of this time.
    fn connect(&self, ts: i64) -> Connect {
        let mut params = self.params.clone();
        let Some(proof) = &self.device else {
            return Connect {
                params,
                device: None,
            };
        };
        let mut device = Device::new(proof.key);
        device.version = match proof.signed.as_deref() {
            Some("v1") => PayloadVersion::V1,
            Some("v2") => PayloadVersion::V2,
            _ => PayloadVersion::V3,
        };
        let mut set = proof.set.clone();
        if let Some(skew) = proof.skew_ms {
            set.insert("signedAt".into(), json!(ts + skew));
        }
        if proof.padded {
            let key = device.identity.public_key();
            let key = key.replace('-', "+").replace('_', "/");
            set.insert("publicKey".into(), json!(format!("{key}=")));
        }
        if !set.is_empty() {
            params["device"] = Value::Object(set);
        }
        Connect {
            params,
            device: Some(device),
        }
    }
}

impl Ours {
    /// What it came to.
    pub fn outcome(&self) -> &'static str {
        match (&self.http, self.answer["ok"].as_bool()) {
            (Some(_), _) => "no WebSocket",
            (None, Some(true)) => "a hello",
            (None, Some(false)) => "a refusal",
            (None, None) => "a close",
        }
    }

    /// What of it says the same on every gateway.
    pub fn told(&self) -> Value {
        if let Some((status, body)) = &self.http {
            return json!([status, body["error"]["type"], body["error"]["message"]]);
        }
        if self.answer["ok"] == true {
            let (payload, auth) = (&self.answer["payload"], &self.answer["payload"]["auth"]);
            return json!([
                payload["protocol"],
                auth["method"],
                auth["role"],
                auth["scopes"]
            ]);
        }
        let error = &self.answer["error"];
        let details = error["details"].as_object().into_iter().flatten();
        let details: Map<String, Value> = details
            .filter(|(name, _)| !OWN.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        // Reasons are cut somewhere in the id.
        let close = self.close.as_ref().map(|(code, reason)| {
            let words = reason.split(" (requestId: ").next();
            (code, words)
        });
        json!([error["code"], error["message"], details, close])
    }
}

/// The members of an answer that were recorded.
fn compared(answer: &Value) -> Value {
    if answer["ok"] == false {
        return json!({"ok": false, "error": answer["error"]});
    }
    let mut payload = Map::new();
    for name in ["protocol", "auth"] {
        if let Some(value) = answer["payload"].get(name) {
            payload.insert(name.into(), value.clone());
        }
    }
    json!({"ok": true, "payload": payload})
}
