//! A local end for other programs: bound once and held across reconnects, many connections at a time.
//!
//! Binding and serving are two steps, so that a taken port is reported before anything connects.

mod counts;
mod holder;
mod listener;
mod pump;
mod ring;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::connection::ChannelStream;
use super::spec::{LocalEnd, RemoteEnd};
use super::status::{TunnelStatus, TunnelView};
use super::supervisor::Tunnel;

pub use counts::Counts;
pub use holder::Holder;
pub use listener::BindError;

use counts::{Counters, OpenMark};
use listener::{Listener, Local, Visitor};
use pump::{Limits, pump};

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
    counters: Arc<Counters>,
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
            counters: Arc::default(),
        })
    }

    /// Where it listens, with the port that the system chose.
    pub fn local(&self) -> &LocalEnd {
        &self.local
    }

    /// What went through since it was bound.
    pub fn counts(&self) -> Counts {
        self.counters.now()
    }

    /// Serves connections through `tunnel` to `remote` until the tunnel is stopped.
    ///
    /// While the tunnel is down a connection waits up to 10 s and is then closed. Dropping the call
    /// resets its connections, so that no program takes half an answer for a whole one; the listener
    /// stays bound and can be served again.
    pub async fn serve(&self, tunnel: &Tunnel, remote: &RemoteEnd) {
        let (_known, remote) = watch::channel(Some(remote.clone()));
        self.serve_found(tunnel, remote).await;
    }

    /// As [`Forward::serve`], to a far end that is not known yet or changes: a connection goes to the one
    /// that is known when it comes, and waits for it as for the tunnel.
    pub async fn serve_found(&self, tunnel: &Tunnel, remote: watch::Receiver<Option<RemoteEnd>>) {
        let _serving = tunnel.serving();
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
                        self.counters.came().refused();
                        tracing::warn!(local = %self.local, "too many connections");
                    }
                    Ok(local) => {
                        let mark = self.counters.came();
                        let (tunnel, remote) = (tunnel.clone(), remote.clone());
                        connections.spawn(serve_one(local, self.anybody, tunnel, remote, mark));
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

async fn serve_one(
    local: Local,
    anybody: bool,
    tunnel: Tunnel,
    remote: watch::Receiver<Option<RemoteEnd>>,
    mark: OpenMark,
) {
    if !anybody && let Visitor::Other(uid) = local.visitor() {
        tracing::warn!(?uid, "a connection of another user was refused");
        mark.refused();
        return;
    }
    let Some(channel) = way_through(&tunnel, remote).await else {
        mark.refused();
        return;
    };
    let limits = Limits::within(tunnel.room());
    match local {
        Local::Tcp(mut stream) => {
            let _ = stream.set_nodelay(true);
            // Whatever ends it early, this call being dropped too, is a reset: a clean end would look
            // like the whole answer to the program.
            reset_on_close(&stream, true);
            let (read, write) = stream.split();
            let (read, write) = (mark.up(read), mark.down(write));
            match pump(read, write, channel, limits).await {
                Ok(()) => reset_on_close(&stream, false),
                Err(error) => tracing::debug!(%error, "local connection ended early"),
            }
        }
        #[cfg(unix)]
        Local::Unix(mut stream) => {
            let (read, write) = stream.split();
            let (read, write) = (mark.up(read), mark.down(write));
            if let Err(error) = pump(read, write, channel, limits).await {
                tracing::debug!(%error, "local connection ended early");
            }
        }
    }
}

/// A channel to the far end, or nothing once the connection has waited long enough.
async fn way_through(
    tunnel: &Tunnel,
    mut remote: watch::Receiver<Option<RemoteEnd>>,
) -> Option<ChannelStream> {
    let until = Instant::now() + HOLD;
    let remote = match timeout_at(until, remote.wait_for(Option::is_some)).await {
        Ok(Ok(remote)) => remote.clone()?,
        Ok(Err(_)) | Err(_) => {
            tracing::debug!("no far end is known for a local connection");
            return None;
        }
    };
    let left = until.saturating_duration_since(Instant::now());
    match tunnel.open_forwarded(&remote, left).await {
        Ok(channel) => Some(channel),
        Err(error) => {
            tracing::debug!(layer = %error.layer, %error, "no way through for a local connection");
            None
        }
    }
}

/// Whether closing `stream` tells the program that something was lost.
fn reset_on_close(stream: &TcpStream, reset: bool) {
    let linger = reset.then_some(Duration::ZERO);
    let _ = socket2::SockRef::from(stream).set_linger(linger);
}
