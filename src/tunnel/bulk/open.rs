//! Opens and closes the connections for forwards, one at a time, and watches that each is alive.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::layer::{Layer, LayerError, Retry};
use crate::tunnel::connection::liveness::Pulse;
use crate::tunnel::connection::watch::{Watched, watch_over};
use crate::tunnel::connection::{Connection, Report, Surroundings};
use crate::tunnel::spec::TunnelSpec;
use crate::tunnel::status::{TunnelStatus, TunnelView};

use super::Bulk;
use super::plan::Step;

/// How often the connections are looked at while they are used.
const TICK: Duration = Duration::from_secs(1);
/// The pause after a connection could not be opened, and the longest one.
const PAUSE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));
/// How long the server may take to say how far it is.
const MEASURE: Duration = Duration::from_secs(2);
/// Window for each millisecond of the round trip. A server gets new credit when half of the last was used,
/// so half a window is on the way: 120 MB/s, as much as a gigabit carries.
const WINDOW_A_MS: u128 = 240 * 1024;
/// No window is larger. sshd keeps up to 16 MiB of it in a buffer that it copies whole, time and again.
const MAX_WINDOW: u32 = 32 * 1024 * 1024;

type Opening = Pin<Box<dyn Future<Output = Result<Connection, LayerError>> + Send>>;

/// The one task that opens and closes them.
pub(crate) struct Opener {
    pub(crate) bulk: Bulk,
    pub(crate) spec: TunnelSpec,
    /// As the tunnel's own, but nobody is asked.
    pub(crate) around: Surroundings,
    pub(crate) link: watch::Receiver<Option<Arc<Connection>>>,
    pub(crate) view: watch::Receiver<TunnelView>,
    /// The last round trip of the tunnel's own connection.
    pub(crate) round_trip: Box<dyn Fn() -> Option<Duration> + Send>,
    pub(crate) stop: CancellationToken,
}

