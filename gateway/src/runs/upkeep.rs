//! What is done at the start and every hour: unfinished runs and old keys.

use std::sync::Arc;
use std::time::Duration;

use super::ending::{self, plain_ending};
use super::machine::Ending;
use super::model::RunState;
use super::service::Inner;
use crate::store::{StoreError, now_ms};

/// How long the same key is answered from the stored run.
pub const KEY_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// How often old keys are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);
/// Old keys that are forgotten in one transaction.
const SWEEP_BATCH: usize = 500;

/// Settles what the last stop left: what was accepted runs now, what was given to the model is
/// marked interrupted with the text that had arrived.
pub(super) async fn recover(inner: &Arc<Inner>) -> Result<(), StoreError> {
    for run in inner.store.unfinished().await? {
        if run.state == RunState::Given {
            let ending = Ending {
                text: run.text.clone(),
                error: None,
                ..plain_ending(0, RunState::Interrupted, "interrupted")
            };
            tracing::info!(run = %run.run_id, "marked interrupted");
            inner
                .store
                .finish(ending::run_end(&run, &ending, now_ms()))
                .await?;
        } else {
            tracing::info!(run = %run.run_id, "accepted before the stop; it runs now");
            inner.enqueue(&run);
        }
    }
    Inner::pump(inner);
    Ok(())
}

/// Forgets keys that are too old, now and every hour.
pub(super) async fn sweep(inner: Arc<Inner>) {
    let lifetime = i64::try_from(KEY_LIFETIME.as_millis()).unwrap_or(i64::MAX);
    let mut every = tokio::time::interval(SWEEP_EVERY);
    loop {
        tokio::select! {
            () = inner.shutdown.cancelled() => return,
            _ = every.tick() => {}
        }
        while let Ok(gone) = inner.store.expire(now_ms() - lifetime, SWEEP_BATCH).await {
            if gone < SWEEP_BATCH as u64 || inner.shutdown.is_cancelled() {
                break;
            }
        }
    }
}
