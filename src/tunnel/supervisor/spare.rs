//! A second connection, opened while the first one is in doubt.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::layer::{LayerError, Retry};
use crate::tunnel::connection::{Connection, Surroundings, liveness};
use crate::tunnel::spec::TunnelSpec;

use super::attempt::Attempt;
use super::opening::Opening;
use super::shared::Shared;

/// How long one try may take beside the round trips that it needs; the next one may find a way that
/// this one does not (another address, a path that works again).
const TRY: Duration = Duration::from_secs(4);
/// How many margins are added to it.
const TRY_MARGINS: u32 = 20;
/// Pause after a try that failed.
const AFTER_FAILURE: Duration = Duration::from_millis(500);
/// Pause after one that was not needed. Servers count connections that end before a sign-in.
const AFTER_FALSE_ALARM: Duration = Duration::from_secs(5);

/// The second connection, if there is one.
pub(super) struct Spare {
    shared: Arc<Shared>,
    spec: TunnelSpec,
    around: Surroundings,
    stage: Stage,
    /// No try before.
    not_before: Instant,
    /// A sign-in that would need a person, or a refusal: more tries would only be counted.
    barred: bool,
    /// Why the last try failed.
    pub(super) why: Option<LayerError>,
}

enum Stage {
    None,
    Opening {
        opening: Box<Opening>,
        until: Instant,
    },
    Ready {
        connection: Box<Connection>,
        attempt: Arc<Attempt>,
        seen: liveness::Spare,
    },
}

impl Spare {
    /// None yet; and never one where signing in takes a person (`is_attended`).
    pub(super) fn new(
        shared: &Arc<Shared>,
        spec: &TunnelSpec,
        around: &Surroundings,
        is_attended: bool,
    ) -> Self {
        Self {
            shared: shared.clone(),
            spec: spec.clone(),
            around: around.clone(),
            stage: Stage::None,
            not_before: Instant::now(),
            barred: is_attended,
            why: None,
        }
    }

    /// Opens one if there is none, and gives a try up that takes too long. When to call again.
    pub(super) fn want(&mut self, margin: Duration, now: Instant) -> Instant {
        if let Stage::Opening { until, .. } = &self.stage
            && *until <= now
        {
            self.stage = Stage::None;
            self.not_before = now;
        }
        let limit = TRY + margin * TRY_MARGINS;
        match &self.stage {
            Stage::None if self.barred => now + limit,
            Stage::None if self.not_before > now => self.not_before,
            Stage::None => {
                let attempt = Attempt::beside(&self.shared);
                let until = now + limit;
                self.stage = Stage::Opening {
                    opening: Box::new(Opening::beside(&self.spec, &self.around, attempt)),
                    until,
                };
                until
            }
            Stage::Opening { until, .. } => *until,
            Stage::Ready { .. } => now + limit,
        }
    }

    /// Ends it: the first connection has spoken.
    pub(super) fn dismiss(&mut self, now: Instant) {
        self.why = None;
        if !matches!(self.stage, Stage::None) {
            self.stage = Stage::None;
            self.not_before = now + AFTER_FALSE_ALARM;
        }
    }

    /// Carries the try on until something has come of it; for ever when there is none. Cancel safe.
    pub(super) async fn progress(&mut self) {
        let Stage::Opening { opening, .. } = &mut self.stage else {
            return std::future::pending().await;
        };
        let result = opening.finished().await;
        let attempt = opening.attempt.clone();
        let now = Instant::now();
        match result {
            Ok(connection) => {
                let connected = attempt.connected().unwrap_or(now);
                self.stage = Stage::Ready {
                    connection: Box::new(connection),
                    attempt,
                    seen: liveness::Spare::new(connected),
                };
            }
            Err(why) => {
                tracing::debug!(%why, "no second connection");
                self.stage = Stage::None;
                self.not_before = now + AFTER_FAILURE;
                self.barred |= matches!(why.retry, Retry::Later | Retry::Attention | Retry::Never);
                self.why = Some(why);
            }
        }
    }

    /// What it shows of the path, once it is up.
    pub(super) fn ready(&mut self) -> Option<&mut liveness::Spare> {
        if matches!(&self.stage, Stage::Ready { connection, .. } if connection.life().is_over()) {
            self.stage = Stage::None;
        }
        match &mut self.stage {
            Stage::Ready { seen, .. } => Some(seen),
            _ => None,
        }
    }

    /// Takes it, when it is up.
    pub(super) fn take(&mut self) -> Option<(Connection, Arc<Attempt>)> {
        match std::mem::replace(&mut self.stage, Stage::None) {
            Stage::Ready {
                connection,
                attempt,
                ..
            } => Some((*connection, attempt)),
            other => {
                self.stage = other;
                None
            }
        }
    }
}
