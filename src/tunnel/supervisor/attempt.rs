//! One attempt to connect, as the published view shows it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::layer::{Layer, RowState};
use crate::tunnel::connection::{Report, RowNews};
use crate::tunnel::status::TunnelStatus;

use super::shared::Shared;

/// Takes the news of one attempt; news that come after the next attempt began are dropped.
///
/// A quiet attempt is one of the many that follow each other while a server refuses. It is shown only
/// when it gets further or takes long, so that the view does not flicker four times a second.
pub(super) struct Attempt {
    shared: Weak<Shared>,
    number: u64,
    try_number: u32,
    /// News of a quiet attempt; `None` once it is shown.
    held: Mutex<Option<Vec<RowNews>>>,
}

impl Attempt {
    /// Begins an attempt, the `try_number`th since the tunnel was last up.
    pub(super) fn begin(shared: &Arc<Shared>, try_number: u32, quiet: bool) -> Arc<Self> {
        let number = shared.attempt.fetch_add(1, Ordering::AcqRel) + 1;
        let attempt = Arc::new(Self {
            shared: Arc::downgrade(shared),
            number,
            try_number,
            held: Mutex::new(Some(Vec::new())),
        });
        if !quiet {
            attempt.show();
        }
        attempt
    }

    /// Where the connection reports to.
    pub(super) fn report(self: &Arc<Self>) -> Report {
        let attempt = self.clone();
        Report::new(move |news| attempt.take(news))
    }

    /// Shows the attempt, with the news so far.
    pub(super) fn show(&self) {
        let held = self
            .held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(held) = held else { return };
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

    fn is_current(&self, shared: &Shared) -> bool {
        shared.attempt.load(Ordering::Acquire) == self.number
    }

    fn take(&self, news: RowNews) {
        if news.layer >= Layer::Ssh {
            self.show();
        }
        {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(held) = held.as_mut() {
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
