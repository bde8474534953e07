//! Setup codes: made on the host, good once and for a short time, bound to the first device that
//! shows one.

use std::time::Duration;

use clawline::protocol::scope::{Role, Scope, Scopes};
use clawline::secret::Secret;

use super::{Admission, Ask, Pairing, PairingError, grant};
use crate::auth::{CodeFault, Refusal, SetupCode};
use crate::store::{NewSetupCode, Redeemed, StoreError, now_ms};

/// How long a code is good.
pub const SETUP_CODE_LIFETIME: Duration = Duration::from_secs(600);
/// How long a used or expired one can still be told apart from a wrong one.
const MEMORY_MS: i64 = 24 * 3_600_000;
/// How to get another one.
const NEXT: &str = "make a new one with: clawline-gateway token --setup";

/// A code that was just made.
#[derive(Debug, Clone)]
pub struct MadeCode {
    /// For the person who sets the device up.
    pub code: Secret,
    /// ms since the epoch.
    pub expires_at: i64,
}

impl Pairing {
    /// Makes a code for one device in this role, which gives at most these scopes.
    pub async fn make_code(&self, role: Role, scopes: &Scopes) -> Result<MadeCode, PairingError> {
        let code = SetupCode::fresh(&self.tokens.gateway_tag());
        let now = now_ms();
        let lifetime = i64::try_from(SETUP_CODE_LIFETIME.as_millis()).unwrap_or(i64::MAX);
        let expires_at = now.saturating_add(lifetime);
        self.codes.forget(now - MEMORY_MS).await?;
        self.codes
            .mint(NewSetupCode {
                hash: code.hash(),
                role: role.to_string(),
                scopes: scopes.to_wire(),
                created_at: now,
                expires_at,
            })
            .await?;
        let has_admin = scopes.grants(Scope::Admin);
        tracing::info!(%role, has_admin, "a setup code was made");
        Ok(MadeCode {
            code: code.shown(),
            expires_at,
        })
    }

    /// Lets the device in that shows a good code; the code is used up then.
    pub(crate) async fn redeem(&self, ask: &Ask, text: &str) -> Result<Admission, Refusal> {
        let code =
            SetupCode::parse(text, &self.tokens.gateway_tag()).map_err(|fault| match fault {
                CodeFault::NotOne => Refusal::BootstrapInvalid,
                fault => Refusal::SetupCode(format!("{fault}; check it, or {NEXT}")),
            })?;
        let failed = |error: StoreError| {
            tracing::error!(%error, "a setup code could not be looked up");
            Refusal::Store
        };
        let _gate = self.gate.lock().await;
        let new = grant(ask, None, false);
        let now = now_ms();
        let redeemed = if self.policy.code_once {
            self.codes.redeem(&code.hash(), new, now).await
        } else {
            self.codes.redeem_unchecked(&code.hash(), new, now).await
        };
        let mut device = match redeemed.map_err(failed)? {
            Redeemed::Granted(device) => device,
            Redeemed::Unknown => return Err(Refusal::BootstrapInvalid),
            Redeemed::Used { by, at } => {
                let ago = minutes(now - at);
                return Err(Refusal::SetupCode(format!(
                    "was already used by {by} {ago} min ago; if that was not you, remove it with clawline-gateway devices remove, and {NEXT}"
                )));
            }
            Redeemed::Expired { at } => {
                let ago = minutes(now - at);
                return Err(Refusal::SetupCode(format!("expired {ago} min ago; {NEXT}")));
            }
            Redeemed::Beyond { role, scopes } => {
                let gives = scopes.join(", ");
                return Err(Refusal::SetupCode(format!(
                    "gives the role {role} with {gives} and no more; ask for that, or {NEXT}"
                )));
            }
        };
        tracing::info!(device = %ask.device_id, client = %ask.client_id, "device paired by a setup code");
        self.resolved(&super::unasked(), &ask.device_id, "approved");
        let role = device.roles.remove(ask.role.as_str());
        role.map(|role| self.admission(&ask.device_id, ask.role, role))
            .ok_or(Refusal::Store)
    }
}

fn minutes(ms: i64) -> i64 {
    ms.max(0) / 60_000
}
