//! `config.get`: the gateway's configuration with every secret replaced.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::NoParams;
use crate::protocol::method::methods;
use crate::protocol::scope::{Needs, Scope};

methods! {
    /// The configuration, secrets redacted, also inside `raw`.
    ConfigGet = "config.get", |_, _| Needs::Operator(Scope::Read), NoParams => ConfigGetReply;
}

/// What stands where a secret was.
pub const REDACTED: &str = "__OPENCLAW_REDACTED__";

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
