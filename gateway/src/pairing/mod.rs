//! Which devices may come in: requests, approvals, and the life of device tokens.

mod decide;
mod rows;
mod setup;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use clawline::protocol::limits::PAIRING_REQUEST_LIFETIME;
use clawline::protocol::scope::{Role, Scope, Scopes};
use clawline::secret::Secret;
use serde_json::{Value, json};

use crate::auth::{DeviceTokens, PairingRefusal, Refusal};
use crate::conn::{ConnId, Principal, Push, Registry};
use crate::policy::Policy;
use crate::settings::SilentScopes;
use crate::store::{
    Device, DeviceGrant, DeviceRole, DeviceStore, NewPairing, PairingRequest, PairingStore,
    SetupCodeStore, StoreError, now_ms,
};

use decide::beyond;
pub use decide::{Ask, Verdict, decide};
use rows::{device_row, request_event, request_row};
pub use setup::{MadeCode, SETUP_CODE_LIFETIME};

/// Devices that may wait for an approval at the same time.
const MAX_PENDING: usize = 10;
/// Shows its user that it waits, and asks again by itself.
const CONTROL_UI: &str = "openclaw-control-ui";
/// Devices that are kept without anybody having been asked about them.
pub(crate) const MAX_SILENT: usize = 1000;
/// Most of them that are forgotten at a time; the heartbeat waits for it.
const MAX_FORGOTTEN: usize = 100;
/// How long one of them is kept unseen: a year.
const SILENT_LIFETIME_MS: i64 = 365 * 24 * 3_600_000;
/// A device's last visit is written down at most once in this time.
const SEEN_INTERVAL_MS: i64 = 60_000;

/// What a paired device is given in hello.
#[derive(Debug, Clone)]
pub struct Admission {
    /// For later connects without the shared secret.
    pub token: Secret,
    /// The token's; another one in the store makes the token and its connections void.
    pub generation: i64,
    /// ms since the epoch.
    pub issued_at: i64,
    /// Stored with the token; version 3 shows these.
    pub stored_scopes: Vec<String>,
    /// The gateway's own user on this machine, let in without a question.
    pub is_own_user: bool,
}

