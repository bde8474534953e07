//! Where version 3 looks different from version 4 on the way out.

mod added;

use super::Protocol;
use super::error::{ErrorCode, RpcError};

pub use added::{answer, event, has_event, is_answer_changed, is_event_changed};

/// Renders an error for the version of a connection.
///
/// Version 3 knows `INVALID_REQUEST`, `UNAVAILABLE` and `NOT_PAIRED`; its clients branch on words, and
/// `details` are harmless to them, so only the code changes.
pub fn render_error(version: Protocol, mut error: RpcError) -> RpcError {
    if version == Protocol::V3 {
        error.code = match error.code {
            ErrorCode::Forbidden | ErrorCode::ApprovalNotFound | ErrorCode::Other(_) => {
                ErrorCode::InvalidRequest
            }
            known => known,
        };
        if error.detail_code() == Some("MISSING_SCOPE") {
            error.details = None;
        }
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_scope_is_worded_as_each_version_expects() {
        let error = RpcError::missing_scope("operator.read");
        let v3 = serde_json::to_string(&render_error(Protocol::V3, error.clone()));
        assert_eq!(
            v3.ok().as_deref(),
            Some(r#"{"code":"INVALID_REQUEST","message":"missing scope: operator.read"}"#)
        );
        assert_eq!(render_error(Protocol::V4, error.clone()), error);
    }
}
