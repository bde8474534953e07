//! Errors on the wire: the code, the words, and the details that clients branch on.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The top-level `error.code`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum ErrorCode {
    /// Bad parameters, unknown method, refused credentials.
    InvalidRequest,
    /// Not possible now.
    Unavailable,
    /// The device is not paired, or no device was shown.
    NotPaired,
    /// A scope is missing (version 4).
    Forbidden,
    /// An approval is unknown or over (version 4).
    ApprovalNotFound,
    /// A code we do not know; kept as it came.
    Other(String),
}

impl ErrorCode {
    /// The text on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::InvalidRequest => "INVALID_REQUEST",
            Self::Unavailable => "UNAVAILABLE",
            Self::NotPaired => "NOT_PAIRED",
            Self::Forbidden => "FORBIDDEN",
            Self::ApprovalNotFound => "APPROVAL_NOT_FOUND",
            Self::Other(code) => code,
        }
    }
}

impl From<String> for ErrorCode {
    fn from(code: String) -> Self {
        match code.as_str() {
            "INVALID_REQUEST" => Self::InvalidRequest,
            "UNAVAILABLE" => Self::Unavailable,
            "NOT_PAIRED" => Self::NotPaired,
            "FORBIDDEN" => Self::Forbidden,
            "APPROVAL_NOT_FOUND" => Self::ApprovalNotFound,
            _ => Self::Other(code),
        }
    }
}

impl From<ErrorCode> for String {
    fn from(code: ErrorCode) -> Self {
        code.as_str().to_owned()
    }
}

/// The `error` member of a response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
#[serde(rename_all = "camelCase")]
pub struct RpcError {
    /// The kind of failure.
    pub code: ErrorCode,
    /// What happened, in words.
    pub message: String,
    /// What a program can branch on; `details.code` above all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    /// Whether the same call may work later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retryable: Option<bool>,
    /// When to try again, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl RpcError {
    /// An error of this code with these words.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            details: None,
            retryable: None,
            retry_after_ms: None,
        }
    }

    /// `INVALID_REQUEST`.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidRequest, message)
    }

    /// `UNAVAILABLE`.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Unavailable, message)
    }

    /// `INVALID_REQUEST` "invalid METHOD params: WHY".
    pub fn invalid_params(method: &str, why: impl std::fmt::Display) -> Self {
        Self::invalid(format!("invalid {method} params: {why}"))
    }

    /// The answer to a method that does not exist here, as the official gateways word it.
    pub fn unknown_method(method: &str) -> Self {
        Self::invalid(format!("unknown method: {method}"))
    }

    /// The version-4 answer when a scope is missing; version 3 is rendered by [`super::v3`].
    pub fn missing_scope(scope: &str) -> Self {
        Self::new(ErrorCode::Forbidden, format!("missing scope: {scope}")).details(json!({
            "code": "MISSING_SCOPE",
            "missingScope": scope,
            "requiredScopes": [scope],
        }))
    }

    /// Adds details.
    #[must_use]
    pub fn details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    /// Says that the same call may work after `after_ms` milliseconds.
    #[must_use]
    pub fn retry_after(mut self, after_ms: u64) -> Self {
        self.retryable = Some(true);
        self.retry_after_ms = Some(after_ms);
        self
    }

    /// `details.code`, where there is one.
    pub fn detail_code(&self) -> Option<&str> {
        self.details.as_ref()?.get("code")?.as_str()
    }

    /// A text member of `details`.
    pub fn detail(&self, name: &str) -> Option<&str> {
        self.details.as_ref()?.get(name)?.as_str()
    }
}
