//! A configuration without its secrets, and back: what a client was shown may be sent again, and each
//! placeholder in it means the value that stands there.

use clawline::protocol::methods::config::REDACTED;
use serde_json::{Value, json};

/// A key whose name holds one of these holds a secret, wherever it stands.
const SECRET_NAMES: [&str; 10] = [
    "token",
    "password",
    "passphrase",
    "secret",
    "apikey",
    "privatekey",
    "credential",
    "authorization",
    "cookie",
    "bearer",
];
/// Names under which everything is a secret: what stands there is named by whoever wrote it.
const SECRET_PLACES: [&str; 2] = ["headers", "env"];
/// Names that hold such a word and no secret.
const PLAIN_NAMES: [&str; 5] = [
    "maxtokens",
    "contexttokens",
    "tokenfile",
    "apikeyenv",
    "passwordfile",
];

/// A placeholder stands where there is nothing to keep.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{path}: {REDACTED} keeps a value that is there, and there is none; write the value itself"
)]
pub(crate) struct NothingToKeep {
    path: String,
}

/// The value with every text under a secret's name replaced.
pub(crate) fn redacted(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, member)| {
                let member = if is_secret_name(name) {
                    blanked(member)
                } else {
                    redacted(member)
                };
                (name.clone(), member)
            })
            .collect(),
        Value::Array(items) => items.iter().map(redacted).collect(),
        Value::String(text) => Value::String(without_credentials(text)),
        other => other.clone(),
    }
}

/// `https://user:password@host` without its password.
fn without_credentials(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    match authority.rsplit_once('@') {
        Some((user, _)) if user.contains(':') => {
            let (_, tail) = rest.split_at(user.len());
            format!("{scheme}://{REDACTED}{tail}")
        }
        _ => text.to_owned(),
    }
}

fn blanked(value: &Value) -> Value {
    match value {
        Value::Null | Value::Bool(_) => value.clone(),
        Value::Object(members) => members
            .iter()
            .map(|(name, member)| (name.clone(), blanked(member)))
            .collect(),
        Value::Array(items) => items.iter().map(blanked).collect(),
        Value::String(_) | Value::Number(_) => json!(REDACTED),
    }
}

pub(crate) fn is_secret_name(name: &str) -> bool {
    // `GITHUB_PAT` and `githubPat`, not `compat`.
    let last = name.len().checked_sub(3).and_then(|at| name.get(at..));
    let before = name.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let is_pat = last.is_some_and(|last| {
        last == "Pat" || (last.eq_ignore_ascii_case("pat") && before.len() + 3 == name.len())
    });
    let name: String = name
        .chars()
        .filter(|c| c.is_ascii_alphanumeric())
        .collect::<String>()
        .to_ascii_lowercase();
    !PLAIN_NAMES.contains(&name.as_str())
        && (is_pat
            || SECRET_PLACES.contains(&name.as_str())
            || SECRET_NAMES.iter().any(|word| name.contains(word)))
}

/// The value with each placeholder replaced by what `old` has at its place. An item of a list belongs
/// to the old item that looks the same without its secrets, wherever that stands: a list that was put
/// in another order does not hand a secret to its neighbour.
///
/// # Errors
/// [`NothingToKeep`], with the place.
pub(crate) fn restored(new: &Value, old: &Value) -> Result<Value, NothingToKeep> {
    restore(new, old, "")
}

fn restore(new: &Value, old: &Value, path: &str) -> Result<Value, NothingToKeep> {
    if !holds_placeholder(new) {
        return Ok(new.clone());
    }
    let below = |name: &str| match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    };
    match (new, old) {
        (Value::Object(members), old) => members
            .iter()
            .map(|(name, member)| {
                let old = old.get(name).unwrap_or(&Value::Null);
                Ok((name.clone(), restore(member, old, &below(name))?))
            })
            .collect(),
        (Value::Array(items), Value::Array(had)) => items
            .iter()
            .enumerate()
            .map(|(at, item)| {
                if !holds_placeholder(item) {
                    return Ok(item.clone());
                }
                // In a list of secrets all items look the same, wherever they stand.
                let same_place = had.get(at).filter(|old| {
                    had.len() == items.len() && (item.is_string() || blanked(old) == *item)
                });
                let kept = same_place.or_else(|| had.iter().find(|old| redacted(old) == *item));
                kept.cloned().ok_or_else(|| NothingToKeep {
                    path: below(&at.to_string()),
                })
            })
            .collect(),
        (Value::String(text), Value::String(had))
            if text == REDACTED || *text == without_credentials(had) =>
        {
            Ok(old.clone())
        }
        (Value::String(text), Value::Number(_)) if text == REDACTED => Ok(old.clone()),
        _ => Err(NothingToKeep {
            path: path.to_owned(),
        }),
    }
}

fn holds_placeholder(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains(REDACTED),
        Value::Array(items) => items.iter().any(holds_placeholder),
        Value::Object(members) => members.values().any(holds_placeholder),
        _ => false,
    }
}

