//! Requests and devices as `device.pair.list` and the pairing events show them; never with a secret.

use serde_json::{Value, json};

use crate::store::{Device, PairingRequest};

pub(super) fn request_row(request: &PairingRequest, is_repair: bool) -> Value {
    let grant = &request.grant;
    without_nulls(json!({
        "requestId": request.request_id,
        "deviceId": grant.device_id,
        "publicKey": grant.public_key,
        "displayName": grant.display_name,
        "platform": grant.platform,
        "deviceFamily": grant.device_family,
        "clientId": grant.client_id,
        "clientMode": grant.client_mode,
        "role": grant.role,
        "roles": [grant.role],
        "scopes": grant.scopes,
        "remoteIp": grant.remote_ip,
        "reason": request.reason,
        "silent": false,
        "isRepair": is_repair,
        "ts": request.created_at,
        "expiresAtMs": request.expires_at,
    }))
}

/// As [`request_row`], with the members that the event has.
pub(super) fn request_event(request: &PairingRequest, is_repair: bool) -> Value {
    let mut row = request_row(request, is_repair);
    if let Some(members) = row.as_object_mut() {
        members.retain(|name, _| !matches!(name.as_str(), "reason" | "expiresAtMs"));
    }
    row
}

pub(super) fn device_row(device: &Device, connected: bool) -> Value {
    let first = device
        .roles
        .get_key_value("operator")
        .or_else(|| device.roles.iter().next());
    let tokens: Vec<Value> = device
        .roles
        .iter()
        .map(|(role, held)| {
            without_nulls(json!({
                "role": role,
                "scopes": held.scopes,
                "createdAtMs": held.created_at,
                "rotatedAtMs": held.rotated_at,
                "revokedAtMs": held.revoked_at,
                "lastUsedAtMs": held.last_used_at,
            }))
        })
        .collect();
    without_nulls(json!({
        "deviceId": device.device_id,
        "publicKey": device.public_key,
        "displayName": device.display_name,
        "platform": device.platform,
        "deviceFamily": device.device_family,
        "clientId": device.client_id.as_deref().unwrap_or_default(),
        "clientMode": device.client_mode.as_deref().unwrap_or_default(),
        "remoteIp": device.remote_ip,
        "role": first.map(|(role, _)| role),
        "roles": device.roles.keys().collect::<Vec<_>>(),
        "scopes": first.map(|(_, held)| &held.scopes),
        "approvedVia": if device.silent { "silent" } else { "owner" },
        "createdAtMs": device.created_at,
        "approvedAtMs": device.approved_at,
        "lastSeenAtMs": device.last_seen_at,
        "lastSeenReason": device.last_seen_at.map(|_| "connect"),
        "connected": connected,
        "tokens": tokens,
    }))
}

/// Clients check optional members by presence.
fn without_nulls(mut value: Value) -> Value {
    if let Value::Object(object) = &mut value {
        object.retain(|_, member| !member.is_null());
    }
    value
}
