//! A secret goes where it was given for. A change of the configuration that keeps a secret and sends it
//! elsewhere would hand it to whoever may change the configuration and not read it.

use serde_json::Value;

use crate::redact::{is_secret_name, redacted};

/// Names that say where something is sent, or which program gets it.
const PLACES: [&str; 4] = ["host", "kind", "command", "args"];
/// Words in such names.
const PLACE_WORDS: [&str; 2] = ["url", "endpoint"];

/// A secret was kept, and what it is sent to was not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{path}: this secret would be sent elsewhere, because {place} changes; write its value, too"
)]
pub(crate) struct MovedSecret {
    path: String,
    place: String,
}

/// Whether `new`, which came of what was `sent` and of `old`, keeps each secret for the place that it was
/// given for. A secret that was sent with its value is whoever sent it's own.
///
/// # Errors
/// [`MovedSecret`], with the first one.
pub(crate) fn check(sent: &Value, old: &Value, new: &Value) -> Result<(), MovedSecret> {
    walk(sent, old, new, "")
}

fn walk(sent: &Value, old: &Value, new: &Value, path: &str) -> Result<(), MovedSecret> {
    // Items of lists keep a secret only where nothing else of them changes.
    let (Value::Object(had), Value::Object(has)) = (old, new) else {
        return Ok(());
    };
    let names = had.keys().chain(has.keys());
    let moved = names
        .filter(|name| is_place(name))
        .find(|name| had.get(*name) != has.get(*name));
    if let Some(place) = moved
        && let Some(path) = kept(Some(sent), old, new, path, false)
    {
        return Err(MovedSecret {
            path,
            place: place.clone(),
        });
    }
    for (name, member) in has {
        let (sent, old) = (&sent[name.as_str()], &old[name.as_str()]);
        walk(sent, old, member, &below(path, name))?;
    }
    Ok(())
}

/// The path of a secret that is as it was without having been sent.
fn kept(
    sent: Option<&Value>,
    old: &Value,
    new: &Value,
    path: &str,
    is_secret: bool,
) -> Option<String> {
    if let (Value::Object(_), Value::Object(has)) = (old, new) {
        return has.iter().find_map(|(name, member)| {
            let sent = sent.and_then(|sent| sent.get(name));
            let is_secret = is_secret || is_secret_name(name);
            kept(
                sent,
                &old[name.as_str()],
                member,
                &below(path, name),
                is_secret,
            )
        });
    }
    let holds_one = is_secret || redacted(new) != *new;
    let is_something = !matches!(new, Value::Null | Value::Bool(_)) && new != "";
    let is_sent = sent == Some(new);
    (holds_one && is_something && old == new && !is_sent).then(|| path.to_owned())
}

fn is_place(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    PLACES.contains(&name.as_str()) || PLACE_WORDS.iter().any(|word| name.contains(word))
}

fn below(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    }
}

#[cfg(test)]
mod tests {
    use clawline::protocol::methods::config::REDACTED;
    use serde_json::json;

    use super::*;
    use crate::redact::{merge, restored};

    fn provider(url: &str, key: &str) -> Value {
        json!({"models": {"providers": {"x": {
            "kind": "openai", "baseUrl": url, "apiKey": key, "headers": {"X-Team": "H0"},
        }}}})
    }

    fn told(sent: &Value, new: &Value) -> Option<String> {
        let old = provider("https://here/v1", "K0");
        check(sent, &old, new).err().map(|error| error.to_string())
    }

    #[test]
    fn a_secret_that_is_kept_does_not_go_elsewhere() {
        let old = provider("https://here/v1", "K0");
        let mut sent = provider("https://there/v1", REDACTED);
        sent["models"]["providers"]["x"]["headers"]["X-Team"] = json!(REDACTED);
        let words = told(&sent, &restored(&sent, &old).unwrap()).unwrap();
        assert!(words.contains("models.providers.x."), "{words}");
        assert!(words.contains("baseUrl changes"), "{words}");
        // By a patch, which does not name it at all.
        let patch = json!({"models": {"providers": {"x": {"baseUrl": "https://there/v1"}}}});
        let mut new = old.clone();
        merge(&mut new, patch.clone());
        assert!(told(&patch, &new).is_some());
        // Nor what stands below.
        let old = json!({"mcp": {"x": {"command": "a", "env": {"T": "S0"}}}});
        let patch = json!({"mcp": {"x": {"command": "b"}}});
        let mut new = old.clone();
        merge(&mut new, patch.clone());
        let words = check(&patch, &old, &new).unwrap_err().to_string();
        assert!(words.starts_with("mcp.x.env.T: "), "{words}");
    }

    #[test]
    fn who_writes_the_secret_may_send_it_anywhere_and_other_changes_keep_it() {
        let old = provider("https://here/v1", "K0");
        let new = provider("https://there/v1", "K0");
        let whole = json!({"models": {"providers": {"x": {
            "baseUrl": "https://there/v1", "apiKey": "K0", "headers": {"X-Team": "H0"},
        }}}});
        assert_eq!(told(&whole, &new), None);
        let mut other = old.clone();
        other["models"]["providers"]["x"]["models"] = json!(["m"]);
        other["models"]["providers"]["y"] = json!({"kind": "ollama", "baseUrl": "http://l"});
        assert_eq!(told(&json!({}), &other), None);
        assert_eq!(told(&json!({}), &json!({})), None);
        let gateway =
            json!({"gateway": {"port": 1, "customBindHost": "a", "auth": {"token": "T"}}});
        let mut new = gateway.clone();
        new["gateway"]["customBindHost"] = json!("b");
        assert_eq!(check(&json!({}), &gateway, &new), Ok(()));
    }
}