/// What cannot be done to devices and requests.
#[derive(Debug, thiserror::Error)]
pub enum PairingError {
    #[error("unknown requestId")]
    UnknownRequest,
    #[error("unknown deviceId")]
    UnknownDevice,
    #[error("unknown deviceId/role")]
    UnknownRole,
    /// An approver gives only what it has itself.
    #[error("missing scope: {0}")]
    BeyondOwnScopes(&'static str),
    /// Only admin changes other devices.
    #[error("only the device itself or an admin may do this")]
    NotYours,
    /// What a device may become is not for itself to decide.
    #[error("a device does not approve its own {0}; an admin, or the gateway's host, has to")]
    OwnUpgrade(&'static str),
    #[error("device token rotation denied")]
    RotationDenied,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The pairing service. A cheap clone.
#[derive(Clone)]
pub struct Pairing {
    devices: Arc<dyn DeviceStore>,
    requests: Arc<dyn PairingStore>,
    codes: Arc<dyn SetupCodeStore>,
    tokens: DeviceTokens,
    silent: SilentScopes,
    registry: Arc<Registry>,
    policy: Arc<Policy>,
    /// Two connects of one device at the same moment are decided one after the other.
    gate: Arc<tokio::sync::Mutex<()>>,
}

impl Pairing {
    pub(crate) fn new(
        devices: Arc<dyn DeviceStore>,
        requests: Arc<dyn PairingStore>,
        codes: Arc<dyn SetupCodeStore>,
        tokens: DeviceTokens,
        silent: SilentScopes,
        registry: Arc<Registry>,
        policy: Arc<Policy>,
    ) -> Self {
        Self {
            devices,
            requests,
            codes,
            tokens,
            silent,
            registry,
            policy,
            gate: Arc::default(),
        }
    }

    /// What is known of a device.
    pub async fn device(&self, device_id: &str) -> Result<Option<Device>, StoreError> {
        self.devices.get(device_id).await
    }

    /// Lets a device in, or stores its request and says that it has to wait.
    pub async fn admit(&self, ask: &Ask) -> Result<Admission, Refusal> {
        let _gate = self.gate.lock().await;
        let failed = |error: StoreError| {
            tracing::error!(%error, "pairing could not be decided");
            Refusal::Store
        };
        let known = self.devices.get(&ask.device_id).await.map_err(failed)?;
        let device = match decide(known.as_ref(), ask, self.silent, &self.policy) {
            Verdict::Approved => known,
            Verdict::Silent => {
                let grant = grant(ask, known.as_ref(), true);
                let device = self.devices.grant(grant, now_ms()).await.map_err(failed)?;
                tracing::info!(device = %ask.device_id, client = %ask.client_id, "device paired: same user, right secret");
                self.resolved(&unasked(), &ask.device_id, "approved");
                Some(device)
            }
            Verdict::Pending(reason) => {
                return Err(self.ask_for_approval(ask, known.as_ref(), reason).await);
            }
        };
        let role = device.and_then(|mut device| device.roles.remove(ask.role.as_str()));
        // Approved and granted devices have the role.
        let Some(role) = role else {
            return Err(Refusal::Store);
        };
        // The token was looked at outside the gate, and may have been voided since.
        if ask
            .generation
            .is_some_and(|shown| shown != role.token_generation)
        {
            return Err(Refusal::DeviceTokenMismatch);
        }
        Ok(self.admission(&ask.device_id, ask.role, role))
    }

    fn admission(&self, device_id: &str, role: Role, stored: DeviceRole) -> Admission {
        Admission {
            token: self.tokens.token(device_id, role, stored.token_generation),
            generation: stored.token_generation,
            issued_at: stored.rotated_at.unwrap_or(stored.created_at),
            stored_scopes: stored.scopes,
            is_own_user: false,
        }
    }

    async fn ask_for_approval(
        &self,
        ask: &Ask,
        known: Option<&Device>,
        reason: &'static str,
    ) -> Refusal {
        let at = now_ms();
        let outcome = async {
            let waiting = self.requests.pending(at).await?;
            let others = waiting
                .iter()
                .filter(|request| request.grant.device_id != ask.device_id);
            if self.policy.pending_cap && others.count() >= MAX_PENDING {
                let first = waiting.iter().map(|request| request.expires_at).min();
                let left = first.unwrap_or(at).saturating_sub(at).max(0);
                return Ok(Err(Duration::from_millis(left.unsigned_abs())));
            }
            let lifetime = i64::try_from(PAIRING_REQUEST_LIFETIME.as_millis()).unwrap_or(i64::MAX);
            let new = NewPairing {
                grant: grant(ask, known, false),
                reason: reason.to_owned(),
                at,
                expires_at: at.saturating_add(lifetime),
            };
            let stored = self.requests.request(new).await?;
            Ok::<_, StoreError>(Ok((stored, waiting)))
        };
        let ((request, superseded), waiting) = match outcome.await {
            Ok(Ok(stored)) => stored,
            Ok(Err(remaining)) => return Refusal::PairingFull { remaining },
            Err(error) => {
                tracing::error!(%error, "a pairing request could not be stored");
                return Refusal::Store;
            }
        };
        for old in &superseded {
            self.resolved(old, &ask.device_id, "rejected");
        }
        if !waiting
            .iter()
            .any(|old| old.request_id == request.request_id)
        {
            tracing::info!(device = %ask.device_id, request = %request.request_id, reason, "a device waits for approval");
            let row = request_event(&request, known.is_some());
            self.registry
                .broadcast_device(&Push::plain("device.pair.requested", &row), &ask.device_id);
        }
        let approved = known.map(|device| {
            let roles: Vec<String> = device.roles.keys().cloned().collect();
            let of_role = device.roles.get(ask.role.as_str());
            let any = of_role.or_else(|| device.roles.values().next());
            (
                roles,
                any.map(|role| role.scopes.clone()).unwrap_or_default(),
            )
        });
        Refusal::Pairing(Box::new(PairingRefusal {
            reason,
            request_id: request.request_id,
            device_id: ask.device_id.clone(),
            role: ask.role,
            scopes: ask.scopes.to_wire(),
            is_waiting: ask.client_id == CONTROL_UI && ask.role == Role::Operator,
            approved,
        }))
    }

    /// Whether a device that was let in still may be: its role is there, not revoked, and of the same
    /// generation. Asked once the connection can be found: whatever is voided later closes it.
    pub(crate) async fn still_admits(
        &self,
        device_id: &str,
        role: Role,
        generation: i64,
    ) -> Result<bool, StoreError> {
        let device = self.devices.get(device_id).await?;
        let held = device.and_then(|mut device| device.roles.remove(role.as_str()));
        Ok(held
            .is_some_and(|held| held.revoked_at.is_none() && held.token_generation == generation))
    }

    /// Notes that a device is here.
    pub async fn seen(&self, device_id: &str, role: Role) {
        let now = now_ms();
        let seen = async {
            let device = self.devices.get(device_id).await?;
            let last = device.and_then(|device| device.last_seen_at);
            if last.is_none_or(|last| now - last > SEEN_INTERVAL_MS) {
                self.devices.touch(device_id, role.as_str(), now).await?;
            }
            Ok::<_, StoreError>(())
        };
        if let Err(error) = seen.await {
            tracing::warn!(%error, device = device_id, "a device's visit was not written down");
        }
    }

    /// Requests that wait and devices that are paired, as `device.pair.list` shows them; of others
    /// only where `by` [manages](Principal::manages) them, and all on the host (`None`).
    pub async fn list(
        &self,
        by: Option<&Principal>,
    ) -> Result<(Vec<Value>, Vec<Value>), PairingError> {
        let is_shown = |id: &str| by.is_none_or(|by| self.may_manage(by, id));
        let devices = self.devices.list().await?;
        let pending = self.requests.pending(now_ms()).await?;
        let connected = self.registry.connected_devices();
        let is_known = |id: &str| devices.iter().any(|device| device.device_id == id);
        let pending = pending
            .iter()
            .filter(|request| is_shown(&request.grant.device_id))
            .map(|request| request_row(request, is_known(&request.grant.device_id)))
            .collect();
        let paired = devices
            .iter()
            .filter(|device| is_shown(&device.device_id))
            .map(|device| device_row(device, connected.contains(&device.device_id)))
            .collect();
        Ok((pending, paired))
    }

    /// Lets the device of a request in. An approver that is a device decides about requests that it
    /// [manages](Principal::manages), and gives only what it has; `approver` is `None` on the host.
    pub async fn approve(
        &self,
        request_id: &str,
        approver: Option<&Principal>,
    ) -> Result<Value, PairingError> {
        let now = now_ms();
        let request = self.decidable(request_id, approver, now).await?;
        // Without a device it is the owner's own command line, which could ask for any scope.
        if let Some(approver) = approver.filter(|approver| approver.device_id.is_some()) {
            let asked = Scopes::from_wire(&request.grant.scopes);
            let held = &approver.scopes;
            if let Some(scope) = beyond(held, &asked).filter(|_| self.policy.grant_within_own) {
                return Err(PairingError::BeyondOwnScopes(scope.as_str()));
            }
            self.check_own_upgrade(approver, &request)?;
        }
        let done = self.requests.approve(request_id, now).await?;
        let (request, device) = done.ok_or(PairingError::UnknownRequest)?;
        self.resolved(request_id, &request.grant.device_id, "approved");
        tracing::info!(device = %device.device_id, request = request_id, "device approved");
        Ok(json!({"requestId": request_id, "device": device_row(&device, false)}))
    }

    /// A pinned platform and the roles of a device are there to tell it from a thief of its key, who would
    /// otherwise only have to ask twice.
    fn check_own_upgrade(
        &self,
        approver: &Principal,
        request: &PairingRequest,
    ) -> Result<(), PairingError> {
        let is_own = approver.device_id.as_deref() == Some(request.grant.device_id.as_str());
        if !is_own || approver.scopes.grants(Scope::Admin) || !self.policy.own_upgrade {
            return Ok(());
        }
        match request.reason.as_str() {
            "role-upgrade" => Err(PairingError::OwnUpgrade("new role")),
            "metadata-upgrade" => Err(PairingError::OwnUpgrade("changed platform")),
            _ => Ok(()),
        }
    }

    /// Whether `by` may see and change what is stored of this device.
    pub(crate) fn may_manage(&self, by: &Principal, device_id: &str) -> bool {
        !self.policy.own_device_only || by.manages(device_id)
    }

    /// A request that `by` may decide about.
    async fn decidable(
        &self,
        request_id: &str,
        by: Option<&Principal>,
        now: i64,
    ) -> Result<PairingRequest, PairingError> {
        let request = self.requests.get(request_id, now).await?;
        let request = request.ok_or(PairingError::UnknownRequest)?;
        if by.is_none_or(|by| self.may_manage(by, &request.grant.device_id)) {
            Ok(request)
        } else {
            Err(PairingError::NotYours)
        }
    }

    /// Turns a request down; as for [`Pairing::approve`], `by` is `None` on the host.
    pub async fn reject(
        &self,
        request_id: &str,
        by: Option<&Principal>,
    ) -> Result<Value, PairingError> {
        self.decidable(request_id, by, now_ms()).await?;
        let request = self.requests.take(request_id, now_ms()).await?;
        let request = request.ok_or(PairingError::UnknownRequest)?;
        self.resolved(request_id, &request.grant.device_id, "rejected");
        Ok(json!({"requestId": request_id, "deviceId": request.grant.device_id}))
    }

    /// Forgets a device and closes its connections.
    pub(crate) async fn remove(
        &self,
        device_id: &str,
        caller: Option<ConnId>,
    ) -> Result<Value, PairingError> {
        if !self.devices.remove(device_id).await? {
            return Err(PairingError::UnknownDevice);
        }
        self.resolved(&unasked(), device_id, "removed");
        self.kick(device_id, None, caller);
        tracing::info!(device = device_id, "device removed");
        Ok(json!({"deviceId": device_id}))
    }

    /// Makes the old token of a device and role worthless, and closes its connections.
    pub(crate) async fn rotate(
        &self,
        device_id: &str,
        role: Role,
        scopes: Option<Vec<String>>,
        caller: Option<ConnId>,
    ) -> Result<(DeviceRole, Secret), PairingError> {
        let device = self.devices.get(device_id).await?;
        let held = device
            .and_then(|mut device| device.roles.remove(role.as_str()))
            .ok_or(PairingError::UnknownRole)?;
        // Scopes that we do not know are nobody's, now and when a later release knows them.
        let wanted = scopes.map(|scopes| Scopes::from_wire(&scopes));
        if let Some(wanted) = &wanted
            && !Scopes::from_wire(&held.scopes).covers(wanted)
        {
            return Err(PairingError::RotationDenied);
        }
        let scopes = wanted.map(|wanted| wanted.to_wire());
        let rotated = self
            .devices
            .rotate(device_id, role.as_str(), scopes, now_ms())
            .await?
            .ok_or(PairingError::UnknownRole)?;
        self.kick(device_id, Some(role), caller);
        let token = self.tokens.token(device_id, role, rotated.token_generation);
        Ok((rotated, token))
    }

    /// Takes the token of a device and role away until it is approved again.
    pub(crate) async fn revoke(
        &self,
        device_id: &str,
        role: Role,
        caller: Option<ConnId>,
    ) -> Result<DeviceRole, PairingError> {
        let revoked = self
            .devices
            .revoke(device_id, role.as_str(), now_ms())
            .await?
            .ok_or(PairingError::UnknownRole)?;
        self.kick(device_id, Some(role), caller);
        Ok(revoked)
    }

    /// Forgets requests that nobody answered in time.
    pub async fn expire(&self) {
        match self.requests.expire(now_ms()).await {
            Ok(expired) => {
                for request in expired {
                    self.resolved(&request.request_id, &request.grant.device_id, "rejected");
                }
            }
            Err(error) => tracing::warn!(%error, "old pairing requests could not be cleared"),
        }
    }

    /// Forgets devices that nobody was asked about and that have not been here for a year, and the longest
    /// unseen of more than [`MAX_SILENT`]: a program that makes a new key for each of its runs would add one
    /// for ever. Such a device comes back as it came in, by the shared secret. At most [`MAX_FORGOTTEN`] go
    /// at a time.
    pub(crate) async fn forget_unseen(&self) {
        let before = now_ms().saturating_sub(SILENT_LIFETIME_MS);
        let devices = match self.devices.list().await {
            Ok(devices) => devices,
            Err(error) => {
                tracing::warn!(%error, "old devices could not be looked for");
                return;
            }
        };
        let connected = self.registry.connected_devices();
        let old = unseen(devices, before, MAX_SILENT, &connected);
        for device_id in old.into_iter().take(MAX_FORGOTTEN) {
            let _gate = self.gate.lock().await;
            // It may have come back meanwhile; whoever is between its login and its place among the
            // connected is asked about again there.
            if self.registry.connected_devices().contains(&device_id) {
                continue;
            }
            if let Err(error) = self.remove(&device_id, None).await {
                tracing::warn!(%error, device = %device_id, "an old device was not forgotten");
            }
        }
    }

    /// Closes the connections of a device whose credentials are void.
    fn kick(&self, device_id: &str, role: Option<Role>, caller: Option<ConnId>) {
        if self.policy.close_voided {
            let role = role.map(Role::as_str);
            self.registry.kick_device(device_id, role, caller);
        }
    }

    fn resolved(&self, request_id: &str, device_id: &str, decision: &str) {
        let payload = json!({
            "requestId": request_id, "deviceId": device_id, "decision": decision, "ts": now_ms(),
        });
        self.registry
            .broadcast_device(&Push::plain("device.pair.resolved", &payload), device_id);
    }
}

/// Devices to be forgotten, the longest unseen first: of those that nobody was asked about and that are not
/// connected, the ones last seen before a time, and the longest unseen beyond `most`. A device of which
/// something was revoked is remembered: forgotten, it would be let in again. So is a node, with what
/// somebody approved of it.
fn unseen(
    devices: Vec<Device>,
    before: i64,
    most: usize,
    connected: &HashSet<String>,
) -> Vec<String> {
    let mut silent: Vec<(i64, String)> = devices
        .into_iter()
        .filter(|device| device.silent && !device.roles.contains_key(Role::Node.as_str()))
        .filter(|device| device.roles.values().all(|role| role.revoked_at.is_none()))
        .map(|device| {
            let last = device.last_seen_at.unwrap_or(device.approved_at);
            (last.max(device.approved_at), device.device_id)
        })
        .collect();
    silent.sort_unstable();
    let beyond = silent.len().saturating_sub(most);
    silent
        .into_iter()
        .enumerate()
        .filter(|(at, (last, id))| (*at < beyond || *last < before) && !connected.contains(id))
        .map(|(_, (_, id))| id)
        .collect()
}

/// An id for a decision that nobody had to ask for: the event must carry one.
fn unasked() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// What is stored when `ask` is granted: what the device has in this role, and what it asks for.
fn grant(ask: &Ask, known: Option<&Device>, silent: bool) -> DeviceGrant {
    let held = known
        .and_then(|device| device.roles.get(ask.role.as_str()))
        .filter(|role| role.revoked_at.is_none())
        .map(|role| Scopes::from_wire(&role.scopes))
        .unwrap_or_default();
    DeviceGrant {
        device_id: ask.device_id.clone(),
        public_key: ask.public_key.clone(),
        display_name: ask.display_name.clone(),
        platform: Some(ask.platform.clone()),
        device_family: ask.device_family.clone(),
        client_id: Some(ask.client_id.clone()),
        client_mode: Some(ask.client_mode.clone()),
        remote_ip: Some(ask.remote_ip.clone()),
        silent,
        role: ask.role.to_string(),
        scopes: held.union(&ask.scopes).to_wire(),
    }
}
