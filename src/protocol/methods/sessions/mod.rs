//! `sessions.*`: the list of conversations and what can be done to one.

mod change;
mod list;
mod look;
mod talk;

use serde_json::Value;

use crate::protocol::Protocol;
use crate::protocol::method::methods;
use crate::protocol::scope::{Needs, Scope};

pub use change::{
    SessionsCompactParams, SessionsCompactReply, SessionsCreateParams, SessionsDeleteParams,
    SessionsDeleteReply, SessionsPatchParams, SessionsPatchReply, SessionsResetParams,
    SessionsResetReply,
};
pub use list::{
    ModelDefaults, SessionRow, SessionsListParams, SessionsListReply, Which, short_key,
};
pub use look::{
    SearchHit, SessionKeyParams, SessionsDescribeParams, SessionsDescribeReply,
    SessionsPreviewParams, SessionsResolveParams, SessionsSearchParams, SessionsSearchReply,
    SubscribedReply,
};
pub use talk::{SessionsAbortParams, SessionsSendParams};

methods! {
    /// A page of sessions, latest first.
    SessionsList = "sessions.list", |_, _| Needs::Operator(Scope::Read), SessionsListParams => SessionsListReply;
    /// From now on `sessions.changed` and `session.message` come (version 4).
    SessionsSubscribe = "sessions.subscribe", |_, _| Needs::Operator(Scope::Read), Value => SubscribedReply;
    /// One session, or null.
    SessionsDescribe = "sessions.describe", |_, _| Needs::Operator(Scope::Read), SessionsDescribeParams => SessionsDescribeReply;
    /// Changes settings; null clears one. Creates the session when absent.
    SessionsPatch = "sessions.patch", patch_needs, SessionsPatchParams => SessionsPatchReply;
    /// Starts a session over under the same key; answers once the new one is stored.
    SessionsReset = "sessions.reset", |_, _| Needs::Operator(Scope::Admin), SessionsResetParams => SessionsResetReply;
    /// Deletes a session; an unknown key is no error.
    SessionsDelete = "sessions.delete", delete_needs, SessionsDeleteParams => SessionsDeleteReply;
    /// From now on `session.message` comes for one session (version 4).
    SessionsMessagesSubscribe = "sessions.messages.subscribe", |_, _| Needs::Operator(Scope::Read), SessionKeyParams => SubscribedReply;
    /// The opposite of `sessions.messages.subscribe`.
    SessionsMessagesUnsubscribe = "sessions.messages.unsubscribe", |_, _| Needs::Operator(Scope::Read), SessionKeyParams => SubscribedReply;
    /// The last messages of several sessions, cut short.
    SessionsPreview = "sessions.preview", |_, _| Needs::Operator(Scope::Read), SessionsPreviewParams => Value;
    /// Messages by their words (version 4).
    SessionsSearch = "sessions.search", |_, _| Needs::Operator(Scope::Read), SessionsSearchParams => SessionsSearchReply;
    /// The model goes on seeing only the newest messages.
    SessionsCompact = "sessions.compact", |_, _| Needs::Operator(Scope::Admin), SessionsCompactParams => SessionsCompactReply;
    /// The full key of a session that is named by key, transcript id or label.
    SessionsResolve = "sessions.resolve", |version, _| unlisted_in_v3(version), SessionsResolveParams => Value;
    /// Makes a session, or finds it when it is there (version 4).
    SessionsCreate = "sessions.create", create_needs, SessionsCreateParams => Value;
    /// `chat.send` by key (version 4).
    SessionsSend = "sessions.send", |_, _| Needs::Operator(Scope::Write), SessionsSendParams => Value;
    /// Stops the run of a session, or one run (version 4).
    SessionsAbort = "sessions.abort", |_, _| Needs::Operator(Scope::Write), SessionsAbortParams => Value;
}

/// Reading that version 3 knows of, but whose scope it never listed: an admin's there.
pub(super) fn unlisted_in_v3(version: Protocol) -> Needs {
    Needs::Operator(match version {
        Protocol::V3 => Scope::Admin,
        Protocol::V4 => Scope::Read,
    })
}

