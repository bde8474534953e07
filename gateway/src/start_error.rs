//! Why the daemon does not start.

use std::path::PathBuf;

use crate::auth::{SecretFileError, WeakSecret};
use crate::lock::LockError;
use crate::runs::{ConfigProblem, RunError};
use crate::server::ListenError;
use crate::state_dir::StateDirError;
use crate::store::StoreError;
use crate::tailscale::TailscaleError;
use crate::tls::TlsError;

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state directory cannot be made.
    #[error("{}: {source}", path.display())]
    StateDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The state directory is not ours alone.
    #[error(transparent)]
    UnsafeState(#[from] StateDirError),
    /// Another daemon runs here.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The token file is no good.
    #[error(transparent)]
    Secret(#[from] SecretFileError),
    /// Mode `password` without one.
    #[error(
        "gateway.auth.mode is password, but there is none; set gateway.auth.password or use --password"
    )]
    NoPassword,
    /// Tailscale publishes what is on loopback.
    #[error(
        "gateway.tailscale.mode {mode} needs gateway.bind \"loopback\"; set it, or set gateway.tailscale.mode to \"off\""
    )]
    PublishedBeyondLoopback {
        /// Serve or funnel.
        mode: &'static str,
    },
    /// The internet must not guess at a token for ever.
    #[error(
        "gateway.tailscale.mode funnel needs gateway.auth.mode \"password\": everybody on the internet can try; set it with gateway.auth.password or CLAWLINE_GATEWAY_PASSWORD"
    )]
    FunnelWithoutPassword,
    /// Published, and nothing asked for.
    #[error(
        "gateway.auth.mode is none, and Tailscale would publish the gateway: anybody there could come in; set gateway.auth.mode to \"token\""
    )]
    PublishedToAll,
    /// Tailscale does not give what the settings need.
    #[error(transparent)]
    Tailscale(#[from] TailscaleError),
    /// There is no TLS though it was asked for.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Mode `none` where others than this machine can connect.
    #[error(
        "gateway.auth.mode is none, and gateway.bind is not loopback: anybody could come in; set gateway.bind to \"loopback\", or gateway.auth.mode to \"token\""
    )]
    OpenToAll,
    /// A secret that everybody guesses.
    #[error(
        "{key} {why}; make a good one with: head -c 32 /dev/urandom | base64{}",
        if key.contains("oken") { ", or leave it out and one is made" } else { "" }
    )]
    WeakSecret {
        /// Where it is configured.
        key: &'static str,
        /// What is wrong with it.
        why: WeakSecret,
    },
    /// Two secrets are the same text.
    #[error("{0} and {1} are the same; give each its own")]
    SameSecret(&'static str, &'static str),
    /// Mode `trusted-proxy`, and something that would let others in beside the proxy, or nobody.
    #[error("gateway.auth.mode is trusted-proxy, but {0}")]
    TrustedProxy(&'static str),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Models or agents are configured in a way that cannot work.
    #[error("{}", .0.iter().map(|p| format!("{}: {}", p.key, p.text)).collect::<Vec<_>>().join("\n"))]
    Config(Vec<ConfigProblem>),
    /// Unfinished runs cannot be taken up again.
    #[error(transparent)]
    Runs(#[from] RunError),
    /// The port cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
}
