//! What the daemon counts of itself, and the text that Prometheus reads of it.
//!
//! Written by hand: a few counters and one page of text do not need a crate.

mod process;
mod sink;
mod text;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::state::App;
use crate::store::StoreHealth;

pub(crate) use sink::Metered;
use text::Page;

/// Kinds of refusals that are told apart; there are fewer.
const MAX_KINDS: usize = 64;

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Everything that is counted since the start.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) connected: Count,
    pub(crate) slow_consumers: Count,
    pub(crate) events_sent: Count,
    pub(crate) messages: Count,
    pub(crate) runs_started: Count,
    pub(crate) runs_done: Count,
    pub(crate) runs_failed: Count,
    pub(crate) runs_aborted: Count,
    refused: Mutex<BTreeMap<String, u64>>,
}

impl Metrics {
    /// A connect was refused; `kind` is the code that the client was told.
    pub(crate) fn refused(&self, kind: &str) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() < MAX_KINDS || refused.contains_key(kind) {
            *refused.entry(kind.to_owned()).or_default() += 1;
        }
    }
}

/// The page. What it tells is counted or cheap to look up; nothing of it names a person, a session or a
/// device.
pub(crate) async fn page(app: &App) -> String {
    let metrics = &app.metrics;
    let mut page = Page::default();
    let dropped = app.registry.dropped();
    page.gauge(
        "up_seconds",
        "Time since the start.",
        app.boot.started.elapsed().as_secs_f64(),
    );
    page.labelled(
        "build_info",
        "gauge",
        "What runs.",
        "version",
        [(env!("CARGO_PKG_VERSION").to_owned(), 1)],
    );
    page.gauge(
        "connections",
        "Clients that are connected.",
        whole(u64::try_from(app.registry.count()).unwrap_or(u64::MAX)),
    );
    page.counter(
        "connections_total",
        "Clients that have connected.",
        &metrics.connected,
    );
    page.counter(
        "slow_consumers_total",
        "Clients that were cut because they did not read.",
        &metrics.slow_consumers,
    );
    page.counter(
        "events_sent_total",
        "Events that were sent.",
        &metrics.events_sent,
    );
    page.labelled(
        "events_dropped_total",
        "counter",
        "Events that were not sent, by why: merged into a newer one, or overrun for a slow consumer.",
        "why",
        [("merged", dropped.merged), ("overrun", dropped.overrun)]
            .map(|(why, count)| (why.to_owned(), count)),
    );
    page.counter(
        "messages_total",
        "Messages of conversations.",
        &metrics.messages,
    );
    let (active, waiting) = app.runs.counts();
    page.labelled(
        "runs",
        "gauge",
        "Runs now, by state.",
        "state",
        [("active", active), ("queued", waiting)]
            .map(|(state, count)| (state.to_owned(), u64::try_from(count).unwrap_or(u64::MAX))),
    );
    page.labelled(
        "runs_total",
        "counter",
        "Runs since the start, by what became of them.",
        "result",
        [
            ("started", &metrics.runs_started),
            ("done", &metrics.runs_done),
            ("failed", &metrics.runs_failed),
            ("aborted", &metrics.runs_aborted),
        ]
        .map(|(result, count)| (result.to_owned(), count.get())),
    );
    let refused = metrics
        .refused
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    page.labelled(
        "auth_failures_total",
        "counter",
        "Connects that were refused, by kind.",
        "kind",
        refused,
    );
    let asked = Instant::now();
    let sessions = app.sessions.count(None).await;
    page.gauge(
        "store_read_seconds",
        "Time of one small read of the store, made for this page.",
        asked.elapsed().as_secs_f64(),
    );
    if let Ok(sessions) = sessions {
        page.gauge(
            "sessions",
            "Sessions that are not archived.",
            whole(sessions),
        );
    }
    let is_writable = !matches!(&*app.store_health.borrow(), StoreHealth::ReadOnly { .. });
    page.gauge(
        "store_writable",
        "Whether the store takes writes.",
        f64::from(u8::from(is_writable)),
    );
    let is_good = app.reload.problems().is_empty();
    page.gauge(
        "config_good",
        "Whether the config file could be used when it was last read.",
        f64::from(u8::from(is_good)),
    );
    if let Some(bytes) = process::resident_bytes() {
        page.gauge(
            "resident_memory_bytes",
            "Memory of the process.",
            whole(bytes),
        );
    }
    if let Some(open) = process::open_files() {
        page.gauge(
            "open_fds",
            "Files and sockets that are open.",
            whole(u64::try_from(open).unwrap_or(u64::MAX)),
        );
    }
    page.text
}

#[expect(
    clippy::cast_precision_loss,
    reason = "far below 2^52 of anything counted here"
)]
fn whole(number: u64) -> f64 {
    number as f64
}
