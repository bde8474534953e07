//! Frames: one JSON object a WebSocket message (PROTOCOL.md §1.2).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::RpcError;
use super::surrogates::without_halves;

/// Anything that can be on the wire.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type")]
pub enum Frame {
    /// A call.
    #[serde(rename = "req")]
    Request(Request),
    /// Its answer; two may come for one id.
    #[serde(rename = "res")]
    Response(Response),
    /// A push.
    #[serde(rename = "event")]
    Event(Event),
}

/// A call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Opaque, chosen by the caller, never empty.
    pub id: String,
    /// Method name, never empty.
    pub method: String,
    /// Parameters; absent reads as null.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub params: Value,
}

/// The answer to a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// The id of the call.
    pub id: String,
    /// Whether it went well.
    pub ok: bool,
    /// The reply; a failed call may carry one too.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub payload: Value,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RpcError>,
}

impl Response {
    /// A good answer.
    pub fn ok(id: impl Into<String>, payload: Value) -> Self {
        Self {
            id: id.into(),
            ok: true,
            payload,
            error: None,
        }
    }

    /// A refusal.
    pub fn error(id: impl Into<String>, error: RpcError) -> Self {
        Self {
            id: id.into(),
            ok: false,
            payload: Value::Null,
            error: Some(error),
        }
    }
}

/// A push.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Event name, never empty.
    pub event: String,
    /// Its content.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub payload: Value,
    /// Number on this connection, from 1 without gaps; direct pushes have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Accompanies `presence` and `health`.
    #[serde(
        default,
        rename = "stateVersion",
        skip_serializing_if = "Option::is_none"
    )]
    pub state_version: Option<StateVersion>,
}

/// Counters of the gateway's state; they only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StateVersion {
    /// Rises with each change of presence.
    pub presence: u64,
    /// Rises with each health snapshot.
    pub health: u64,
}

/// Why a text is not a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Not JSON at all.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// JSON, but not a frame.
    #[error("invalid request frame: {why}")]
    NotAFrame {
        /// The frame's `id` when it had one as text; an answer can name it.
        id: Option<String>,
        /// What is wrong.
        why: String,
    },
}

impl Frame {
    /// Reads one message. Unknown members are ignored (real clients are ahead of the published schema).
    ///
    /// # Errors
    /// [`FrameError`] when the text is no JSON object of a known `type` with its needed members.
    pub fn parse(text: &str) -> Result<Self, FrameError> {
        let value: Value = serde_json::from_str(text).map_err(|error| not_json(text, &error))?;
        let id = value.get("id").and_then(Value::as_str).map(str::to_owned);
        let refuse = |why: String| FrameError::NotAFrame {
            id: id.clone(),
            why,
        };
        let kind = value
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let frame = match kind.as_str() {
            "req" => serde_json::from_value(value).map(Self::Request),
            "res" => serde_json::from_value(value).map(Self::Response),
            "event" => serde_json::from_value(value).map(Self::Event),
            other => return Err(refuse(format!("unknown type {other:?}"))),
        }
        .map_err(|error| refuse(error.to_string()))?;
        match &frame {
            Self::Request(request) if request.id.is_empty() || request.method.is_empty() => {
                Err(refuse("id and method must not be empty".into()))
            }
            Self::Response(response) if response.id.is_empty() => {
                Err(refuse("id must not be empty".into()))
            }
            Self::Event(event) if event.event.is_empty() => {
                Err(refuse("event must not be empty".into()))
            }
            _ => Ok(frame),
        }
    }

    /// The text of one message.
    pub fn to_text(&self) -> String {
        // Maps with text keys, numbers and texts always serialise.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// JavaScript's JSON can hold half a character; a peer that sends one is told so.
fn not_json(text: &str, error: &serde_json::Error) -> FrameError {
    let whole = without_halves(text).and_then(|text| serde_json::from_str::<Value>(&text).ok());
    match whole {
        Some(frame) => FrameError::NotAFrame {
            id: frame.get("id").and_then(Value::as_str).map(str::to_owned),
            why: "a text holds half of a surrogate pair".to_owned(),
        },
        None => FrameError::NotJson(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_reads_with_and_without_params() {
        let bare = Frame::parse(r#"{"type":"req","id":"1","method":"health"}"#);
        let Ok(Frame::Request(request)) = bare else {
            panic!("{bare:?}")
        };
        assert_eq!(request.params, Value::Null);
        let newer =
            r#"{"type":"req","id":"1","method":"status","params":{"a":1},"traceparent":"x"}"#;
        let Ok(Frame::Request(request)) = Frame::parse(newer) else {
            panic!("unknown members must be ignored")
        };
        assert_eq!(request.params, json!({"a":1}));
    }

    #[test]
    fn what_is_no_frame_is_refused_and_its_id_kept() {
        for (text, id) in [
            (r#"{"type":"req","id":"","method":"health"}"#, Some("")),
            (r#"{"type":"req","id":"7","method":""}"#, Some("7")),
            (r#"{"type":"req","method":"health"}"#, None),
            (r#"{"type":"nope","id":"7"}"#, Some("7")),
            ("[1]", None),
            ("7", None),
            ("null", None),
        ] {
            let Err(FrameError::NotAFrame { id: found, .. }) = Frame::parse(text) else {
                panic!("{text} was taken for a frame")
            };
            assert_eq!(found.as_deref(), id, "{text}");
        }
        assert!(matches!(Frame::parse("{"), Err(FrameError::NotJson(_))));
    }

    #[test]
    fn an_event_without_number_has_no_seq_member() {
        let event = Frame::Event(Event {
            event: "tick".into(),
            payload: json!({"ts":1}),
            seq: None,
            state_version: None,
        });
        assert_eq!(
            event.to_text(),
            r#"{"type":"event","event":"tick","payload":{"ts":1}}"#
        );
    }

    proptest! {
        #[test]
        fn any_text_is_a_frame_or_an_error(text in ".{0,200}") {
            let _ = Frame::parse(&text);
        }

        #[test]
        fn what_we_write_we_read(id in "[a-z0-9:-]{1,20}", method in "[a-z.]{1,20}") {
            let frame = Frame::Request(Request { id, method, params: json!({"k":[1,"x",null]}) });
            prop_assert_eq!(Frame::parse(&frame.to_text()), Ok(frame));
        }
    }
}
