//! The connection that is up: watched, and replaced by a second one when it falls silent.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::layer::{Layer, LayerError, LayerRow, RowState};
use crate::tunnel::connection::Connection;
use crate::tunnel::connection::liveness::{self, Hurry, Pulse, Signs, Verdict, Vigil};
use crate::tunnel::connection::watch::{Pinging, end_without_address};

use super::attempt::Attempt;
use super::shared::Shared;
use super::spare::Spare;

/// Silence of this length is shown.
const SHOWN: Duration = Duration::from_secs(2);

/// What comes of a connection.
pub(super) enum Outcome {
    Lost(LayerError),
    /// It is silent, and this one is not.
    Silent(Connection, Arc<Attempt>),
}

/// One connection that is up.
pub(super) struct Live {
    pub(super) id: u64,
    pub(super) connection: Arc<Connection>,
    shared: Arc<Shared>,
    vigil: Vigil,
    spare: Spare,
    ping: Pinging,
    /// The row of SSH as it was before it said how long nothing came.
    row: Option<LayerRow>,
}

impl Live {
    pub(super) fn new(
        id: u64,
        connection: Arc<Connection>,
        shared: &Arc<Shared>,
        pulse: Pulse,
        spare: Spare,
    ) -> Self {
        Self {
            id,
            connection,
            shared: shared.clone(),
            vigil: Vigil::new(pulse, Instant::now()),
            spare,
            ping: Pinging::default(),
            row: None,
        }
    }

    /// The machine slept, or is in another network.
    pub(super) fn hurry(&mut self, why: Hurry) {
        if why == Hurry::Moved {
            end_without_address(self.connection.life());
        }
        self.vigil.hurry(why, Instant::now());
    }

    /// Watches it until something comes of it. Cancel safe: the next call goes on.
    pub(super) async fn outcome(&mut self) -> Outcome {
        loop {
            let now = Instant::now();
            let life = self.connection.life().clone();
            let signs = Signs::of(&life);
            let look = self.vigil.look(&signs, now);
            if look.ping {
                self.ping.start(self.connection.handle());
            }
            let mut next = look.next;
            match look.verdict {
                Verdict::Lost(silent) => life.end(liveness::silence(&self.shared.server, silent)),
                Verdict::Doubt(silent) => {
                    next = next.min(self.spare.want(self.vigil.margin(), now));
                    self.show_silence(silent);
                }
                Verdict::Fine => {
                    self.unshow_silence();
                    self.spare.dismiss(now);
                }
            }
            if life.is_over() {
                return Outcome::Lost(self.connection.why_over());
            }
            if let Some(seen) = self.spare.ready()
                && self.vigil.may_replace(seen, &signs, now)
                && let Some((connection, attempt)) = self.spare.take()
            {
                return Outcome::Silent(connection, attempt);
            }
            tokio::select! {
                () = life.over() => {}
                () = tokio::time::sleep_until(next) => {}
                // The look that follows knows when to look again.
                () = life.asked(), if look.at_rest => {}
                took = self.ping.answered() => {
                    self.vigil.answered(took);
                    self.shared.set_rtt(Some(took));
                }
                () = self.spare.progress() => {}
            }
        }
    }

    /// The row says how long nothing came; the connection is up until it is lost.
    fn show_silence(&mut self, silent: Duration) {
        if silent < SHOWN {
            return;
        }
        let mut words = format!("no answer for {} s", silent.as_secs());
        if let Some(why) = &self.spare.why {
            words.push_str(&format!("; a new connection: {why}"));
        }
        let row = &mut self.row;
        self.shared.view.send_if_modified(|view| {
            let Some(now) = view.rows.row(Layer::Ssh) else {
                return false;
            };
            if now.detail == words {
                return false;
            }
            row.get_or_insert_with(|| now.clone());
            view.rows.set(Layer::Ssh, RowState::Busy, None, &words);
            true
        });
    }

    fn unshow_silence(&mut self) {
        let Some(row) = self.row.take() else { return };
        let took = row.ms.map(Duration::from_millis);
        self.shared
            .view
            .send_modify(|view| view.rows.set(Layer::Ssh, row.state, took, &row.detail));
    }
}