/// Changes members of `into`; null takes one away (RFC 7396).
pub(crate) fn merge(into: &mut Value, patch: Value) {
    let Value::Object(members) = patch else {
        *into = patch;
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (name, member) in members {
        if member.is_null() {
            if let Some(object) = into.as_object_mut() {
                object.remove(&name);
            }
        } else {
            merge(&mut into[name], member);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_replaced_wherever_they_stand_and_nothing_else_is() {
        let config = json!({
            "gateway": {"port": 1, "auth": {"mode": "token", "token": "T0P", "password": "T0P"}},
            "models": {"providers": {"x": {"apiKey": "T0P", "apiKeyEnv": "X_KEY", "maxTokens": 5,
                "baseUrl": "https://me:T0P@host/v1"}}},
            "channels": {"telegram": {"bot_token": {"source": "env", "id": "T0P"}}},
            "hosts": [{"secretKeys": ["T0P", 5]}],
            "remote": {"token": null},
            "mcp": {"servers": {"x": {
                "headers": {"Authorization": "Bearer T0P", "X-Any": "T0P"}, "env": {"ANY": "T0P", "N": 7},
            }}},
            "env": {"vars": {"GITHUB_PAT": "T0P"}},
            "github": {"githubPat": "T0P", "pat": "T0P", "sessionCookie": "T0P", "bearer": "T0P"},
            "compat": {"payloadV1": true}, "path": "/srv",
        });
        let shown = redacted(&config);
        assert!(!shown.to_string().contains("T0P"), "{shown}");
        assert_eq!(shown["gateway"]["auth"]["token"], REDACTED);
        assert_eq!(shown["gateway"]["auth"]["mode"], "token");
        assert_eq!(shown["models"]["providers"]["x"]["apiKeyEnv"], "X_KEY");
        assert_eq!(shown["models"]["providers"]["x"]["maxTokens"], 5);
        assert_eq!(
            shown["models"]["providers"]["x"]["baseUrl"],
            format!("https://{REDACTED}@host/v1")
        );
        assert_eq!(shown["remote"]["token"], Value::Null);
        assert_eq!(shown["compat"]["payloadV1"], true);
        assert_eq!(shown["path"], "/srv");
        assert_eq!(shown["mcp"]["servers"]["x"]["env"]["N"], REDACTED);
    }

    #[test]
    fn what_was_shown_and_sent_back_is_what_stood_there() {
        let old = json!({
            "gateway": {"auth": {"token": "T0P", "password": "T1P"}},
            "models": {"providers": {"x": {"apiKey": "T2P", "baseUrl": "https://me:T3P@host/v1"}}},
            "list": [{"id": "a", "token": "TA"}, {"id": "b", "token": "TB"}],
            "secrets": ["one", "two"],
            "headers": {"Authorization": "Bearer T4P", "X-Any": ["T5P", 6]},
            "more": {"headers": [{"name": "Authorization", "value": "T6P"}, {"name": "X", "value": "T7P"}]},
            "env": {"vars": {"GITHUB_PAT": "T8P", "N": 9}},
            "port": 1,
        });
        let shown = redacted(&old);
        assert_eq!(restored(&shown, &old), Ok(old.clone()));

        let mut turned = shown.clone();
        let list = turned["list"].as_array_mut().unwrap();
        list.reverse();
        list.truncate(1);
        let kept = restored(&turned, &old).unwrap();
        assert_eq!(kept["list"], json!([{"id": "b", "token": "TB"}]));

        let mut changed = shown;
        changed["gateway"]["auth"]["token"] = json!("new");
        let kept = restored(&changed, &old).unwrap();
        assert_eq!(
            kept["gateway"]["auth"],
            json!({"token": "new", "password": "T1P"})
        );
    }

    #[test]
    fn a_placeholder_without_a_value_is_refused_and_never_written() {
        let old =
            json!({"a": {"token": null}, "list": [{"id": "a", "token": "TA"}], "url": "http://h"});
        for (new, path) in [
            (json!({"b": {"token": REDACTED}}), "b.token"),
            (json!({"a": {"token": REDACTED}}), "a.token"),
            (json!({"list": [{"id": "c", "token": REDACTED}]}), "list.0"),
            (json!({"url": format!("http://{REDACTED}@evil")}), "url"),
        ] {
            let error = restored(&new, &old).unwrap_err();
            assert_eq!(error.path, path);
        }
    }

    #[test]
    fn a_patch_changes_what_it_names_and_null_takes_away() {
        let mut value = json!({"a": {"b": 1, "c": 2}, "d": [1, 2]});
        merge(
            &mut value,
            json!({"a": {"b": null, "e": {"f": 1}}, "d": [3]}),
        );
        assert_eq!(value, json!({"a": {"c": 2, "e": {"f": 1}}, "d": [3]}));
    }
}
