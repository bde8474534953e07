//! Notices that the certificate's files have changed, and that its end is near.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::Tls;

/// Time between two looks at the files.
const LOOK: Duration = Duration::from_secs(10);
/// From when on the log speaks of the certificate's end.
const WARN_DAYS: i64 = 30;
/// Looks between two such lines: a day.
const WARN_EVERY: u64 = 24 * 60 * 60 / 10;

/// Shows a new certificate soon after its files were replaced, until `stop`. One that is no good never
/// replaces the one that is shown.
pub(crate) async fn watch(tls: Arc<Tls>, stop: CancellationToken) {
    let mut seen = stamps(&tls.source.files()).await;
    let mut look = interval_at(Instant::now() + LOOK, LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    warn(&tls);
    let mut looks = 0_u64;
    let mut trouble = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = look.tick() => {}
        }
        looks += 1;
        if looks.is_multiple_of(WARN_EVERY) {
            warn(&tls);
        }
        let now = stamps(&tls.source.files()).await;
        // Files that could not be used are tried again: their modes may change, or the clock.
        if now == seen && trouble.is_none() {
            continue;
        }
        seen = now;
        let told = trouble.take();
        trouble = read_again(&tls).await.err();
        if let Some(error) = trouble
            .as_ref()
            .filter(|error| told.as_ref() != Some(error))
        {
            unusable(error);
        }
    }
}

/// Reads the certificate's files again and says what came of it.
pub(crate) async fn reload(tls: &Arc<Tls>) {
    if let Err(error) = read_again(tls).await {
        unusable(&error);
    }
}

/// Reads the files; an error is in words for the log.
async fn read_again(tls: &Arc<Tls>) -> Result<(), String> {
    let again = tls.clone();
    match tokio::task::spawn_blocking(move || again.reload()).await {
        Ok(Ok(true)) => {
            tracing::info!(fingerprint = %tls.fingerprint(), "another certificate is shown");
            Ok(())
        }
        Ok(Ok(false)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

fn unusable(error: &str) {
    tracing::warn!(
        error,
        "the certificate's files cannot be used; the one that was shown stays"
    );
}

fn warn(tls: &Tls) {
    let certificate = tls.certificate();
    let days = certificate.days_left();
    if days <= WARN_DAYS {
        tracing::warn!(days, on = %certificate.expires_on, "the TLS certificate expires soon; renew it (our own: clawline-gateway tls renew) and give clients the new fingerprint");
    }
}

/// When each file was written last, and how long it is.
async fn stamps(files: &[PathBuf]) -> Vec<Option<(SystemTime, u64)>> {
    let mut stamps = Vec::new();
    for file in files {
        let metadata = tokio::fs::metadata(file).await.ok();
        let stamp = metadata.and_then(|m| Some((m.modified().ok()?, m.len())));
        stamps.push(stamp);
    }
    stamps
}
