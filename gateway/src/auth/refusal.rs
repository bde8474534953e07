//! Why somebody may not come in, in the exact words and codes of each protocol version
//! (PROTOCOL.md §3.4, §3.5, §4.2, §4.3): official clients branch on them.

use std::time::Duration;

use clawline::protocol::Protocol;
use clawline::protocol::error::{ErrorCode, RpcError};
use clawline::protocol::scope::Role;
use serde_json::{Value, json};

use super::IdentityFault;
use super::proof::ProofFault;

/// A connect that is refused.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// No credential and no device.
    DeviceRequired,
    /// A browser-like client without a device.
    UiDeviceRequired,
    /// A browser client without an `Origin`.
    OriginRequired,
    /// The shared token is missing.
    TokenMissing,
    /// Not the shared token; a device token may be worth a try.
    TokenMismatch {
        /// Whether the client should try its device token next.
        try_device_token: bool,
    },
    /// The shared password is missing.
    PasswordMissing,
    /// Not the shared password.
    PasswordMismatch,
    /// Not the device's token, or one that was rotated or revoked.
    DeviceTokenMismatch,
    /// The device token is right but does not cover the scopes.
    ScopeMismatch,
    /// There is no such setup code.
    BootstrapInvalid,
    /// What is wrong with a setup code, to the one who holds it.
    SetupCode(String),
    /// No trusted proxy vouches for a user.
    Identity(IdentityFault),
    /// Too many wrong credentials from this source.
    RateLimited {
        /// Time until it is free again.
        remaining: Duration,
    },
    /// The device's proof is no good.
    Proof(ProofFault),
    /// The device has to be approved first.
    Pairing(Box<PairingRefusal>),
    /// Too many devices wait for an approval already.
    PairingFull {
        /// Time until the oldest request is over.
        remaining: Duration,
    },
    /// The store did not answer; nothing was decided.
    Store,
}

/// What a device is told that has to be approved first.
#[derive(Debug, Clone, PartialEq)]
pub struct PairingRefusal {
    /// `not-paired`, `scope-upgrade`, `role-upgrade`, `metadata-upgrade`.
    pub reason: &'static str,
    /// To be named at the approval.
    pub request_id: String,
    /// The device.
    pub device_id: String,
    /// The role it asked for.
    pub role: Role,
    /// The scopes it asked for.
    pub scopes: Vec<String>,
    /// Whether its client goes on asking by itself: the Control UI, whose user sees it wait.
    pub is_waiting: bool,
    /// What it has already: roles and the scopes of this role.
    pub approved: Option<(Vec<String>, Vec<String>)>,
}

