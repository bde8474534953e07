//! The handshake's content: challenge, connect parameters, hello (PROTOCOL.md §2).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Protocol;
use super::frame::StateVersion;

/// Event name of the gateway's first frame.
pub const CHALLENGE: &str = "connect.challenge";
/// Method name of the client's first frame.
pub const CONNECT: &str = "connect";

/// The gateway's first frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// To be signed; never blank.
    pub nonce: String,
    /// The gateway's time in ms; clients sign this one, so that a wrong clock does not matter.
    pub ts: i64,
    /// Version 4 only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
}

/// Parameters of `connect`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectParams {
    /// Lowest protocol version the client speaks.
    pub min_protocol: u32,
    /// Highest protocol version the client speaks.
    pub max_protocol: u32,
    /// Who it is.
    pub client: ClientInfo,
    /// What it can take.
    #[serde(default)]
    pub caps: Vec<String>,
    /// Node role: the commands it offers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commands: Option<Vec<String>>,
    /// Node role: permissions of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Value>,
    /// Node role: PATH of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_env: Option<String>,
    /// `operator` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Absent behaves as empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// Proof of the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceProof>,
    /// Credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<AuthParams>,
    /// Language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
}

/// `connect.client`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientInfo {
    /// One of [`CLIENT_IDS`].
    pub id: String,
    /// One of [`CLIENT_MODES`].
    pub mode: String,
    /// Free text.
    pub version: String,
    /// `linux`, `darwin`, `win32`; pinned at pairing.
    pub platform: String,
    /// Shown in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// `Linux`, `Mac`, `Windows`; pinned at pairing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_family: Option<String>,
    /// Hardware model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_identifier: Option<String>,
    /// One per process; the key of presence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
}

/// The `client.id` values that exist (PROTOCOL.md §2.3), both versions together.
pub const CLIENT_IDS: [&str; 17] = [
    "cli",
    "gateway-client",
    "openclaw-tui",
    "node-host",
    "openclaw-control-ui",
    "webchat",
    "webchat-ui",
    "openclaw-macos",
    "openclaw-ios",
    "openclaw-android",
    "openclaw-linux",
    "openclaw-watchos",
    "openclaw-browser-copilot",
    "openclaw-worker",
    "openclaw-probe",
    "fingerprint",
    "test",
];

/// The `client.mode` values that exist.
pub const CLIENT_MODES: [&str; 8] = [
    "webchat", "cli", "ui", "backend", "node", "probe", "test", "worker",
];

/// `connect.device`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceProof {
    /// Lower-case hex SHA-256 of the public key.
    pub id: String,
    /// base64url of the 32 bytes.
    pub public_key: String,
    /// base64url of the 64 bytes.
    pub signature: String,
    /// ms since the epoch.
    pub signed_at: i64,
    /// The challenge's nonce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
}

/// `connect.auth`. `Debug` shows which members are there, never what they hold.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthParams {
    /// Shared token, or a device token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Shared password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Device token (version 4 only; version 3 refuses the member).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_token: Option<String>,
    /// One-time setup code (version 4 only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap_token: Option<String>,
}

impl std::fmt::Debug for AuthParams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthParams")
            .field("token", &self.token.is_some())
            .field("password", &self.password.is_some())
            .field("device_token", &self.device_token.is_some())
            .field("bootstrap_token", &self.bootstrap_token.is_some())
            .finish()
    }
}

/// The reply to a good `connect`. Only `protocol` is needed; official clients live with that alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HelloOk {
    /// Always `hello-ok`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The version of this connection.
    pub protocol: Protocol,
    /// Who answers.
    #[serde(default)]
    pub server: ServerInfo,
    /// What it can do.
    #[serde(default)]
    pub features: Features,
    /// The state at this moment.
    #[serde(default)]
    pub snapshot: Snapshot,
    /// What we were granted; absent in version 3 without a device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<HelloAuth>,
    /// Limits.
    #[serde(default)]
    pub policy: Policy,
}

impl HelloOk {
    /// Whether the gateway announced `method`; an empty list says nothing, so it counts as yes.
    pub fn offers(&self, method: &str) -> bool {
        self.features.methods.is_empty() || self.features.methods.iter().any(|m| m == method)
    }

    /// Whether the gateway announced a capability.
    pub fn is_capable(&self, capability: &str) -> bool {
        self.features.capabilities.iter().any(|c| c == capability)
    }
}

/// Capability of our gateway: it is ours.
pub const CAPABILITY_CLAWLINE: &str = "clawline-gateway";
/// Capability of our gateway: an acknowledged message is on disk.
pub const CAPABILITY_DURABLE_ACK: &str = "clawline-durable-ack";

/// `hello.server`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServerInfo {
    /// Release of the gateway.
    pub version: String,
    /// Exact build.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_id: Option<String>,
    /// One per start of the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// Host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// This connection.
    pub conn_id: String,
}

/// `hello.features`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Features {
    /// Methods that can be called.
    pub methods: Vec<String>,
    /// Events that may come.
    pub events: Vec<String>,
    /// Other abilities.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
}

/// `hello.snapshot`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Snapshot {
    /// Who is there.
    pub presence: Vec<Value>,
    /// As the reply of `health`.
    pub health: Value,
    /// Counters.
    pub state_version: StateVersion,
    /// How long the gateway runs.
    pub uptime_ms: u64,
    /// Where a chat starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_defaults: Option<SessionDefaults>,
    /// Config file; with admin scope only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_path: Option<String>,
    /// State directory; with admin scope only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_dir: Option<String>,
    /// `token`, `password`, …; with admin scope only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_mode: Option<String>,
}

/// `hello.snapshot.sessionDefaults`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionDefaults {
    /// The agent that answers when none is named.
    pub default_agent_id: String,
    /// `main`.
    pub main_key: String,
    /// `agent:main:main`.
    pub main_session_key: String,
    /// `per-sender` or `global`.
    pub scope: String,
    /// Whether a model is configured (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_configured: Option<bool>,
}

/// `hello.auth`.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HelloAuth {
    /// How we got in (version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// For later connects without the shared secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_token: Option<String>,
    /// Our role.
    pub role: String,
    /// Version 4: the scopes of this connection. Version 3: those stored with the token.
    pub scopes: Vec<String>,
    /// When the token was issued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_at_ms: Option<i64>,
}

impl std::fmt::Debug for HelloAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HelloAuth")
            .field("method", &self.method)
            .field("device_token", &self.device_token.is_some())
            .field("role", &self.role)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

/// `hello.policy`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Policy {
    /// Largest message in bytes.
    pub max_payload: u64,
    /// Largest backlog in bytes.
    pub max_buffered_bytes: u64,
    /// Time between ticks.
    pub tick_interval_ms: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max_payload: super::limits::MAX_MESSAGE as u64,
            max_buffered_bytes: super::limits::MAX_BUFFERED as u64,
            tick_interval_ms: 30_000,
        }
    }
}

/// The names Node uses for the platform we run on, and the device family beside it.
pub fn our_platform() -> (&'static str, &'static str) {
    match std::env::consts::OS {
        "macos" => ("darwin", "Mac"),
        "windows" => ("win32", "Windows"),
        _ => ("linux", "Linux"),
    }
}
