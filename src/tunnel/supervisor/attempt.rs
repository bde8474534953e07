//! One attempt to connect, as the published view shows it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::time::Instant;

use crate::layer::{Layer, LayerRows, RowState};
use crate::tunnel::connection::{Report, RowNews};
use crate::tunnel::status::TunnelStatus;

use super::shared::Shared;

/// Takes the news of one attempt; news that come after the next attempt began are dropped.
///
/// A quiet attempt is one of the many that follow each other while a server refuses. It is shown only
/// when it gets further or takes long, so that the view does not flicker four times a second. One that
/// runs beside a connection is not shown until it takes that connection's place.
pub(super) struct Attempt {
    shared: Weak<Shared>,
    /// Zero while it runs beside a connection.
    number: AtomicU64,
    try_number: u32,
    so_far: Mutex<SoFar>,
}

struct SoFar {
    /// The news while it is not shown.
    held: Option<Vec<RowNews>>,
    layer: Layer,
    /// When its first TCP connection was made.
    connected: Option<Instant>,
}

impl Attempt {
    /// Begins an attempt, the `try_number`th since the tunnel was last up.
    pub(super) fn begin(
        shared: &Arc<Shared>,
        number: u64,
        try_number: u32,
        quiet: bool,
    ) -> Arc<Self> {
        shared.attempt.store(number, Ordering::Release);
        let attempt = Self::new(shared, number, try_number);
        if !quiet {
            attempt.show();
        }
        attempt
    }

    /// Begins one beside a connection that is up.
    pub(super) fn beside(shared: &Arc<Shared>) -> Arc<Self> {
        Self::new(shared, 0, 1)
    }

    fn new(shared: &Arc<Shared>, number: u64, try_number: u32) -> Arc<Self> {
        Arc::new(Self {
            shared: Arc::downgrade(shared),
            number: AtomicU64::new(number),
            try_number,
            so_far: Mutex::new(SoFar {
                held: Some(Vec::new()),
                layer: Layer::Dns,
                connected: None,
            }),
        })
    }

    /// Where the connection reports to.
    pub(super) fn report(self: &Arc<Self>) -> Report {
        let attempt = self.clone();
        Report::new(move |news| attempt.take(news))
    }

    /// How far it has come.
    pub(super) fn layer(&self) -> Layer {
        self.so_far().layer
    }

    /// When its first TCP connection was made.
    pub(super) fn connected(&self) -> Option<Instant> {
        self.so_far().connected
    }

    /// Shows the attempt, with the news so far.
    pub(super) fn show(&self) {
        let Some(held) = self.so_far().held.take() else {
            return;
        };
        if let Some(shared) = self.shared.upgrade() {
            shared.view.send_if_modified(|view| {
                if !self.is_current(&shared) {
                    return false;
                }
                view.rows.reset_from(Layer::Dns);
                view.status = TunnelStatus::Connecting {
                    layer: Layer::Dns,
                    attempt: self.try_number,
                };
                true
            });
        }
        for news in held {
            self.publish(news);
        }
    }

    /// Takes the place of the connection beside which it ran: its news are the rows now.
    pub(super) fn adopt(&self, number: u64, rows: &mut LayerRows) {
        if let Some(shared) = self.shared.upgrade() {
            shared.attempt.store(number, Ordering::Release);
        }
        self.number.store(number, Ordering::Release);
        rows.reset_from(Layer::Dns);
        for news in self.so_far().held.take().unwrap_or_default() {
            rows.set(news.layer, news.state, news.took, &news.detail);
        }
    }

    fn so_far(&self) -> MutexGuard<'_, SoFar> {
        self.so_far.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    fn is_current(&self, shared: &Shared) -> bool {
        shared.attempt.load(Ordering::Acquire) == self.number()
    }

    fn take(&self, news: RowNews) {
        if news.layer >= Layer::Ssh && self.number() > 0 {
            self.show();
        }
        {
            let mut so_far = self.so_far();
            so_far.layer = news.layer;
            if news.layer == Layer::Tcp && news.state == RowState::Ok {
                so_far.connected.get_or_insert(Instant::now());
            }
            if let Some(held) = so_far.held.as_mut() {
                held.push(news);
                return;
            }
        }
        self.publish(news);
    }

    fn publish(&self, news: RowNews) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        shared.view.send_if_modified(|view| {
            if !self.is_current(&shared) {
                return false;
            }
            view.rows
                .set(news.layer, news.state, news.took, &news.detail);
            if let TunnelStatus::Connecting { layer, .. } = &mut view.status
                && news.state == RowState::Busy
            {
                *layer = news.layer;
            }
            true
        });
    }
}
