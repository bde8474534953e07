//! `config.get`: the configuration with every secret replaced.

use clawline::protocol::methods::config::{ConfigGet, ConfigGetReply, REDACTED};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{Call, Failure, Table};
use crate::state::App;

/// A key whose name holds one of these holds a secret, wherever it stands.
const SECRET_NAMES: [&str; 7] = [
    "token",
    "password",
    "passphrase",
    "secret",
    "apikey",
    "privatekey",
    "credential",
];
/// Names that hold such a word and no secret.
const PLAIN_NAMES: [&str; 5] = [
    "maxtokens",
    "contexttokens",
    "tokenfile",
    "apikeyenv",
    "passwordfile",
];

pub(crate) fn rows(table: Table) -> Table {
    table.on::<ConfigGet, _>(get)
}

async fn get(app: App, _: Call<ConfigGet>) -> Result<ConfigGetReply, Failure> {
    let settings = app.settings();
    let view = &settings.config;
    let problems = app.reload.problems();
    let parsed = redacted(view.parsed.as_ref().unwrap_or(&json!({})));
    let effective = redacted(&view.effective);
    // Comments of the file could hold a secret that no key betrays: the text shown is written anew.
    let raw = serde_json::to_string_pretty(&parsed).unwrap_or_default();
    let hash = Sha256::digest(raw.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let mut more = Map::new();
    more.insert("resolved".into(), parsed.clone());
    more.insert("legacyIssues".into(), json!([]));
    Ok(ConfigGetReply {
        path: view.path.display().to_string(),
        exists: view.parsed.is_some(),
        raw: Some(raw),
        parsed,
        config: effective,
        valid: problems.is_empty(),
        hash: Some(hash),
        issues: problems
            .iter()
            .map(|problem| json!({"path": "", "message": problem}))
            .collect(),
        warnings: Vec::new(),
        more,
    })
}

/// The value with every text under a secret's name replaced.
fn redacted(value: &Value) -> Value {
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

fn is_secret_name(name: &str) -> bool {
    let name: String = name
        .chars()
        .filter(|c| c.is_ascii_alphanumeric())
        .collect::<String>()
        .to_ascii_lowercase();
    !PLAIN_NAMES.contains(&name.as_str()) && SECRET_NAMES.iter().any(|word| name.contains(word))
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
    }
}
