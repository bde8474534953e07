//! `device.pair.*` and `device.token.*`: who may connect.

use clawline::protocol::Protocol;
use clawline::protocol::error::RpcError;
use clawline::protocol::methods::devices::{
    DevicePairApprove, DevicePairList, DevicePairListReply, DevicePairReject, DevicePairRemove,
    DeviceRow, DeviceTokenParams, DeviceTokenRevoke, DeviceTokenRotate,
};
use clawline::protocol::scope::Role;
use serde_json::{Value, json};

use super::{Call, Failure, Table};
use crate::conn::{Conn, Principal};
use crate::pairing::PairingError;
use crate::shape;
use crate::state::App;

pub(crate) fn rows(table: Table) -> Table {
    table
        .on::<DevicePairList, _>(list)
        .on::<DevicePairApprove, _>(approve)
        .on::<DevicePairReject, _>(reject)
        .on::<DevicePairRemove, _>(remove)
        .on::<DeviceTokenRotate, _>(rotate)
        .on::<DeviceTokenRevoke, _>(revoke)
}

async fn list(app: App, call: Call<DevicePairList>) -> Result<DevicePairListReply, Failure> {
    let listed = app.pairing.list(Some(&call.conn.principal)).await;
    let (pending, paired) = listed.map_err(shape::pairing_error)?;
    let rows = |values: Vec<Value>| -> Result<Vec<DeviceRow>, Failure> {
        serde_json::from_value(Value::Array(values))
            .map_err(|error| RpcError::unavailable(error.to_string()).into())
    };
    Ok(DevicePairListReply {
        pending: rows(pending)?,
        paired: rows(paired)?,
    })
}

async fn approve(app: App, call: Call<DevicePairApprove>) -> Result<Value, Failure> {
    let by = Some(&call.conn.principal);
    let done = app.pairing.approve(&call.params.request_id, by).await;
    Ok(done.map_err(shape::pairing_error)?)
}

async fn reject(app: App, call: Call<DevicePairReject>) -> Result<Value, Failure> {
    let by = Some(&call.conn.principal);
    let done = app.pairing.reject(&call.params.request_id, by).await;
    Ok(done.map_err(shape::pairing_error)?)
}

async fn remove(app: App, call: Call<DevicePairRemove>) -> Result<Value, Failure> {
    let device_id = &call.params.device_id;
    may_change(&app, &call.conn.principal, device_id)?;
    let change = app.pairing.remove(device_id, Some(call.conn.id));
    let done = app.nodes.between_commands(change).await;
    Ok(done.map_err(shape::pairing_error)?)
}

async fn rotate(app: App, call: Call<DeviceTokenRotate>) -> Result<Value, Failure> {
    let DeviceTokenParams {
        device_id, scopes, ..
    } = &call.params;
    may_change(&app, &call.conn.principal, device_id)?;
    let role = role_of(&call.params, &call.conn)?;
    let (scopes, caller) = (scopes.clone(), Some(call.conn.id));
    let change = app.pairing.rotate(device_id, role, scopes, caller);
    let rotated = app.nodes.between_commands(change).await;
    let (held, token) = rotated.map_err(|error| denied(error, &call.conn))?;
    let mut reply = json!({
        "deviceId": device_id,
        "role": role.as_str(),
        "scopes": held.scopes,
        "rotatedAtMs": held.rotated_at,
    });
    // A token is told to the device that it belongs to, and to nobody else.
    if call.conn.principal.device_id.as_deref() == Some(device_id) {
        reply["token"] = json!(token.expose());
    } else {
        reply["tokenDelivery"] = json!("withheld-cross-device");
    }
    Ok(reply)
}

async fn revoke(app: App, call: Call<DeviceTokenRevoke>) -> Result<Value, Failure> {
    let device_id = &call.params.device_id;
    may_change(&app, &call.conn.principal, device_id)?;
    let role = role_of(&call.params, &call.conn)?;
    let change = app.pairing.revoke(device_id, role, Some(call.conn.id));
    let revoked = app.nodes.between_commands(change).await;
    let held = revoked.map_err(|error| denied(error, &call.conn))?;
    Ok(json!({
        "deviceId": device_id, "role": role.as_str(), "revokedAtMs": held.revoked_at,
    }))
}

/// A device changes itself; only admin, or the owner's own command line, changes others.
fn may_change(app: &App, principal: &Principal, device_id: &str) -> Result<(), Failure> {
    if app.pairing.may_manage(principal, device_id) {
        Ok(())
    } else {
        Err(shape::pairing_error(PairingError::NotYours).into())
    }
}

fn role_of(params: &DeviceTokenParams, conn: &Conn) -> Result<Role, Failure> {
    Role::parse(&params.role).ok_or_else(|| denied(PairingError::UnknownRole, conn).into())
}

/// Version 4 does not tell an unknown device from scopes that were never approved.
fn denied(error: PairingError, conn: &Conn) -> RpcError {
    match (error, conn.version) {
        (PairingError::UnknownRole, Protocol::V4) => {
            shape::pairing_error(PairingError::RotationDenied)
        }
        (PairingError::RotationDenied, Protocol::V3) => {
            shape::pairing_error(PairingError::UnknownRole)
        }
        (error, _) => shape::pairing_error(error),
    }
}
