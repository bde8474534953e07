//! How a held tunnel stands, as one value for the status file, the status socket and SIGUSR1.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clawline::layer::{LayerError, RowState, printable};
use clawline::tunnel::Tunnel;
use clawline::tunnel::spec::RemoteEnd;
use clawline::tunnel::status::TunnelStatus;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::ends::End;
use crate::cli::process;

/// How often the counts are looked at; a change of state is seen at once.
const TICK: Duration = Duration::from_secs(1);

/// How a held tunnel stands. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    pub v: u32,
    /// The process that holds it, and when the kernel started that process: together they tell whether
    /// this is of a process that is gone.
    pub pid: u32,
    pub start_time: Option<u64>,
    pub target: String,
    /// `connecting`, `up`, `waiting`, `attention`, `failed`, `paused` or `stopped`.
    pub state: String,
    /// The layer that is worked on or has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<String>,
    /// Up since then, or down since then.
    pub since: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub peer: String,
    /// What a person can do about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub next: String,
    /// When the next try starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<i64>,
    pub rows: Vec<Row>,
    pub forwards: Vec<ForwardState>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<u64>,
    /// Connections that came up so far.
    pub generation: u64,
    pub reconnects: u64,
    /// When the process began to hold it.
    pub started: i64,
    /// The exit code, once it has ended for a reason that a person needs to see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<u8>,
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub layer: String,
    pub state: String,
    pub ms: Option<u64>,
    pub detail: String,
}

/// One local end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ForwardState {
    pub name: String,
    pub local: String,
    /// Empty until the far end is known; `socks` where each program says its own.
    pub remote: String,
    pub open: u64,
    pub total: u64,
    pub refused: u64,
    pub bytes_up: u64,
    pub bytes_down: u64,
}

impl State {
    /// What failed, where the connection is up and yet nobody gets through.
    pub fn broken_row(&self) -> Option<&Row> {
        self.rows.iter().find(|row| row.state == "failed")
    }

    /// True while programs get through, as far as is known.
    pub fn is_good(&self) -> bool {
        self.state == "up" && self.broken_row().is_none()
    }

    /// One line for systemd and for people.
    pub fn sentence(&self) -> String {
        let mut text = match (self.state.as_str(), self.broken_row()) {
            ("up", Some(row)) => format!("up, but {}: {}", row.layer, row.detail),
            ("up", None) => "up".to_owned(),
            (state, _) => match &self.layer {
                Some(layer) => format!("{state}: {layer}"),
                None => state.to_owned(),
            },
        };
        if !self.why.is_empty() {
            text.push_str(&format!(": {}", self.why));
        }
        if !self.next.is_empty() {
            text.push_str(&format!("; next: {}", self.next));
        }
        printable(&text, 400)
    }

    /// The same without what moves all the time.
    pub fn without_counts(&self) -> Self {
        let mut quiet = self.clone();
        quiet.rtt_ms = None;
        for forward in &mut quiet.forwards {
            (forward.open, forward.total, forward.refused) = (0, 0, 0);
            (forward.bytes_up, forward.bytes_down) = (0, 0);
        }
        quiet
    }

    /// After the end, with what a person needs to know.
    pub fn ended(mut self, why: Option<&LayerError>, exit: u8) -> Self {
        self.state = "stopped".into();
        self.retry_at = None;
        self.exit = Some(exit);
        if let Some(why) = why {
            self.blame(why);
        }
        self
    }

    fn blame(&mut self, why: &LayerError) {
        self.layer = Some(why.layer.id().to_owned());
        self.why = why.what.clone();
        self.peer = why.peer_text.clone();
        self.next = why.next.clone();
    }
}

/// Where the state is made from.
pub(super) struct Board {
    label: String,
    started: i64,
    tunnel: Tunnel,
    ends: Arc<Vec<End>>,
    found: watch::Receiver<Option<RemoteEnd>>,
    /// What was seen last, to know since when.
    seen: Mutex<Seen>,
}

struct Seen {
    is_up: bool,
    generation: u64,
    since: i64,
    retry: Option<(Instant, i64)>,
}