impl Opener {
    pub(crate) async fn run(mut self) {
        let mut tasks = JoinSet::new();
        let mut opening: Option<Opening> = None;
        let mut pause = PAUSE.0;
        let mut not_before: Option<Instant> = None;
        loop {
            let is_paused = self.view.borrow_and_update().status == TunnelStatus::Paused;
            if is_paused {
                opening = None;
                while let Some(connection) = self.bulk.take(0) {
                    connection.life().cut();
                }
            }
            let may_open = opening.is_none() && not_before.is_none() && self.may_open();
            match self.bulk.next_step(may_open) {
                Step::Open => opening = Some(self.open()),
                Step::Close(index) => {
                    if let Some(connection) = self.bulk.take_idle(index) {
                        tasks.spawn(async move { connection.close().await });
                    }
                    continue;
                }
                Step::Wait => {}
            }
            let is_used = self.bulk.needs_watching();
            let tick = Instant::now() + TICK;
            tokio::select! {
                () = self.stop.cancelled() => break,
                changed = self.link.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    if self.link.borrow_and_update().is_some() {
                        pause = PAUSE.0;
                        not_before = None;
                        self.bulk.set_barred(false);
                    }
                    // What ended the tunnel's own may have ended these too.
                    self.bulk.ask_all();
                }
                changed = self.view.changed() => {
                    if changed.is_err() {
                        break;
                    }
                }
                () = self.bulk.0.wanted.notified() => {}
                opened = until_open(&mut opening) => {
                    opening = None;
                    match opened {
                        Ok(connection) => {
                            pause = PAUSE.0;
                            self.keep(connection, &mut tasks);
                        }
                        Err(error) => {
                            tracing::debug!(layer = %error.layer, %error, "no connection for forwards");
                            if !is_for_ever(&error) {
                                not_before = Some(Instant::now() + pause);
                                pause = (pause * 2).min(PAUSE.1);
                            }
                            self.bulk.set_barred(true);
                        }
                    }
                }
                () = until(not_before) => {
                    not_before = None;
                    self.bulk.set_barred(false);
                }
                Some(_) = tasks.join_next() => {}
                () = tokio::time::sleep_until(tick), if is_used => self.bulk.measure(),
            }
        }
        let mut goodbyes = JoinSet::new();
        while let Some(connection) = self.bulk.take(0) {
            goodbyes.spawn(async move { connection.close().await });
        }
        while goodbyes.join_next().await.is_some() {}
    }

    /// Where the tunnel is up and signing in takes nobody.
    fn may_open(&self) -> bool {
        let link = self.link.borrow();
        let control = link.as_ref().filter(|link| !link.life().is_over());
        control.is_some_and(|control| !control.is_attended()) && !self.bulk.is_barred()
    }

    fn open(&self) -> Opening {
        let spec = self.spec.clone();
        let mut around = self.around.clone();
        let known = (self.round_trip)();
        let control = self.link.borrow().clone();
        Box::pin(async move {
            let round_trip = match (known, control) {
                (None, Some(control)) => measure(&control).await,
                (known, _) => known,
            };
            around.window = window(round_trip, around.window);
            let report = Report::new(|_| {});
            Connection::open(&spec, &around, &report).await
        })
    }

    /// Takes a connection in, and watches that it is alive.
    fn keep(&self, connection: Connection, tasks: &mut JoinSet<()>) {
        let connection = Arc::new(connection);
        let pulse = Pulse::of(self.spec.destination());
        let watched = Watched {
            handle: connection.handle(),
            life: connection.life().clone(),
            pulse,
            server: self.server(),
        };
        let (bulk, link) = (self.bulk.clone(), self.link.clone());
        let came_up = self.bulk.0.came_up.subscribe();
        let doubted = move || {
            bulk.0.wanted.notify_one();
            // What silences one may have silenced the tunnel's own too.
            if let Some(link) = link.borrow().as_ref() {
                link.life().ask();
            }
        };
        tasks.spawn(watch_over(watched, came_up, doubted));
        self.bulk.add(connection);
    }

    fn server(&self) -> String {
        let destination = self.spec.destination();
        destination.map_or_else(|| self.spec.target.clone(), |hop| hop.alias.clone())
    }
}

async fn until_open(opening: &mut Option<Opening>) -> Result<Connection, LayerError> {
    match opening {
        Some(opening) => opening.await,
        None => std::future::pending().await,
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// A refusal that the next try would only repeat, and that servers count.
fn is_for_ever(error: &LayerError) -> bool {
    matches!(error.layer, Layer::HostKey | Layer::SignIn)
        || matches!(error.retry, Retry::Attention | Retry::Never)
}

/// The round trip of a connection that was not asked for it yet.
async fn measure(control: &Connection) -> Option<Duration> {
    let started = Instant::now();
    let asked = tokio::time::timeout(MEASURE, control.handle().send_ping()).await;
    matches!(asked, Ok(Ok(()))).then(|| started.elapsed())
}

/// What one channel may have on the way: enough to fill a fast link over this round trip.
fn window(round_trip: Option<Duration>, least: u32) -> u32 {
    let on_the_way = round_trip.map_or(0, |rtt| rtt.as_millis() * WINDOW_A_MS);
    u32::try_from(on_the_way)
        .unwrap_or(MAX_WINDOW)
        .min(MAX_WINDOW)
        .max(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_grows_with_the_round_trip_up_to_a_limit() {
        let least = crate::tunnel::BULK_WINDOW;
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(window(None, least), least);
        assert_eq!(window(ms(10), least), least);
        assert_eq!(window(ms(100), least), 100 * 240 * 1024);
        assert_eq!(window(ms(60_000), least), MAX_WINDOW);
    }

    #[test]
    fn a_refused_sign_in_is_not_tried_again_and_a_timeout_is() {
        let error = |layer| LayerError::new(layer, "no");
        assert!(is_for_ever(&error(Layer::SignIn)));
        assert!(!is_for_ever(&error(Layer::Tcp)));
    }
}