impl Refusal {
    /// The error for a client of this version and role; `is_local` is a loopback peer without proxy.
    pub fn render(&self, version: Protocol, role: Role, is_local: bool) -> RpcError {
        if version == Protocol::V3 {
            return self.render_v3();
        }
        let hint = |local: &str, remote: &str| match (role, is_local) {
            (Role::Node, _) => "(provide gateway auth token)".to_owned(),
            (Role::Operator, true) => local.to_owned(),
            (Role::Operator, false) => remote.to_owned(),
        };
        let token_hint = hint(
            "(use this gateway's gateway.auth.token or pair the device)",
            V3_TOKEN_HINT,
        );
        let password_hint = hint(
            "(use this gateway's gateway.auth.password)",
            V3_PASSWORD_HINT,
        );
        match self {
            Self::DeviceRequired => RpcError::new(ErrorCode::NotPaired, DEVICE_REQUIRED)
                .details(json!({"code": "DEVICE_IDENTITY_REQUIRED"})),
            Self::UiDeviceRequired => RpcError::invalid(UI_DEVICE_REQUIRED)
                .details(json!({"code": "CONTROL_UI_DEVICE_IDENTITY_REQUIRED"})),
            Self::OriginRequired => RpcError::invalid(ORIGIN_REFUSED).details(json!({
                "code": "CONTROL_UI_ORIGIN_NOT_ALLOWED",
                "reason": "origin missing or invalid",
            })),
            Self::TokenMissing => auth_error(
                &format!("gateway token missing {token_hint}"),
                ("AUTH_TOKEN_MISSING", "token_missing"),
                "update_auth_configuration",
            ),
            Self::TokenMismatch { try_device_token } => {
                let step = if *try_device_token {
                    "retry_with_device_token"
                } else {
                    "update_auth_credentials"
                };
                let mut error = auth_error(
                    &format!("gateway token mismatch {token_hint}"),
                    ("AUTH_TOKEN_MISMATCH", "token_mismatch"),
                    step,
                );
                set_detail(
                    &mut error,
                    "canRetryWithDeviceToken",
                    json!(try_device_token),
                );
                error
            }
            Self::PasswordMissing => auth_error(
                &format!("gateway password missing {password_hint}"),
                ("AUTH_PASSWORD_MISSING", "password_missing"),
                "update_auth_configuration",
            ),
            Self::PasswordMismatch => auth_error(
                &format!("gateway password mismatch {password_hint}"),
                ("AUTH_PASSWORD_MISMATCH", "password_mismatch"),
                "update_auth_credentials",
            ),
            Self::DeviceTokenMismatch => auth_error(
                DEVICE_TOKEN_MISMATCH,
                ("AUTH_DEVICE_TOKEN_MISMATCH", "device_token_mismatch"),
                "update_auth_credentials",
            ),
            Self::ScopeMismatch => auth_error(
                "device token scope mismatch (re-pair or approve scope upgrade)",
                ("AUTH_SCOPE_MISMATCH", "scope_mismatch"),
                "review_auth_configuration",
            ),
            Self::BootstrapInvalid => auth_error(
                "setup code invalid, expired, revoked, or already used (create a new code; review `openclaw devices list`)",
                ("AUTH_BOOTSTRAP_TOKEN_INVALID", "bootstrap_token_invalid"),
                "review_auth_configuration",
            ),
            Self::SetupCode(why) => auth_error(
                &format!("setup code {why}"),
                ("AUTH_BOOTSTRAP_TOKEN_INVALID", "bootstrap_token_invalid"),
                "review_auth_configuration",
            ),
            Self::Identity(fault) => {
                let (code, reason) = identity_details(fault);
                auth_error_plain("unauthorized", (code, &reason), "review_auth_configuration")
            }
            Self::RateLimited { remaining } => {
                let mut error = auth_error(
                    RATE_LIMITED,
                    ("AUTH_RATE_LIMITED", "rate_limited"),
                    "wait_then_retry",
                );
                error.retryable = Some(true);
                error.retry_after_ms = Some(millis(*remaining));
                error
            }
            Self::Proof(fault) => {
                let (code, reason) = fault.details();
                RpcError::invalid(fault.to_string())
                    .details(json!({"code": code, "reason": reason}))
            }
            Self::Pairing(pairing) => pairing.render_v4(),
            Self::PairingFull { remaining } => pairing_full(*remaining),
            Self::Store => store_unavailable(),
        }
    }

    /// Version 3: the words alone; its clients look for "device token mismatch" among them.
    fn render_v3(&self) -> RpcError {
        let unauthorized = |what: &str| RpcError::invalid(format!("unauthorized: {what}"));
        match self {
            Self::DeviceRequired => RpcError::new(ErrorCode::NotPaired, DEVICE_REQUIRED),
            Self::UiDeviceRequired => {
                RpcError::invalid("control ui requires HTTPS or localhost (secure context)")
            }
            Self::OriginRequired => RpcError::invalid(ORIGIN_REFUSED),
            Self::TokenMissing => unauthorized(&format!("gateway token missing {V3_TOKEN_HINT}")),
            Self::TokenMismatch {
                try_device_token: false,
            } => unauthorized(&format!("gateway token mismatch {V3_TOKEN_HINT}")),
            Self::PasswordMissing => {
                unauthorized(&format!("gateway password missing {V3_PASSWORD_HINT}"))
            }
            Self::PasswordMismatch => {
                unauthorized(&format!("gateway password mismatch {V3_PASSWORD_HINT}"))
            }
            Self::TokenMismatch {
                try_device_token: true,
            }
            | Self::DeviceTokenMismatch
            | Self::ScopeMismatch => unauthorized(DEVICE_TOKEN_MISMATCH),
            Self::BootstrapInvalid | Self::SetupCode(_) => RpcError::invalid(
                "invalid connect params: at /auth: unexpected property 'bootstrapToken'",
            ),
            Self::Identity(_) => RpcError::invalid("unauthorized"),
            Self::RateLimited { .. } => unauthorized(RATE_LIMITED),
            Self::Proof(fault) => RpcError::invalid(fault.to_string()),
            Self::Pairing(pairing) => RpcError::new(ErrorCode::NotPaired, "pairing required")
                .details(json!({"requestId": pairing.request_id})),
            Self::PairingFull { remaining } => pairing_full(*remaining),
            Self::Store => store_unavailable(),
        }
    }

