//! SSH connections for the forwards of one tunnel, beside the one that the tunnel itself keeps.
//!
//! A program that does not read holds up the SSH connection it came through (see `forward/pump.rs`), and
//! a big download fills its queue. So forwards have connections of their own: one is opened as soon as the
//! tunnel is up, more when that one is held up or busy. They sign in as the tunnel did, and only where
//! that takes nobody: no question, no touch. Otherwise the tunnel's own connection carries everything.

mod open;
mod plan;
mod room;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::tunnel::connection::Connection;
use crate::tunnel::connection::liveness::Hurry;
use crate::tunnel::connection::watch::end_without_address;

use plan::LaneState;

pub(crate) use open::Opener;
pub(crate) use room::Room;

/// How many SSH connections forwards may have, beside the tunnel's own.
pub const BULK_CONNECTIONS: usize = 4;
/// How long a local connection waits for one that is being opened before it goes another way: about
/// what signing in takes in the same house, so that nobody waits longer than without.
const SOON: Duration = Duration::from_millis(300);
/// A connection that carried more than this in a second is busy.
const BUSY: u64 = 2 * 1024 * 1024;

/// The connections; clones are handles of the same ones.
#[derive(Clone)]
pub(crate) struct Bulk(Arc<Inner>);

struct Inner {
    lanes: Mutex<Vec<Lane>>,
    max: usize,
    room: Room,
    /// Wakes the opener: one more may be needed.
    wanted: Notify,
    /// Rises when a connection came or failed to.
    news: watch::Sender<u64>,
    /// How many forwards are served.
    served: AtomicUsize,
    /// When the last one came up: the way to the server works.
    came_up: watch::Sender<Option<Instant>>,
    /// Opening another would take a person: no more are opened.
    barred: AtomicBool,
}

struct Lane {
    connection: Arc<Connection>,
    traffic: u64,
    busy: bool,
    /// Since when it has no channel.
    idle: Option<Instant>,
}

/// Held while a forward is served.
pub(crate) struct Served(Arc<Inner>);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.served.fetch_sub(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Bulk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bulk")
    }
}

impl Bulk {
    pub(crate) fn new(max: usize, room: Room) -> Self {
        Self(Arc::new(Inner {
            lanes: Mutex::default(),
            max,
            room,
            wanted: Notify::new(),
            news: watch::Sender::new(0),
            served: AtomicUsize::new(0),
            came_up: watch::Sender::new(None),
            barred: AtomicBool::new(false),
        }))
    }

    /// Says that a forward is served, so that connections are opened for it.
    pub(crate) fn serve(&self) -> Served {
        self.0.served.fetch_add(1, Ordering::Relaxed);
        self.0.wanted.notify_one();
        Served(self.0.clone())
    }

    /// The best connection for one more local connection, if there is a good one.
    pub(crate) fn pick(&self) -> Option<Arc<Connection>> {
        let mut lanes = self.lanes();
        let states = states(&mut lanes, Instant::now());
        let index = plan::choose(&states);
        let was_idle = index.and_then(|index| states.get(index));
        let was_idle = was_idle.is_some_and(|lane| lane.channels == 0);
        let chosen = index.and_then(|index| lanes.get(index));
        let chosen = chosen.map(|lane| lane.connection.clone());
        let crowded = chosen.is_none() && self.0.max > 0 && lanes.len() >= self.0.max;
        drop(lanes);
        self.0.room.set_crowded(crowded);
        if was_idle || plan::next(&states, self.0.max, true) == plan::Step::Open {
            self.0.wanted.notify_one();
        }
        chosen
    }

    /// As [`Bulk::pick`]; waits a moment for one that is being opened. `control` is the tunnel's own.
    pub(crate) async fn pick_soon(&self, control: &Connection) -> Option<Arc<Connection>> {
        let until = Instant::now() + SOON;
        let mut news = self.0.news.subscribe();
        loop {
            if let Some(connection) = self.pick() {
                return Some(connection);
            }
            if control.is_attended() || self.is_barred() || self.lanes().len() >= self.0.max {
                return None;
            }
            let changed = tokio::time::timeout_at(until, news.changed()).await;
            if !matches!(changed, Ok(Ok(()))) {
                return self.pick();
            }
        }
    }

