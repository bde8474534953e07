//! A local end for other programs: bound once and held across reconnects, many connections at a time.
//!
//! Binding and serving are two steps, so that a taken port is reported before anything connects.

mod holder;
mod listener;
mod pump;

use std::time::Duration;

use tokio::task::JoinSet;

use super::spec::{LocalEnd, RemoteEnd};
use super::status::{TunnelStatus, TunnelView};
use super::supervisor::Tunnel;

pub use holder::Holder;
pub use listener::BindError;

use listener::{Listener, Local, Visitor};
use pump::{Limits, PumpError, pump};

/// How long a connection that was accepted waits for the tunnel.
const HOLD: Duration = Duration::from_secs(10);
/// Connections at a time; more are refused at once.
const MAX_CONNECTIONS: usize = 1024;
/// Pause after a failed accept (no descriptors left), which would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound local end. Dropping it frees the port or removes the socket.
#[derive(Debug)]
pub struct Forward {
    listener: Listener,
    local: LocalEnd,
    anybody: bool,
}

impl Forward {
    /// Binds an end that only this user's programs may use. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// When it is taken, with the holder and a free port near it, or the system says no.
    pub fn bind(local: &LocalEnd) -> Result<Self, BindError> {
        Self::bind_as(local, false)
    }

    /// Binds an end that every user of this machine may use (`--allow-other-users`).
    ///
    /// # Errors
    /// As [`Forward::bind`].
    pub fn bind_for_everybody(local: &LocalEnd) -> Result<Self, BindError> {
        Self::bind_as(local, true)
    }

    fn bind_as(local: &LocalEnd, anybody: bool) -> Result<Self, BindError> {
        let (listener, local) = listener::bind(local, anybody)?;
        Ok(Self {
            listener,
            local,
            anybody,
        })
    }

    /// Where it listens, with the port that the system chose.
    pub fn local(&self) -> &LocalEnd {
        &self.local
    }

    /// Serves connections through `tunnel` to `remote` until the tunnel is stopped.
    ///
    /// While the tunnel is down a connection waits up to 10 s and is then closed. Dropping the call
    /// closes its connections; the listener stays bound and can be served again.
    pub async fn serve(&self, tunnel: &Tunnel, remote: &RemoteEnd) {
        let mut connections = JoinSet::new();
        let mut view = tunnel.view();
        let stopped = async {
            let stopped = |view: &TunnelView| view.status == TunnelStatus::Stopped;
            drop(view.wait_for(stopped).await);
        };
        tokio::pin!(stopped);
        loop {
            tokio::select! {
                () = &mut stopped => return,
                Some(_) = connections.join_next() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok(_) if connections.len() >= MAX_CONNECTIONS => {
                        tracing::warn!(local = %self.local, "too many connections");
                    }
                    Ok(local) => {
                        let one = serve_one(local, self.anybody, tunnel.clone(), remote.clone());
                        connections.spawn(one);
                    }
                    Err(error) => {
                        tracing::warn!(local = %self.local, %error, "accept failed");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }
}

async fn serve_one(local: Local, anybody: bool, tunnel: Tunnel, remote: RemoteEnd) {
    if !anybody && let Visitor::Other(uid) = local.visitor() {
        tracing::warn!(?uid, "a connection of another user was refused");
        return;
    }
    let channel = match tunnel.open_within(&remote, HOLD).await {
        Ok(channel) => channel,
        Err(error) => {
            tracing::debug!(layer = %error.layer, %error, "no way through for a local connection");
            return;
        }
    };
    let limits = Limits::default();
    match local {
        Local::Tcp(mut stream) => {
            let _ = stream.set_nodelay(true);
            let (read, write) = stream.split();
            let result = pump(read, write, channel, limits).await;
            if let Err(error) = result {
                // A clean end would look like the whole answer to the program.
                if !matches!(error, PumpError::Local(_)) {
                    let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                }
                tracing::debug!(%error, "local connection ended early");
            }
        }
        #[cfg(unix)]
        Local::Unix(mut stream) => {
            let (read, write) = stream.split();
            if let Err(error) = pump(read, write, channel, limits).await {
                tracing::debug!(%error, "local connection ended early");
            }
        }
    }
}