    /// The reason of the close that follows the error.
    pub fn close_reason(&self, version: Protocol, error: &RpcError) -> String {
        match self {
            Self::Pairing(pairing) if version == Protocol::V4 => {
                format!("{} (requestId: {})", error.message, pairing.request_id)
            }
            _ => error.message.clone(),
        }
    }
}

impl PairingRefusal {
    fn render_v4(&self) -> RpcError {
        let (words, hint) = match self.reason {
            "scope-upgrade" => (
                "device is asking for more scopes than currently approved",
                "Review the requested scopes, then approve the pending upgrade.",
            ),
            "role-upgrade" => (
                "device is asking for a higher role than currently approved",
                "Review the requested role upgrade, then approve the pending request.",
            ),
            "metadata-upgrade" => (
                "device identity changed and must be re-approved",
                "Review the refreshed device details, then approve the pending request.",
            ),
            _ => (
                "device is not approved yet",
                "Approve this device from the pending pairing requests.",
            ),
        };
        let mut details = json!({
            "code": "PAIRING_REQUIRED",
            "reason": self.reason,
            "requestId": self.request_id,
            "remediationHint": hint,
            "deviceId": self.device_id,
            "requestedRole": self.role.as_str(),
        });
        if self.is_waiting {
            details["recommendedNextStep"] = json!("wait_then_retry");
            details["retryable"] = json!(true);
            details["pauseReconnect"] = json!(false);
        }
        if !self.scopes.is_empty() {
            details["requestedScopes"] = json!(self.scopes);
        }
        if let Some((roles, scopes)) = &self.approved {
            details["approvedRoles"] = json!(roles);
            details["approvedScopes"] = json!(scopes);
        }
        RpcError::new(ErrorCode::NotPaired, format!("pairing required: {words}")).details(details)
    }
}

const DEVICE_REQUIRED: &str = "device identity required";
const UI_DEVICE_REQUIRED: &str =
    "control ui requires device identity (use HTTPS or localhost secure context)";
/// The words for a refused `Origin`, also used by the HTTP layer.
pub const ORIGIN_REFUSED: &str = "origin not allowed (open the Control UI from the gateway host or allow it in gateway.controlUi.allowedOrigins)";
const DEVICE_TOKEN_MISMATCH: &str = "device token mismatch (rotate/reissue device token)";
const RATE_LIMITED: &str = "too many failed authentication attempts (retry later)";
const V3_TOKEN_HINT: &str = "(set gateway.remote.token to match gateway.auth.token)";
const V3_PASSWORD_HINT: &str = "(set gateway.remote.password to match gateway.auth.password)";
/// When a client may try again after the store did not answer.
const STORE_RETRY_MS: u64 = 1000;

fn auth_error(what: &str, (code, reason): (&str, &str), step: &str) -> RpcError {
    auth_error_plain(&format!("unauthorized: {what}"), (code, reason), step)
}

fn identity_details(fault: &IdentityFault) -> (&'static str, String) {
    match fault {
        IdentityFault::MissingHeader(name) => (
            "AUTH_IDENTITY_HEADER_REQUIRED",
            format!("trusted_proxy_missing_header_{name}"),
        ),
        IdentityFault::NoUser => ("AUTH_UNAUTHORIZED", "trusted_proxy_user_missing".to_owned()),
        IdentityFault::NotAllowed => (
            "AUTH_UNAUTHORIZED",
            "trusted_proxy_user_not_allowed".to_owned(),
        ),
        IdentityFault::NotTheProxy => (
            "AUTH_UNAUTHORIZED",
            "trusted_proxy_untrusted_source".to_owned(),
        ),
    }
}

fn auth_error_plain(message: &str, (code, reason): (&str, &str), step: &str) -> RpcError {
    RpcError::invalid(message).details(json!({
        "code": code,
        "authReason": reason,
        "canRetryWithDeviceToken": false,
        "recommendedNextStep": step,
    }))
}

fn set_detail(error: &mut RpcError, name: &str, value: Value) {
    if let Some(Value::Object(details)) = &mut error.details {
        details.insert(name.to_owned(), value);
    }
}

fn pairing_full(remaining: Duration) -> RpcError {
    RpcError::unavailable(
        "pairing required: too many devices wait for an approval already; approve or reject some with clawline-gateway devices",
    )
    .retry_after(millis(remaining))
}

fn store_unavailable() -> RpcError {
    RpcError::unavailable("the gateway's store did not answer; try again")
        .retry_after(STORE_RETRY_MS)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
