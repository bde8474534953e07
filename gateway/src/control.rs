//! The control socket: how commands on the host reach the running daemon without a login.
//!
//! It lies in the owner-only state directory, is owner-only itself, and the other end must be the
//! daemon's own user. One JSON line asks, one answers.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clawline::owner_file;
use clawline::protocol::scope::{Role, Scopes};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::auth;
use crate::nodes::{NodeError, Nodes};
use crate::pairing::{Pairing, PairingError};
use crate::settings::AuthMode;
use crate::state::App;

/// The socket inside the state directory.
const FILE: &str = "control.sock";
/// Longest request, in bytes.
const MAX_REQUEST: u64 = 64 * 1024;
/// How long one exchange may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);
/// Exchanges at the same time; further ones wait.
const MAX_AT_ONCE: usize = 8;

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all_fields = "camelCase")]
pub(crate) enum Request {
    /// Requests that wait, and paired devices.
    #[serde(rename = "devices-list")]
    List,
    /// Lets a device in.
    #[serde(rename = "devices-approve")]
    Approve { request_id: String },
    /// Turns a request down.
    #[serde(rename = "devices-reject")]
    Reject { request_id: String },
    /// Forgets a device.
    #[serde(rename = "devices-remove")]
    Remove { device_id: String },
    /// Node requests that wait, and approved nodes.
    #[serde(rename = "nodes-list")]
    NodesList,
    /// Approves what a node asks for.
    #[serde(rename = "nodes-approve")]
    NodesApprove { request_id: String },
    /// Turns a node's request down.
    #[serde(rename = "nodes-reject")]
    NodesReject { request_id: String },
    /// Forgets a node.
    #[serde(rename = "nodes-remove")]
    NodesRemove { node_id: String },
    /// Gives a device a new token; the old one is void.
    #[serde(rename = "devices-rotate")]
    Rotate { device_id: String, role: Role },
    /// Takes a device's role away until it is approved again.
    #[serde(rename = "devices-revoke")]
    Revoke { device_id: String, role: Role },
    /// Makes a one-time code for a device.
    #[serde(rename = "setup-code")]
    SetupCode { role: Role, scopes: Vec<String> },
    /// Makes a new shared token; the old one is void.
    #[serde(rename = "token-rotate")]
    RotateToken,
    /// How the daemon is.
    #[serde(rename = "status")]
    Status,
}

/// The answer: one of both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Answer {
    Ok(Value),
    Error(String),
}

/// The socket of a state directory.
pub(crate) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE)
}

/// Does what was asked; the daemon and the offline command share it.
pub(crate) async fn carry_out(
    pairing: &Pairing,
    nodes: &Nodes,
    request: Request,
) -> Result<Value, ControlError> {
    Ok(match request {
        Request::List => {
            let (pending, paired) = pairing.list(None).await?;
            json!({"pending": pending, "paired": paired})
        }
        Request::Approve { request_id } => pairing.approve(&request_id, None).await?,
        Request::Reject { request_id } => pairing.reject(&request_id, None).await?,
        Request::Remove { device_id } => {
            let change = pairing.remove(&device_id, None);
            nodes.between_commands(change).await?
        }
        Request::NodesList => json!(nodes.pairings(None).await?),
        Request::NodesApprove { request_id } => json!(nodes.approve(&request_id, None).await?),
        Request::NodesReject { request_id } => json!(nodes.reject(&request_id, None).await?),
        Request::NodesRemove { node_id } => json!(nodes.remove(&node_id, None, None).await?),
        Request::Rotate { device_id, role } => {
            let change = pairing.rotate(&device_id, role, None, None);
            let (held, _) = nodes.between_commands(change).await?;
            json!({"deviceId": device_id, "role": role.as_str(), "rotatedAtMs": held.rotated_at})
        }
        Request::Revoke { device_id, role } => {
            let change = pairing.revoke(&device_id, role, None);
            let held = nodes.between_commands(change).await?;
            json!({"deviceId": device_id, "role": role.as_str(), "revokedAtMs": held.revoked_at})
        }
        Request::SetupCode { role, scopes } => {
            let made = pairing.make_code(role, &Scopes::from_wire(&scopes)).await?;
            json!({"code": made.code.expose(), "expiresAtMs": made.expires_at})
        }
        // Only a running daemon has these; it answers before this.
        Request::Status | Request::RotateToken => Value::Null,
    })
}