impl Board {
    pub fn new(
        label: &str,
        tunnel: Tunnel,
        ends: Arc<Vec<End>>,
        found: watch::Receiver<Option<RemoteEnd>>,
    ) -> Self {
        let now = now_ms();
        Self {
            label: label.to_owned(),
            started: now,
            tunnel,
            ends,
            found,
            seen: Mutex::new(Seen {
                is_up: false,
                generation: 0,
                since: now,
                retry: None,
            }),
        }
    }

    /// How it stands now.
    pub fn now(&self) -> State {
        let view = self.tunnel.view().borrow().clone();
        let found = self.found.borrow().clone();
        let pid = std::process::id();
        let rows = view.rows.rows().iter();
        let mut state = State {
            v: 1,
            pid,
            start_time: process::start_time(pid),
            target: self.label.clone(),
            state: String::new(),
            layer: None,
            since: 0,
            attempt: None,
            why: String::new(),
            peer: String::new(),
            next: String::new(),
            retry_at: None,
            rows: rows
                .filter(|row| row.layer <= clawline::layer::Layer::Port)
                .map(|row| Row {
                    layer: row.layer.id().to_owned(),
                    state: row_state(row.state).to_owned(),
                    ms: row.ms,
                    detail: row.detail.clone(),
                })
                .collect(),
            forwards: self
                .ends
                .iter()
                .map(|end| forward_state(end, found.as_ref()))
                .collect(),
            rtt_ms: self.tunnel.round_trip().map(millis),
            generation: view.generation,
            reconnects: view.generation.saturating_sub(1),
            started: self.started,
            exit: None,
        };
        let mut until = None;
        state.state = match &view.status {
            TunnelStatus::Up { .. } => "up",
            TunnelStatus::Connecting { layer, attempt } => {
                state.layer = Some(layer.id().to_owned());
                state.attempt = Some(*attempt);
                "connecting"
            }
            TunnelStatus::Waiting {
                until: next_try,
                why,
                attempt,
            } => {
                state.blame(why);
                state.attempt = Some(*attempt);
                until = Some(*next_try);
                "waiting"
            }
            TunnelStatus::Attention { why } => {
                state.blame(why);
                "attention"
            }
            TunnelStatus::Failed { why } => {
                state.blame(why);
                "failed"
            }
            TunnelStatus::Paused => "paused",
            TunnelStatus::Stopped => "stopped",
        }
        .to_owned();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let is_up = view.status.is_up();
        if seen.is_up != is_up || (is_up && seen.generation != view.generation) {
            seen.is_up = is_up;
            seen.generation = view.generation;
            seen.since = now_ms();
        }
        state.since = seen.since;
        // The same try is at the same time, however often it is asked for.
        seen.retry = until.map(|until| match seen.retry {
            Some((known, at)) if known == until => (until, at),
            _ => (until, now_ms() + signed_millis(until)),
        });
        state.retry_at = seen.retry.map(|(_, at)| at);
        state
    }

    /// Publishes every change; never returns.
    pub async fn keep(&self, states: &watch::Sender<State>) -> Infallible {
        let (mut view, mut found) = (self.tunnel.view(), self.found.clone());
        let mut is_found = true;
        loop {
            let now = self.now();
            states.send_if_modified(|state| {
                let is_new = *state != now;
                *state = now;
                is_new
            });
            tokio::select! {
                Ok(()) = view.changed() => {}
                changed = found.changed(), if is_found => is_found = changed.is_ok(),
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }
}

fn forward_state(end: &End, found: Option<&RemoteEnd>) -> ForwardState {
    let counts = end.forward.counts();
    let remote = match end.socks {
        true => "socks".to_owned(),
        false => end
            .remote
            .as_ref()
            .or(found)
            .map(ToString::to_string)
            .unwrap_or_default(),
    };
    ForwardState {
        name: end.name.clone(),
        local: end.forward.local().to_string(),
        remote,
        open: counts.open,
        total: counts.total,
        refused: counts.refused,
        bytes_up: counts.bytes_up,
        bytes_down: counts.bytes_down,
    }
}

fn row_state(state: RowState) -> &'static str {
    match state {
        RowState::Waiting => "waiting",
        RowState::Busy => "busy",
        RowState::Ok => "ok",
        RowState::Failed => "failed",
        RowState::Skipped => "skipped",
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn signed_millis(until: Instant) -> i64 {
    let left = until.saturating_duration_since(Instant::now());
    i64::try_from(left.as_millis()).unwrap_or(i64::MAX)
}
