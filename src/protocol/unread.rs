//! Calls whose parameters were not looked at yet: whoever takes a call decides first whether to.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::frame::{Frame, FrameError};
use super::surrogates::without_halves;

/// A call as it came. Nothing was made of its parameters: a few bytes of text can become a hundred
/// times as many in memory.
#[derive(Debug)]
pub struct UnreadRequest<'a> {
    /// Opaque, chosen by the caller, never empty.
    pub id: String,
    /// Method name, never empty.
    pub method: Cow<'a, str>,
    params: Params<'a>,
}

#[derive(Debug)]
enum Params<'a> {
    Unread(&'a str),
    Read(Value),
}

/// The members of a call.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    id: String,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

impl<'a> UnreadRequest<'a> {
    /// Reads one message. What is no plain call is read as [`Frame::parse`] does, if it holds at most
    /// `max_values` values.
    ///
    /// # Errors
    /// [`FrameError`], for frames that are no calls, too.
    pub fn parse(text: &'a str, max_values: usize) -> Result<Self, FrameError> {
        // A list of the members' values would pass for them.
        if text.trim_start().starts_with('{')
            && let Ok(members) = serde_json::from_str::<Members<'a>>(text)
            && members.r#type == "req"
            && !members.id.is_empty()
            && !members.method.is_empty()
        {
            return Ok(Self {
                id: members.id,
                method: members.method,
                params: Params::Unread(members.params.map_or("null", RawValue::get)),
            });
        }
        if holds_more(text, max_values) {
            return Err(refused(None, too_many(max_values)));
        }
        match Frame::parse(text)? {
            Frame::Request(request) => Ok(Self {
                id: request.id,
                method: request.method.into(),
                params: Params::Read(request.params),
            }),
            Frame::Response(_) | Frame::Event(_) => {
                Err(refused(None, "a request was expected".to_owned()))
            }
        }
    }

    /// The parameters, of at most `max_values` values.
    ///
    /// # Errors
    /// [`FrameError::NotAFrame`] when they hold more, are nested too deep, or hold a number or a text
    /// that nothing can hold.
    pub fn params(&mut self, max_values: usize) -> Result<Value, FrameError> {
        let text = match &mut self.params {
            Params::Read(value) => return Ok(value.take()),
            Params::Unread(text) => *text,
        };
        if holds_more(text, max_values) {
            return Err(refused(Some(&self.id), too_many(max_values)));
        }
        serde_json::from_str(text).map_err(|error| {
            let why = match without_halves(text) {
                Some(_) => "a text holds half of a surrogate pair".to_owned(),
                None => error.to_string(),
            };
            refused(Some(&self.id), why)
        })
    }
}

fn refused(id: Option<&str>, why: String) -> FrameError {
    FrameError::NotAFrame {
        id: id.map(str::to_owned),
        why,
    }
}

fn too_many(max_values: usize) -> String {
    format!("it holds more than {max_values} values")
}

/// Whether a JSON text holds more than so many values. A member's name counts with its value; what is
/// no JSON counts somehow.
pub fn holds_more(text: &str, max_values: usize) -> bool {
    // Each value but the first takes a byte and a comma.
    if text.len() <= max_values {
        return false;
    }
    let (mut values, mut is_text, mut is_escaped) = (1_usize, false, false);
    for byte in text.bytes() {
        if is_text {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = true,
                b'"' => is_text = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => is_text = true,
            b',' | b'[' | b'{' => {
                values += 1;
                if values > max_values {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const MANY: usize = 1000;

    #[test]
    fn parameters_come_out_as_they_are() {
        for (text, params) in [
            (r#"{"type":"req","id":"1","method":"m"}"#, json!(null)),
            (
                r#" {"type":"req","id":"1","method":"m","params":null}"#,
                json!(null),
            ),
            (
                r#"{"type":"req","id":"1","method":"m","params":{"a":[1]},"traceparent":"x"}"#,
                json!({"a": [1]}),
            ),
            // The last of two members counts.
            (
                r#"{"type":"req","id":"0","id":"1","method":"m","params":7}"#,
                json!(7),
            ),
        ] {
            let mut request = UnreadRequest::parse(text, MANY).unwrap();
            assert_eq!((request.id.as_str(), &*request.method), ("1", "m"));
            assert_eq!(request.params(MANY), Ok(params), "{text}");
        }
    }

    #[test]
    fn what_is_no_call_is_refused_with_its_id() {
        for (text, id) in [
            (r#"{"type":"req","id":"7","method":""}"#, Some("7")),
            (r#"{"type":"req","id":"","method":"m"}"#, Some("")),
            (r#"{"type":"res","id":"7","ok":true}"#, None),
            (r#"{"type":"req","id":5,"method":"m"}"#, None),
            (r#"["req","1","m",null]"#, None),
        ] {
            match UnreadRequest::parse(text, MANY) {
                Err(FrameError::NotAFrame { id: found, .. }) => {
                    assert_eq!(found.as_deref(), id, "{text}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
        assert!(matches!(
            UnreadRequest::parse("{", MANY),
            Err(FrameError::NotJson(_))
        ));
    }

    #[test]
    fn nothing_is_made_of_more_values_than_are_taken() {
        let zeros = format!("[0{}]", ",0".repeat(MANY));
        let call = format!(r#"{{"type":"req","id":"1","method":"m","params":{zeros}}}"#);
        let mut request = UnreadRequest::parse(&call, MANY).unwrap();
        let error = request.params(MANY).unwrap_err().to_string();
        assert!(error.contains("more than 1000 values"), "{error}");
        assert!(request.params(2 * MANY).is_ok());
        let twice = format!(r#"{{"type":"req","id":"1","id":"1","method":"m","params":{zeros}}}"#);
        assert!(UnreadRequest::parse(&twice, MANY).is_err());
        // Long is not many.
        let long =
            json!({"type": "req", "id": "1", "method": "m", "params": "[,\\\"".repeat(MANY)});
        let long = long.to_string();
        assert!(
            UnreadRequest::parse(&long, MANY)
                .unwrap()
                .params(MANY)
                .is_ok()
        );
    }

    #[test]
    fn parameters_that_nothing_can_hold_are_refused_under_the_calls_id() {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        for params in ["1e400", r#""\ud800""#, &deep] {
            let call = format!(r#"{{"type":"req","id":"1","method":"m","params":{params}}}"#);
            let error = UnreadRequest::parse(&call, MANY)
                .unwrap()
                .params(MANY)
                .unwrap_err();
            assert!(
                matches!(&error, FrameError::NotAFrame { id: Some(id), .. } if id == "1"),
                "{error:?}"
            );
        }
    }

    fn values(value: &Value) -> usize {
        1 + match value {
            Value::Array(items) => items.iter().map(values).sum(),
            Value::Object(members) => members.values().map(values).sum(),
            _ => 0,
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<i32>().prop_map(Value::from),
            ".*".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(".*", inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_value_escapes_the_count(value in any_value()) {
            let count = values(&value);
            prop_assert!(count == 1 || holds_more(&value.to_string(), count - 1));
            prop_assert!(!holds_more(&"x".repeat(count), count));
        }
    }
}