    /// How many connections it has now.
    pub(crate) fn count(&self) -> usize {
        let mut lanes = self.lanes();
        lanes.retain(|lane| !lane.connection.life().is_over());
        lanes.len()
    }

    /// Whether anything can change that nobody tells of.
    fn needs_watching(&self) -> bool {
        let lanes = self.lanes();
        let used = |lane: &Lane| lane.connection.closings().in_use() > 0;
        lanes.len() > 1 || lanes.iter().any(used)
    }

    fn lanes(&self) -> MutexGuard<'_, Vec<Lane>> {
        self.0.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_barred(&self) -> bool {
        self.0.barred.load(Ordering::Relaxed)
    }

    fn set_barred(&self, barred: bool) {
        self.0.barred.store(barred, Ordering::Relaxed);
        self.0.news.send_modify(|news| *news += 1);
    }

    fn add(&self, connection: Arc<Connection>) {
        connection.closings().set_forwards_only();
        self.lanes().push(Lane {
            connection,
            traffic: 0,
            busy: false,
            idle: None,
        });
        self.0.came_up.send_replace(Some(Instant::now()));
        self.0.room.set_crowded(false);
        self.0.news.send_modify(|news| *news += 1);
    }

    /// Asks every connection for a sign of life.
    fn ask_all(&self) {
        for lane in self.lanes().iter() {
            lane.connection.life().ask();
        }
    }

    /// The machine slept, or is in another network.
    pub(crate) fn hurry(&self, why: Hurry) {
        if why == Hurry::Moved {
            for lane in self.lanes().iter() {
                end_without_address(lane.connection.life());
            }
        }
        self.ask_all();
    }

    /// As [`Bulk::take`], unless something uses it by now.
    fn take_idle(&self, index: usize) -> Option<Arc<Connection>> {
        let mut lanes = self.lanes();
        let lane = lanes.get(index)?;
        (lane.connection.closings().in_use() == 0).then(|| lanes.remove(index).connection)
    }

    /// Takes out the one at `index`, for closing.
    fn take(&self, index: usize) -> Option<Arc<Connection>> {
        let mut lanes = self.lanes();
        (index < lanes.len()).then(|| lanes.remove(index).connection)
    }

    /// What to do now.
    fn next_step(&self, may_open: bool) -> plan::Step {
        let states = states(&mut self.lanes(), Instant::now());
        let wanted = may_open && self.0.served.load(Ordering::Relaxed) > 0;
        plan::next(&states, self.0.max, wanted)
    }

    /// Measures what went through each in the last second.
    fn measure(&self) {
        let mut lanes = self.lanes();
        for lane in lanes.iter_mut() {
            let traffic = lane.connection.closings().traffic();
            lane.busy = traffic.saturating_sub(lane.traffic) > BUSY;
            lane.traffic = traffic;
        }
        // Nobody is turned away any more; who is slow alone is in nobody's way.
        if plan::choose(&states(&mut lanes, Instant::now())).is_some() {
            self.0.room.set_crowded(false);
        }
    }
}

/// How they stand, without those that are over.
fn states(lanes: &mut Vec<Lane>, now: Instant) -> Vec<LaneState> {
    lanes.retain(|lane| !lane.connection.life().is_over());
    lanes
        .iter_mut()
        .map(|lane| {
            let closings = lane.connection.closings();
            let channels = closings.in_use();
            lane.idle = match channels {
                0 => lane.idle.or(Some(now)),
                _ => None,
            };
            LaneState {
                channels,
                stalled: lane.connection.life().has_stalled_reader()
                    || closings.is_swollen()
                    || lane.connection.life().is_in_doubt(),
                busy: lane.busy,
                worn: closings.is_worn(),
                idle: lane.idle.map_or(Duration::ZERO, |since| now - since),
            }
        })
        .collect()
}
