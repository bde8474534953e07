//! What the handles of a tunnel and its owner share: the published view, the live connection, and
//! what is wanted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::layer::{Layer, LayerError, Retry, RowState};
use crate::tunnel::bulk::{Bulk, Room};
use crate::tunnel::connection::Connection;
use crate::tunnel::spec::RemoteEnd;
use crate::tunnel::status::{TunnelStatus, TunnelView};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) paused: bool,
    /// Rises with every request to connect now.
    pub(super) kick: u64,
}

pub(super) struct Shared {
    pub(super) target: String,
    pub(super) server: String,
    pub(super) view: watch::Sender<TunnelView>,
    pub(super) link: watch::Sender<Option<Arc<Connection>>>,
    pub(super) wanted: watch::Sender<Wanted>,
    /// The last kick that the owner has acted on.
    pub(super) handled: AtomicU64,
    /// The number of the attempt under way; news of earlier ones is dropped.
    pub(super) attempt: AtomicU64,
    pub(super) rtt: Mutex<Option<Duration>>,
    /// The roll call: the number asked last, and the number the owner has answered.
    pub(super) asked: watch::Sender<u64>,
    pub(super) answered: watch::Sender<u64>,
    pub(super) stop: CancellationToken,
    /// What the forwards may keep for programs that do not read.
    pub(super) room: Room,
    /// Connections of their own for forwards, when they may have some.
    pub(super) bulk: Option<Bulk>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tunnel")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn not_running(&self, how: &str) -> LayerError {
        LayerError::new(Layer::Ssh, format!("the tunnel to {} {how}", self.target))
            .retry(Retry::Attention)
    }

    /// Why waiting would not help; `None` when it may come up by itself.
    pub(super) fn why_not(&self, status: &TunnelStatus) -> Option<LayerError> {
        if self.handled.load(Ordering::Acquire) < self.wanted.borrow().kick {
            return None;
        }
        match status {
            TunnelStatus::Attention { why } | TunnelStatus::Failed { why } => Some(why.clone()),
            TunnelStatus::Stopped => Some(self.not_running("has stopped")),
            TunnelStatus::Paused => Some(self.not_running("is paused")),
            TunnelStatus::Connecting { .. }
            | TunnelStatus::Up { .. }
            | TunnelStatus::Waiting { .. } => None,
        }
    }

    /// The error when a deadline passes before it came up.
    pub(super) fn still_down(&self) -> LayerError {
        match &self.view.borrow().status {
            TunnelStatus::Waiting { why, .. }
            | TunnelStatus::Attention { why }
            | TunnelStatus::Failed { why } => why.clone(),
            TunnelStatus::Connecting { layer, .. } => {
                LayerError::new(*layer, format!("{} did not come up in time", self.target))
            }
            _ => self.not_running("did not come up in time"),
        }
    }

    pub(super) fn rtt(&self) -> Option<Duration> {
        *self.rtt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_rtt(&self, rtt: Option<Duration>) {
        *self.rtt.lock().unwrap_or_else(PoisonError::into_inner) = rtt;
    }

    /// Marks the rows of forward and port by what an open came to. Without `remote` it was to where a
    /// program asked for: that nothing listens there says nothing about this tunnel.
    pub(super) fn note_open(
        &self,
        generation: u64,
        remote: Option<&RemoteEnd>,
        took: Duration,
        error: Option<&LayerError>,
    ) {
        self.view.send_if_modified(|view| {
            if view.generation != generation || !view.status.is_up() {
                return false;
            }
            let before = view.rows.clone();
            let port_failed = error.is_some_and(|error| error.layer == Layer::Port);
            if error.is_none() || port_failed {
                let detail = match remote {
                    Some(remote) => format!("{remote} over one channel, no local port"),
                    None => "wherever programs ask for, by SOCKS".into(),
                };
                let known = view.rows.row(Layer::Forward);
                if known.is_none_or(|row| row.state != RowState::Ok || row.detail != detail) {
                    view.rows
                        .set(Layer::Forward, RowState::Ok, Some(took), &detail);
                }
            }
            match (error, remote) {
                (Some(error), None) if error.layer == Layer::Port => {}
                (None, None) => {}
                (None, Some(remote)) => {
                    let known = view.rows.row(Layer::Port);
                    if known.is_none_or(|row| row.state != RowState::Ok) {
                        let detail = format!("something listens on {remote}");
                        view.rows
                            .set(Layer::Port, RowState::Ok, Some(took), &detail);
                    }
                }
                (Some(error), _) if matches!(error.layer, Layer::Forward | Layer::Port) => {
                    view.rows.fail(error);
                }
                (Some(_), _) => {}
            }
            view.rows != before
        });
    }
}
