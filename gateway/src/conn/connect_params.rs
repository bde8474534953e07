//! The form of `connect` parameters, refused in the words of the official gateways.

use clawline::protocol::Protocol;
use clawline::protocol::hello::{CLIENT_IDS, CLIENT_MODES, ConnectParams};
use serde_json::{Map, Value};

/// What a member must be.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    Version,
    Millis,
    Texts,
    Object,
}

/// A member: its name, what it must be, whether it must be there.
type Rule = (&'static str, Kind, bool);

/// The members that have a form, by the object they stand in; every other one is ignored.
const RULES: &[(&str, &[Rule])] = &[
    (
        "",
        &[
            ("minProtocol", Kind::Version, true),
            ("maxProtocol", Kind::Version, true),
            ("client", Kind::Object, true),
            ("caps", Kind::Texts, false),
            ("commands", Kind::Texts, false),
            ("role", Kind::Text, false),
            ("scopes", Kind::Texts, false),
            ("device", Kind::Object, false),
            ("auth", Kind::Object, false),
            ("pathEnv", Kind::Text, false),
            ("locale", Kind::Text, false),
            ("userAgent", Kind::Text, false),
        ],
    ),
    (
        "client",
        &[
            ("id", Kind::Text, true),
            ("version", Kind::Text, true),
            ("platform", Kind::Text, true),
            ("mode", Kind::Text, true),
            ("displayName", Kind::Text, false),
            ("deviceFamily", Kind::Text, false),
            ("modelIdentifier", Kind::Text, false),
            ("instanceId", Kind::Text, false),
        ],
    ),
    (
        "device",
        &[
            ("id", Kind::Text, true),
            ("publicKey", Kind::Text, true),
            ("signature", Kind::Text, true),
            ("signedAt", Kind::Millis, true),
            ("nonce", Kind::Text, false),
        ],
    ),
    (
        "auth",
        &[
            ("token", Kind::Text, false),
            ("password", Kind::Text, false),
            ("deviceToken", Kind::Text, false),
            ("bootstrapToken", Kind::Text, false),
        ],
    ),
];

/// The version that the client's range allows, as far as one was sent.
pub(crate) fn version_of(params: &Value) -> Protocol {
    let bound = |name: &str| {
        params
            .get(name)
            .and_then(Value::as_u64)
            .and_then(|number| u32::try_from(number).ok())
    };
    bound("minProtocol")
        .zip(bound("maxProtocol"))
        .and_then(|(min, max)| Protocol::pick(min, max))
        .unwrap_or(Protocol::V4)
}

/// Reads the parameters.
///
/// # Errors
/// What is wrong: "at /client/id: …".
pub(crate) fn read(params: Value, version: Protocol) -> Result<ConnectParams, String> {
    let Value::Object(root) = &params else {
        return Err("must be object".into());
    };
    for (at, rules) in RULES {
        let object = if at.is_empty() {
            root
        } else {
            match root.get(*at) {
                Some(Value::Object(object)) => object,
                _ => continue,
            }
        };
        check(at, object, rules)?;
    }
    let text = |path: [&str; 2]| params.get(path[0]).and_then(|v| v.get(path[1])?.as_str());
    for (member, allowed) in [("id", &CLIENT_IDS[..]), ("mode", &CLIENT_MODES[..])] {
        if !text(["client", member]).is_some_and(|value| allowed.contains(&value)) {
            return Err(match version {
                Protocol::V4 => {
                    format!("at /client/{member}: must be equal to one of the allowed values")
                }
                Protocol::V3 => format!(
                    "at /client/{member}: must be equal to constant; at /client/{member}: must match a schema in anyOf"
                ),
            });
        }
    }
    let has_device = root.get("device").is_some_and(Value::is_object);
    if version == Protocol::V4 && has_device && text(["device", "nonce"]).is_none() {
        return Err("at /device: must have required property 'nonce'".into());
    }
    serde_json::from_value(params).map_err(|error| error.to_string())
}

fn check(at: &str, object: &Map<String, Value>, rules: &[Rule]) -> Result<(), String> {
    let place = if at.is_empty() {
        String::new()
    } else {
        format!("at /{at}: ")
    };
    for (name, kind, is_required) in rules {
        let wrong = |what: &str| {
            let parent = if at.is_empty() { "" } else { "/" };
            Err(format!("at {parent}{at}/{name}: must be {what}"))
        };
        match (object.get(*name), kind) {
            (None, _) if *is_required => {
                return Err(format!("{place}must have required property '{name}'"));
            }
            (None, _) => {}
            (Some(value), Kind::Text) if !value.is_string() => return wrong("string"),
            (Some(value), Kind::Millis) if value.as_i64().is_none() => return wrong("integer"),
            (Some(value), Kind::Version)
                if value
                    .as_u64()
                    .is_none_or(|v| v == 0 || v > u64::from(u32::MAX)) =>
            {
                return wrong("integer >= 1");
            }
            (Some(value), Kind::Object) if !value.is_object() => return wrong("object"),
            (Some(value), Kind::Texts)
                if value
                    .as_array()
                    .is_none_or(|list| !list.iter().all(Value::is_string)) =>
            {
                return wrong("array of strings");
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn good() -> Value {
        json!({
            "minProtocol": 4, "maxProtocol": 4, "somethingNew": {"a": 1},
            "client": {"id": "cli", "version": "1", "platform": "linux", "mode": "cli", "newer": 1},
            "device": {"id": "x", "publicKey": "x", "signature": "x", "signedAt": 1, "nonce": "n"},
            "auth": {"token": "t", "approvalRuntimeToken": "x"},
        })
    }

    fn refused(path: &str, value: Value) -> String {
        let mut params = good();
        let (parent, name) = path.rsplit_once('/').unwrap();
        let object = params.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        if value.is_null() {
            object.remove(name);
        } else {
            object.insert(name.to_owned(), value);
        }
        let version = version_of(&params);
        read(params, version).unwrap_err()
    }

    #[test]
    fn unknown_members_are_ignored_at_every_level() {
        assert_eq!(read(good(), Protocol::V4).unwrap().client.id, "cli");
    }

    #[test]
    fn what_is_missing_or_wrong_is_named_as_the_official_gateways_do() {
        for (path, value, message) in [
            (
                "/client",
                Value::Null,
                "must have required property 'client'",
            ),
            (
                "/client/id",
                json!("nope"),
                "at /client/id: must be equal to one of the allowed values",
            ),
            (
                "/client/mode",
                json!("operator"),
                "at /client/mode: must be equal to one of the allowed values",
            ),
            (
                "/device/nonce",
                Value::Null,
                "at /device: must have required property 'nonce'",
            ),
            (
                "/auth/token",
                json!(["t"]),
                "at /auth/token: must be string",
            ),
            (
                "/scopes",
                json!("operator.admin"),
                "at /scopes: must be array of strings",
            ),
            (
                "/minProtocol",
                json!(0),
                "at /minProtocol: must be integer >= 1",
            ),
        ] {
            assert_eq!(refused(path, value), message, "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_json_is_params_or_an_error(text in "\\PC{0,120}") {
            let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
            let version = version_of(&value);
            let _ = read(value, version);
        }
    }
}
