//! The configuration while the daemon runs: looked at, read again when it changes or on SIGHUP, and
//! put into force as far as that is possible without a restart.
//!
//! A file that cannot be used changes nothing: what was in force stays, and log, `health` and
//! `clawline-gateway status` say what is wrong with it.

mod board;
mod change;
mod fingerprint;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clawline::config::ConfigErrors;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::settings::{GatewaySettings, ReloadMode};
use crate::state::App;
use crate::tls;

pub(crate) use board::Board;
use fingerprint::Fingerprint;

/// Time between two looks at the files; a look is one `stat` each.
const LOOK: Duration = Duration::from_millis(500);
/// A file that changed is read once it has rested for so long: an editor may be in the middle of it.
const REST: Duration = Duration::from_millis(100);
/// Looks for a rest, at most; a file that never rests is read anyway.
const MAX_RESTS: usize = 20;

/// Reads the settings as they were read at the start; the error is one line a problem.
pub type ReadAgain = dyn Fn() -> Result<GatewaySettings, Vec<String>> + Send + Sync;
/// The settings that a start would have if the config file held this text.
pub type ReadDraft = dyn Fn(&str) -> Result<GatewaySettings, ConfigErrors> + Send + Sync;
/// Told the settings after they have come into force.
pub type OnChange = dyn Fn(&GatewaySettings) + Send + Sync;

/// Where new settings come from.
#[derive(Clone)]
pub struct Source {
    read: Arc<ReadAgain>,
    on_change: Arc<OnChange>,
    draft: Option<Arc<ReadDraft>>,
    files: Vec<PathBuf>,
    again: Arc<Notify>,
}

impl Source {
    /// Settings that `read` gives, read again when one of `files` changes, or appears.
    pub fn new(
        files: Vec<PathBuf>,
        read: impl Fn() -> Result<GatewaySettings, Vec<String>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            read: Arc::new(read),
            on_change: Arc::new(|_| {}),
            draft: None,
            files,
            again: Arc::default(),
        }
    }

    /// Tells `tell` the settings whenever they have changed.
    #[must_use]
    pub fn on_change(mut self, tell: impl Fn(&GatewaySettings) + Send + Sync + 'static) -> Self {
        self.on_change = Arc::new(tell);
        self
    }

    /// Lets whoever is about to write the config file ask what would come of it: `read` gives the
    /// settings under the same flags and environment.
    #[must_use]
    pub fn with_drafts(
        mut self,
        read: impl Fn(&str) -> Result<GatewaySettings, ConfigErrors> + Send + Sync + 'static,
    ) -> Self {
        self.draft = Some(Arc::new(read));
        self
    }

    pub(crate) fn draft(&self) -> Option<Arc<ReadDraft>> {
        self.draft.clone()
    }

    /// Asks for a reading now, as SIGHUP does.
    pub fn again(&self) -> Arc<Notify> {
        self.again.clone()
    }
}

/// Keeps the settings those of the files until the daemon stops.
pub(crate) async fn watch(app: App, source: Source) {
    let mut seen = look(&source).await;
    // What changed between the first reading and this look is not missed.
    read(&app, &source).await;
    let mut interval = interval(LOOK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let mode = app.settings().reload;
        app.reload.watching(mode == ReloadMode::Hybrid);
        tokio::select! {
            () = app.drain.cancelled() => return,
            () = source.again.notified() => {
                tracing::info!("the configuration is read again");
            }
            _ = interval.tick(), if mode == ReloadMode::Hybrid => {
                if look(&source).await == seen {
                    continue;
                }
            }
        }
        seen = rested(&source).await;
        read(&app, &source).await;
    }
}

/// The files once they have not changed for a moment.
async fn rested(source: &Source) -> Vec<Fingerprint> {
    let mut seen = look(source).await;
    for _ in 0..MAX_RESTS {
        sleep(REST).await;
        let now = look(source).await;
        if now == seen {
            break;
        }
        seen = now;
    }
    seen
}

async fn look(source: &Source) -> Vec<Fingerprint> {
    let files = source.files.clone();
    tokio::task::spawn_blocking(move || files.iter().map(|file| Fingerprint::of(file)).collect())
        .await
        .unwrap_or_default()
}

async fn read(app: &App, source: &Source) {
    if let Some(tls) = &app.tls {
        tls::reload(tls).await;
    }
    let again = source.read.clone();
    let outcome = match tokio::task::spawn_blocking(move || again()).await {
        Ok(Ok(settings)) => change::apply(app, settings),
        Ok(Err(problems)) => Err(problems),
        Err(error) => Err(vec![error.to_string()]),
    };
    let news = match &outcome {
        Ok(change) if change.is_nothing() => {
            app.live.look_again();
            app.reload.good(&[])
        }
        Ok(change) => {
            (source.on_change)(&app.settings());
            let keys = change.changed.join(", ");
            if !keys.is_empty() {
                tracing::info!(keys, "the new configuration is in force");
            }
            app.reload.good(&change.needs_restart)
        }
        Err(problems) => app.reload.bad(problems),
    };
    if !news {
        return;
    }
    match &outcome {
        Ok(change) if !change.needs_restart.is_empty() => {
            let keys = change.needs_restart.join(", ");
            tracing::warn!(keys, "changed, and needs a restart of the gateway");
        }
        Ok(_) => {}
        Err(problems) => {
            for problem in problems {
                tracing::error!(
                    problem,
                    "the configuration cannot be used; the one before stays in force"
                );
            }
        }
    }
    app.broadcast_health().await;
}
