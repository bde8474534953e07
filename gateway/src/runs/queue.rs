//! Who runs next: one run of a session at a time, in order; sessions side by side; bounded.

use std::collections::{HashMap, VecDeque};

use super::model::RunId;
use crate::sessions::SessionKey;

/// The bounds of the queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Runs that are answered at the same time.
    pub(super) running: usize,
    /// Runs that wait in one session.
    pub(super) waiting_in_session: usize,
    /// Runs that wait in all sessions together.
    pub(super) waiting: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            running: 32,
            waiting_in_session: 64,
            waiting: 1024,
        }
    }
}

/// The runs that wait and the sessions that are busy. Pure bookkeeping.
#[derive(Debug, Default)]
pub(super) struct Queue {
    limits: Limits,
    lanes: HashMap<SessionKey, Lane>,
    /// Sessions with waiting runs and none running, in the order in which they became ready.
    ready: VecDeque<SessionKey>,
    running: usize,
    waiting: usize,
}

#[derive(Debug, Default)]
struct Lane {
    running: Option<RunId>,
    waiting: VecDeque<RunId>,
}

impl Queue {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// True while one more run of this session may wait.
    pub(super) fn has_room(&self, key: &SessionKey) -> bool {
        let in_session = self.lanes.get(key).map_or(0, |lane| lane.waiting.len());
        self.waiting < self.limits.waiting && in_session < self.limits.waiting_in_session
    }

    /// Puts a run at the end of its session's line. Does not ask [`Self::has_room`].
    pub(super) fn push(&mut self, key: SessionKey, run: RunId) {
        let lane = self.lanes.entry(key.clone()).or_default();
        lane.waiting.push_back(run);
        self.waiting += 1;
        if lane.running.is_none() && lane.waiting.len() == 1 {
            self.ready.push_back(key);
        }
    }

    /// The next run to start, which counts as running from now on.
    pub(super) fn next(&mut self) -> Option<(SessionKey, RunId)> {
        while self.running < self.limits.running {
            let key = self.ready.pop_front()?;
            let Some(lane) = self.lanes.get_mut(&key) else {
                continue;
            };
            if lane.running.is_some() {
                continue;
            }
            if let Some(run) = lane.waiting.pop_front() {
                lane.running = Some(run.clone());
                self.waiting -= 1;
                self.running += 1;
                return Some((key, run));
            }
        }
        None
    }

    /// A running run has ended; its session's next one becomes ready.
    pub(super) fn finished(&mut self, key: &SessionKey, run: &RunId) {
        let Some(lane) = self.lanes.get_mut(key) else {
            return;
        };
        if lane.running.as_ref() != Some(run) {
            return;
        }
        lane.running = None;
        self.running -= 1;
        if lane.waiting.is_empty() {
            self.lanes.remove(key);
        } else {
            self.ready.push_back(key.clone());
        }
    }

    /// Takes a waiting run out of the line; false when it does not wait.
    pub(super) fn remove(&mut self, key: &SessionKey, run: &RunId) -> bool {
        let Some(lane) = self.lanes.get_mut(key) else {
            return false;
        };
        let before = lane.waiting.len();
        lane.waiting.retain(|waiting| waiting != run);
        let removed = before - lane.waiting.len();
        self.waiting -= removed;
        if lane.running.is_none() && lane.waiting.is_empty() {
            self.lanes.remove(key);
            self.ready.retain(|ready| ready != key);
        }
        removed > 0
    }

    /// The running and the waiting runs of a session, in order.
    pub(super) fn of_session(&self, key: &SessionKey) -> Vec<RunId> {
        self.lanes.get(key).map_or_else(Vec::new, |lane| {
            lane.running.iter().chain(&lane.waiting).cloned().collect()
        })
    }

    /// All runs that have started and not finished.
    pub(super) fn running(&self) -> impl Iterator<Item = &RunId> {
        self.lanes.values().filter_map(|lane| lane.running.as_ref())
    }

    /// True when the run is the one being answered in its session.
    pub(super) fn is_running(&self, key: &SessionKey, run: &RunId) -> bool {
        self.lanes
            .get(key)
            .is_some_and(|lane| lane.running.as_ref() == Some(run))
    }

    /// How many runs are being answered, and how many wait.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.running, self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> SessionKey {
        SessionKey::parse(&format!("agent:main:{name}")).unwrap()
    }

    fn run(id: &str) -> RunId {
        RunId::parse(id).unwrap()
    }

    fn ids(runs: Vec<RunId>) -> Vec<String> {
        runs.iter().map(ToString::to_string).collect()
    }

    fn drain(queue: &mut Queue) -> Vec<String> {
        ids(std::iter::from_fn(|| queue.next().map(|(_, run)| run)).collect())
    }

    #[test]
    fn a_session_answers_in_order_and_sessions_run_side_by_side() {
        let mut queue = Queue::new(Limits::default());
        for (session, id) in [("a", "a1"), ("a", "a2"), ("b", "b1"), ("a", "a3")] {
            queue.push(key(session), run(id));
        }
        assert_eq!(drain(&mut queue), ["a1", "b1"]);
        assert_eq!(queue.counts(), (2, 2));
        assert_eq!(ids(queue.of_session(&key("a"))), ["a1", "a2", "a3"]);
        queue.finished(&key("b"), &run("b1"));
        assert_eq!(drain(&mut queue), [""; 0]);
        queue.finished(&key("a"), &run("a1"));
        assert_eq!(drain(&mut queue), ["a2"]);
        assert!(!queue.remove(&key("a"), &run("a2")));
        assert!(queue.remove(&key("a"), &run("a3")));
        queue.finished(&key("a"), &run("a2"));
        assert_eq!(queue.counts(), (0, 0));
        assert!(queue.lanes.is_empty() && queue.ready.is_empty());
    }

    #[test]
    fn every_bound_holds() {
        let mut queue = Queue::new(Limits {
            running: 1,
            waiting_in_session: 2,
            waiting: 3,
        });
        for id in ["a1", "a2"] {
            assert!(queue.has_room(&key("a")));
            queue.push(key("a"), run(id));
        }
        assert!(!queue.has_room(&key("a")));
        queue.push(key("b"), run("b1"));
        assert!(!queue.has_room(&key("c")));
        assert_eq!(drain(&mut queue), ["a1"]);
        queue.finished(&key("a"), &run("a1"));
        assert_eq!(drain(&mut queue), ["b1"]);
        queue.finished(&key("b"), &run("b1"));
        assert_eq!(drain(&mut queue), ["a2"]);
    }
}
