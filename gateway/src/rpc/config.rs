//! `config.get` and `config.schema`: the configuration with every secret replaced, and its keys.

use std::path::Path;
use std::sync::LazyLock;

use clawline::config::{self, ShownValue};
use clawline::protocol::methods::config::{ConfigGet, ConfigGetReply, ConfigSchema};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Map, Value, json};
use sha2::Sha256;

use super::{Call, Failure, Table};
use crate::redact::{is_secret_name, redacted};
use crate::state::App;

/// For hashes of texts with secrets in them: whoever sees a hash cannot try guesses on it.
static HASH_KEY: LazyLock<[u8; 32]> = LazyLock::new(rand::random);

pub(crate) fn rows(table: Table) -> Table {
    table.on::<ConfigGet, _>(get).on::<ConfigSchema, _>(schema)
}

/// What names this text in `baseHash`, for one life of the process.
pub(super) fn hash(text: &str) -> String {
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(HASH_KEY.as_slice()) else {
        // Keys of every length are good.
        return String::new();
    };
    let sum = mac.chain_update(text.as_bytes()).finalize().into_bytes();
    let hex: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("hmac-sha256:v1:{hex}")
}

/// The file as it stands on the disk now; `None` when there is none.
pub(super) async fn read(path: &Path) -> std::io::Result<Option<String>> {
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || clawline::config::read_text(&path));
    match read.await.unwrap_or_else(|error| Err(error.into())) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

async fn get(app: App, call: Call<ConfigGet>) -> Result<ConfigGetReply, Failure> {
    let told = call.whereabouts(&app);
    let settings = app.settings();
    let view = &settings.config;
    let shown = |value: &Value| match app.policy.redacted_config {
        true => told.value(redacted(value)),
        false => told.value(value.clone()),
    };
    let effective = shown(&view.effective);
    let mut issues = Vec::new();
    let mut complain = |message: String| {
        issues.push(json!({"path": "", "message": told.text(&message)}));
    };
    // What the running gateway did not take over from the file, and why.
    app.reload.problems().into_iter().for_each(&mut complain);
    let text = match read(&view.path).await {
        Ok(text) => text,
        Err(error) => {
            complain(format!("cannot be read: {error}"));
            None
        }
    };
    let parsed = match text.as_deref() {
        None => json!({}),
        Some(text) => config::parse_text(text, &view.path).unwrap_or_else(|error| {
            complain(error.to_string());
            json!({})
        }),
    };
    let parsed = shown(&parsed);
    // Comments of the file could hold a secret that no key betrays: the text shown is written anew.
    let raw = serde_json::to_string_pretty(&parsed).unwrap_or_default();
    let mut more = Map::new();
    more.insert("resolved".into(), parsed.clone());
    more.insert("sourceConfig".into(), parsed.clone());
    more.insert("runtimeConfig".into(), effective.clone());
    more.insert("includedPaths".into(), json!([]));
    more.insert("legacyIssues".into(), json!([]));
    Ok(ConfigGetReply {
        path: told.path(&view.path),
        exists: text.is_some(),
        raw: Some(raw),
        parsed,
        config: effective,
        valid: issues.is_empty(),
        hash: Some(hash(text.as_deref().unwrap_or_default())),
        issues,
        warnings: Vec::new(),
        more,
    })
}

async fn schema(_: App, _: Call<ConfigSchema>) -> Result<Value, Failure> {
    let keys = config::defaults();
    let mut root = json!({"type": "object"});
    let mut hints = Map::new();
    for shown in &keys {
        place(&mut root, shown);
        let name = shown.key.rsplit('.').next().unwrap_or_default();
        if is_secret_name(name) {
            hints.insert(shown.key.clone(), json!({"sensitive": true}));
        }
    }
    root["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    Ok(json!({
        "schema": root,
        "uiHints": hints,
        "version": env!("CARGO_PKG_VERSION"),
        "generatedAt": jiff::Timestamp::now().to_string(),
    }))
}

/// Puts one key, with the type of its default, under its sections.
fn place(root: &mut Value, shown: &ShownValue) {
    let mut at = root;
    for part in shown.key.split('.') {
        at["type"] = json!("object");
        at = &mut at["properties"][part];
        if at.is_null() {
            *at = json!({});
        }
    }
    let kind = match &shown.value {
        // Nothing was said, so nothing tells the type.
        Value::Null => return,
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    at["type"] = json!(kind);
    at["default"] = shown.value.clone();
}