/// A writer may delete what was archived before (version 4).
fn delete_needs(version: Protocol, params: Option<&SessionsDeleteParams>) -> Needs {
    let writer_may = version == Protocol::V4
        && params.is_none_or(|params| {
            params.archived_only == Some(true) && params.delete_transcript.is_none()
        });
    Needs::Operator(if writer_may {
        Scope::Write
    } else {
        Scope::Admin
    })
}

fn create_needs(protocol: Protocol, params: Option<&SessionsCreateParams>) -> Needs {
    let said = |name: &str| params.and_then(|params| params.more.get(name));
    // What version 3 asks admin for in sessions.patch is not to be had this way.
    let is_patch = params.is_some_and(|params| params.label.is_some() || params.model.is_some());
    let is_special = ["execNode", "toolOverrides", "incognito"]
        .iter()
        .any(|name| said(name).is_some_and(|value| !value.is_null()))
        || said("permissionMode").is_some_and(|mode| mode == "full")
        || (protocol == Protocol::V3 && is_patch);
    Needs::Operator(if is_special {
        Scope::Admin
    } else {
        Scope::Write
    })
}

/// The members that `sessions.patch` lets a writer change; every other one needs admin (version 4).
const WRITER_MEMBERS: [&str; 17] = [
    "key",
    "agentId",
    "label",
    "autoLabel",
    "icon",
    "color",
    "category",
    "boardFace",
    "boardPresentation",
    "pinned",
    "archived",
    "unread",
    "model",
    "agentRuntime",
    "thinkingLevel",
    "fastMode",
    "permissionMode",
];

fn patch_needs(version: Protocol, params: Option<&SessionsPatchParams>) -> Needs {
    let mut settings = params.into_iter().flat_map(|params| &params.settings);
    let writer_may = version == Protocol::V4
        && settings.all(|(name, value)| {
            name.starts_with("expected")
                || (WRITER_MEMBERS.contains(&name.as_str())
                    && !(name == "permissionMode" && value == "full"))
        });
    Needs::Operator(if writer_may {
        Scope::Write
    } else {
        Scope::Admin
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::method::Method as _;

    fn patch(text: &str) -> SessionsPatchParams {
        serde_json::from_str(text).expect("patch parameters")
    }

    #[test]
    fn a_writer_may_relabel_but_not_change_execution_settings() {
        let label = patch(r#"{"key":"main","label":"x"}"#);
        let exec = patch(r#"{"key":"main","execHost":"x"}"#);
        let full = patch(r#"{"key":"main","permissionMode":"full"}"#);
        let needs = |p| SessionsPatch::needs(Protocol::V4, p);
        assert_eq!(needs(&label), Needs::Operator(Scope::Write));
        assert_eq!(needs(&exec), Needs::Operator(Scope::Admin));
        assert_eq!(needs(&full), Needs::Operator(Scope::Admin));
        assert_eq!(
            SessionsPatch::needs(Protocol::V3, &label),
            Needs::Operator(Scope::Admin)
        );
    }

    #[test]
    fn a_writer_may_delete_what_is_archived_and_nothing_else() {
        assert_eq!(
            SessionsDelete::least(Protocol::V4),
            Needs::Operator(Scope::Write)
        );
        assert_eq!(
            SessionsDelete::least(Protocol::V3),
            Needs::Operator(Scope::Admin)
        );
        let needs = |version, text: &str| {
            let params = serde_json::from_str(text).expect("delete parameters");
            SessionsDelete::needs(version, &params)
        };
        let archived = r#"{"key":"a","archivedOnly":true}"#;
        assert_eq!(needs(Protocol::V4, archived), Needs::Operator(Scope::Write));
        for (version, text) in [
            (Protocol::V3, archived),
            (Protocol::V4, r#"{"key":"a"}"#),
            (
                Protocol::V4,
                r#"{"key":"a","archivedOnly":true,"deleteTranscript":true}"#,
            ),
        ] {
            assert_eq!(needs(version, text), Needs::Operator(Scope::Admin));
        }
    }
}