/// What could not be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    #[error(transparent)]
    Device(#[from] PairingError),
    #[error(transparent)]
    Node(#[from] NodeError),
}

/// Opens the socket. Whoever holds the lock of the state directory may replace an old one.
pub(crate) fn bind(state_dir: &Path) -> std::io::Result<UnixListener> {
    let path = path(state_dir);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers until the daemon stops.
pub(crate) async fn serve(app: App, listener: UnixListener) {
    let mut exchanges = JoinSet::new();
    loop {
        let is_free = exchanges.len() < MAX_AT_ONCE;
        tokio::select! {
            () = app.drain.cancelled() => break,
            _ = exchanges.join_next(), if !exchanges.is_empty() => {}
            accepted = listener.accept(), if is_free => match accepted {
                Ok((stream, _)) => {
                    exchanges.spawn(exchange(app.clone(), stream));
                }
                Err(error) => {
                    tracing::warn!(%error, "a control connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    let _ = std::fs::remove_file(path(&app.settings().state_dir));
}

async fn exchange(app: App, stream: UnixStream) {
    let is_own = stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == nix::unistd::geteuid().as_raw());
    if !is_own {
        tracing::warn!("a control connection of another user was refused");
        return;
    }
    let _ = timeout(DEADLINE, answer(&app, stream)).await;
}

fn status(app: &App) -> Value {
    let settings = app.settings();
    serde_json::json!({
        "pid": std::process::id(),
        "version": env!("CARGO_PKG_VERSION"),
        "port": app.boot.port,
        "startedAtMs": app.boot.started_at,
        "uptimeMs": app.uptime_ms(),
        "connections": app.registry.count(),
        "runs": app.runs.counts().0,
        "authMode": settings.auth.mode.as_str(),
        "configPath": settings.config.path,
        "configReload": app.reload.report(),
    })
}

/// A new shared token into its file and into force.
fn rotate_token(app: &App) -> Result<(), String> {
    let _turn = app.live.turn();
    let settings = app.settings();
    if settings.auth.mode != AuthMode::Token {
        let mode = settings.auth.mode.as_str();
        return Err(format!(
            "the gateway has no token: gateway.auth.mode is {mode}"
        ));
    }
    if settings.auth.token.is_some() {
        return Err("the token comes from the configuration, the environment or --token-file; change it there".to_owned());
    }
    let (path, token) = (settings.token_file(), auth::fresh());
    owner_file::replace(&path, &token).map_err(|error| format!("{}: {error}", path.display()))?;
    app.replace_secret(token);
    Ok(())
}

async fn answer(app: &App, stream: UnixStream) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    BufReader::new(reader.take(MAX_REQUEST))
        .read_line(&mut line)
        .await?;
    let answer = match serde_json::from_str::<Request>(&line) {
        Ok(Request::Status) => Answer::Ok(status(app)),
        Ok(Request::RotateToken) => {
            // The file system may be slow; other callers must not wait for it.
            let app = app.clone();
            match tokio::task::spawn_blocking(move || rotate_token(&app)).await {
                Ok(Ok(())) => Answer::Ok(Value::Null),
                Ok(Err(why)) => Answer::Error(why),
                Err(error) => Answer::Error(error.to_string()),
            }
        }
        Ok(request) => match carry_out(&app.pairing, &app.nodes, request).await {
            Ok(value) => Answer::Ok(value),
            Err(error) => Answer::Error(error.to_string()),
        },
        Err(error) => Answer::Error(format!("this daemon does not understand: {error}")),
    };
    let mut text = serde_json::to_string(&answer).unwrap_or_default();
    text.push('\n');
    writer.write_all(text.as_bytes()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_read_as_they_are_written() {
        let request = Request::Approve {
            request_id: "r".into(),
        };
        let text = serde_json::to_string(&request).unwrap();
        assert_eq!(text, r#"{"do":"devices-approve","requestId":"r"}"#);
        assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), request);
    }
}
