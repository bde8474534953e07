//! Watches a connection that is one of several: asks when it is silent, and ends it when it stays so.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use russh::client::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::layer::{Layer, LayerError};
use crate::tunnel::transport::Lifeline;

use super::Hook;
use super::liveness::{self, Pulse, Signs, Spare, Verdict, Vigil};

/// A ping under way, if there is one.
#[derive(Default)]
pub(crate) struct Pinging(Option<Pin<Box<dyn Future<Output = Option<Duration>> + Send>>>);

impl Pinging {
    /// Sends one; the one of before is forgotten.
    pub(crate) fn start(&mut self, handle: Arc<Handle<Hook>>) {
        self.0 = Some(Box::pin(async move {
            let sent = Instant::now();
            handle.send_ping().await.ok().map(|()| sent.elapsed())
        }));
    }

    /// How long the answer took; waits for ever without a ping. Cancel safe.
    pub(crate) async fn answered(&mut self) -> Duration {
        if let Some(ping) = &mut self.0 {
            let took = ping.as_mut().await;
            self.0 = None;
            if let Some(took) = took {
                return took;
            }
        }
        std::future::pending().await
    }
}

/// What is watched.
pub(crate) struct Watched {
    pub(crate) handle: Arc<Handle<Hook>>,
    pub(crate) life: Lifeline,
    pub(crate) pulse: Pulse,
    pub(crate) server: String,
}

/// Watches until the connection is over. `doubted` is called when it falls silent, so that another one is
/// opened; `came_up` tells when one was, and the silent one ends when it does not speak then.
pub(crate) async fn watch_over(
    watched: Watched,
    mut came_up: watch::Receiver<Option<Instant>>,
    doubted: impl Fn(),
) {
    let Watched {
        handle,
        life,
        pulse,
        server,
    } = watched;
    let mut vigil = Vigil::new(pulse, Instant::now());
    let mut ping = Pinging::default();
    let mut doubt: Option<Instant> = None;
    let mut spare: Option<Spare> = None;
    while !life.is_over() {
        let now = Instant::now();
        let signs = Signs::of(&life);
        let look = vigil.look(&signs, now);
        if look.ping {
            ping.start(handle.clone());
        }
        match look.verdict {
            Verdict::Lost(silent) => {
                tracing::debug!(%server, ?silent, "a connection for forwards is given up");
                return life.end(liveness::silence(&server, silent));
            }
            Verdict::Doubt(silent) => {
                let since = *doubt.get_or_insert_with(|| {
                    life.set_in_doubt(true);
                    doubted();
                    now
                });
                let other = (*came_up.borrow_and_update()).filter(|at| *at >= since);
                if let Some(at) = other {
                    let spare = spare.get_or_insert_with(|| Spare::new(at));
                    if vigil.may_replace(spare, &signs, now) {
                        tracing::debug!(%server, ?silent, "a connection for forwards is replaced");
                        return life.end(liveness::silence(&server, silent));
                    }
                }
            }
            Verdict::Fine => {
                if doubt.take().is_some() {
                    life.set_in_doubt(false);
                }
                spare = None;
            }
        }
        tokio::select! {
            () = life.over() => {}
            () = tokio::time::sleep_until(look.next) => {}
            () = life.asked(), if look.at_rest => {}
            took = ping.answered() => vigil.answered(took),
        }
    }
}

/// Ends a connection whose own address this machine has no longer: nothing can come for it.
pub(crate) fn end_without_address(life: &Lifeline) {
    if let Some(ip) = life.with_path(|path| path.lost_address()) {
        let what = format!("this machine has the address {ip} no longer");
        life.end(LayerError::new(Layer::Tcp, what));
    }
}
