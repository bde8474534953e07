//! `device.pair.*` and `device.token.*`: who may connect.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::NoParams;
use crate::protocol::method::methods;
use crate::protocol::scope::{Needs, Scope};

methods! {
    /// Requests that wait, and paired devices.
    DevicePairList = "device.pair.list", |_, _| Needs::Operator(Scope::Pairing), NoParams => DevicePairListReply;
    /// Lets a device in.
    DevicePairApprove = "device.pair.approve", |_, _| Needs::Operator(Scope::Pairing), RequestIdParams => Value;
    /// Turns a request down.
    DevicePairReject = "device.pair.reject", |_, _| Needs::Operator(Scope::Pairing), RequestIdParams => Value;
    /// Forgets a device and closes its connections (version 4).
    DevicePairRemove = "device.pair.remove", |_, _| Needs::Operator(Scope::Pairing), DeviceIdParams => Value;
    /// Makes the old token of a device and role worthless.
    DeviceTokenRotate = "device.token.rotate", |_, _| Needs::Operator(Scope::Pairing), DeviceTokenParams => Value;
    /// Takes the token of a device and role away.
    DeviceTokenRevoke = "device.token.revoke", |_, _| Needs::Operator(Scope::Pairing), DeviceTokenParams => Value;
}

/// A request id.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestIdParams {
    /// Of the pairing request.
    pub request_id: String,
}

/// A device id.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceIdParams {
    /// 64 hex digits.
    pub device_id: String,
}

/// A device and one of its roles.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceTokenParams {
    /// 64 hex digits.
    pub device_id: String,
    /// `operator` or `node`.
    pub role: String,
    /// For a rotated token; the approved ones when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
}

/// Reply of `device.pair.list`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DevicePairListReply {
    /// Requests that wait.
    pub pending: Vec<DeviceRow>,
    /// Paired devices.
    pub paired: Vec<DeviceRow>,
}

/// A device, paired or asking.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceRow {
    /// Of a request that waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// 64 hex digits.
    pub device_id: String,
    /// base64url.
    pub public_key: String,
    /// Name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Device family.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_family: Option<String>,
    /// `client.id` at pairing.
    pub client_id: String,
    /// `client.mode` at pairing.
    pub client_mode: String,
    /// First role.
    pub role: String,
    /// Every role.
    pub roles: Vec<String>,
    /// Scopes asked for or approved.
    pub scopes: Vec<String>,
    /// When a request came, ms since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ts: Option<i64>,
    /// Everything else, kept as it came.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}
