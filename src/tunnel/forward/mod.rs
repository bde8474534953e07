//! A local end for other programs: bound once and held across reconnects, many connections at a time.
//!
//! Binding and serving are two steps, so that a taken port is reported before anything connects.

mod connection;
mod counts;
mod gate;
mod holder;
mod listener;
mod pump;
mod ring;
#[cfg(unix)]
mod socket_file;
mod socks;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::spec::{LocalEnd, RemoteEnd};
use super::status::{TunnelStatus, TunnelView};
use super::supervisor::Tunnel;

pub use counts::Counts;
pub use holder::{Holder, holder_of};
pub use listener::{BindError, BindRules};

use connection::{Towards, Way};
use counts::Counters;
use listener::Listener;

/// Connections at a time; more are refused at once.
const MAX_CONNECTIONS: usize = 2048;
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
    /// When it is taken, with the holder and a free port near it, when other machines could reach it, or
    /// the system says no.
    pub fn bind(local: &LocalEnd) -> Result<Self, BindError> {
        Self::bind_by(local, BindRules::default())
    }

    /// Binds an end by these rules.
    ///
    /// # Errors
    /// As [`Forward::bind`].
    pub fn bind_by(local: &LocalEnd, rules: BindRules) -> Result<Self, BindError> {
        let (listener, local) = listener::bind(local, rules)?;
        Ok(Self {
            listener,
            local,
            anybody: rules.anybody,
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
        self.serve_towards(tunnel, Towards::Found(remote)).await;
    }

    /// As [`Forward::serve`], to wherever each program asks for by SOCKS 4, 4a or 5.
    pub async fn serve_socks(&self, tunnel: &Tunnel) {
        self.serve_towards(tunnel, Towards::Asked).await;
    }

    async fn serve_towards(&self, tunnel: &Tunnel, towards: Towards) {
        let _serving = tunnel.serving();
        let way = Arc::new(Way::new(tunnel.clone(), towards));
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
                        let (way, mark) = (way.clone(), self.counters.came());
                        connections.spawn(connection::serve(local, self.anybody, way, mark));
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
