//! `config.*`: the gateway's configuration; every secret in it is replaced on its way out.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::NoParams;
use crate::protocol::Protocol;
use crate::protocol::method::methods;
use crate::protocol::scope::{Needs, Scope};

methods! {
    /// The configuration, secrets redacted, also inside `raw`.
    ConfigGet = "config.get", |_, _| Needs::Operator(Scope::Read), NoParams => ConfigGetReply;
    /// The keys, as JSON Schema.
    ConfigSchema = "config.schema", |version, _| Needs::Operator(match version {
        Protocol::V3 => Scope::Admin,
        Protocol::V4 => Scope::Read,
    }), Value => Value;
    /// Writes another text.
    ConfigSet = "config.set", |_, _| Needs::Operator(Scope::Admin), ConfigWriteParams => ConfigWriteReply;
    /// Changes members of what stands there; null takes one away.
    ConfigPatch = "config.patch", |_, _| Needs::Operator(Scope::Admin), ConfigWriteParams => ConfigWriteReply;
    /// As `config.set`; what the running gateway can take over it takes over in both cases.
    ConfigApply = "config.apply", |_, _| Needs::Operator(Scope::Admin), ConfigWriteParams => ConfigWriteReply;
}

/// What stands where a secret was.
pub const REDACTED: &str = "__OPENCLAW_REDACTED__";

/// Parameters of `config.set`, `config.patch` and `config.apply`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigWriteParams {
    /// JSON5: the whole file, or what a patch changes. [`REDACTED`] keeps what is there.
    pub raw: String,
    /// The `hash` that `config.get` gave: what changed meanwhile is not overwritten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_hash: Option<String>,
}

/// Reply of `config.set`, `config.patch` and `config.apply`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigWriteReply {
    /// It is written.
    pub ok: bool,
    /// The file.
    pub path: String,
    /// What stands there now.
    pub config: Value,
    /// Of the new text.
    pub hash: String,
    /// Whether the comments that were sent stand in the file. Those of the old file are gone, unless
    /// they were sent.
    pub comments_kept: bool,
}

/// Reply of `config.get`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigGetReply {
    /// The file.
    pub path: String,
    /// Whether it is there.
    pub exists: bool,
    /// Its text, redacted; null when it cannot be redacted safely.
    pub raw: Option<String>,
    /// As read.
    pub parsed: Value,
    /// With defaults.
    pub config: Value,
    /// Whether it is in effect.
    pub valid: bool,
    /// Of the text.
    pub hash: Option<String>,
    /// What is wrong.
    pub issues: Vec<Value>,
    /// What is odd.
    pub warnings: Vec<Value>,
    /// Everything else, kept as it came.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}
