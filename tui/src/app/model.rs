//! Everything the app knows; `draw` reads it and nothing else.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clawline::layer::LayerError;
use clawline::protocol::hello::{CAPABILITY_CLAWLINE, CAPABILITY_DURABLE_ACK, HelloOk};
use clawline::protocol::methods::agents::CommandRow;
use clawline::tunnel::status::TunnelStatus;
use jiff::tz::TimeZone;

use super::approvals::Approvals;
use super::msg::Now;
use super::overlay::Overlay;
use super::prompt::Question;
use crate::outbox::Queue;
use crate::panes::chat::state::Chat;
use crate::panes::health::state::{Health, INTERVAL};
use crate::panes::link::state::LinkState;
use crate::panes::sessions::state::Sessions;
use crate::theme::Theme;

/// Time between two frames of a spinner.
pub(crate) const SPINNER_STEP: Duration = Duration::from_millis(125);
/// Time between two steps of a countdown.
const COUNTDOWN_STEP: Duration = Duration::from_secs(1);
/// Time between two looks at "3m ago".
const AGE_STEP: Duration = Duration::from_secs(30);
/// How long a remark at the bottom stays.
pub(crate) const REMARK_TIME: Duration = Duration::from_secs(6);
/// Smallest screen that shows more than one sentence.
pub(crate) const MIN_COLUMNS: u16 = 40;
/// See `MIN_COLUMNS`.
pub(crate) const MIN_ROWS: u16 = 12;
/// From here on the sessions stand beside the chat.
const WIDE_COLUMNS: u16 = 100;
/// See `WIDE_COLUMNS`.
const WIDE_ROWS: u16 = 20;

/// Where keys go when nothing is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Focus {
    /// The input.
    Composer,
    /// The list of sessions.
    Sessions,
}

/// The screen that asks for a target, because nothing is configured.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct FirstRun {
    /// What is typed.
    pub(crate) text: String,
    /// Why the last try was refused.
    pub(crate) trouble: Option<String>,
}

/// Where idempotency keys come from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Keys {
    /// Random.
    Random,
    /// `key-1`, `key-2`, …, for tests.
    #[cfg(test)]
    Counting(u32),
}

impl Keys {
    /// A new key.
    pub(crate) fn new_key(&mut self) -> String {
        match self {
            Self::Random => uuid::Uuid::new_v4().to_string(),
            #[cfg(test)]
            Self::Counting(count) => {
                *count += 1;
                format!("key-{count}")
            }
        }
    }
}

/// What the app starts with.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    /// The link, or nothing when there is no target yet.
    pub(crate) link: Option<LinkState>,
    /// `--session`.
    pub(crate) session: Option<String>,
    /// `--agent`.
    pub(crate) agent: Option<String>,
    /// `--message`.
    pub(crate) message: Option<String>,
    /// How things look.
    pub(crate) theme: Theme,
    /// For the times of messages.
    pub(crate) time_zone: TimeZone,
}

/// The model.
#[derive(Debug)]
pub(crate) struct Model {
    /// The time of the last message.
    pub(crate) now: Now,
    /// Columns and rows.
    pub(crate) size: (u16, u16),
    /// How things look.
    pub(crate) theme: Theme,
    /// For the times of messages.
    pub(crate) time_zone: TimeZone,
    /// Counts ticks, for spinners.
    pub(crate) frame: u64,
    /// Where keys go.
    pub(crate) focus: Focus,
    /// What is open.
    pub(crate) overlay: Option<Overlay>,
    /// Questions, the first one is shown.
    pub(crate) questions: VecDeque<Question>,
    /// The person closed the question for the token.
    pub(crate) token_dismissed: bool,
    /// The link.
    pub(crate) link: LinkState,
    /// The hello, while connected.
    pub(crate) hello: Option<Arc<HelloOk>>,
    /// When the connection was lost.
    pub(crate) lost: Option<Now>,
    /// The trouble for which the link page was opened.
    pub(crate) shown_trouble: Option<LayerError>,
    /// The sessions.
    pub(crate) sessions: Sessions,
    /// The list is being read; and has to be read again.
    pub(crate) listing: Option<bool>,
    /// The chat.
    pub(crate) chat: Chat,
    /// Health.
    pub(crate) health: Health,
    /// Messages on their way.
    pub(crate) outbox: Queue,
    /// The gateway's own commands.
    pub(crate) commands: Vec<CommandRow>,
    /// Commands that wait for a yes or no.
    pub(crate) approvals: Approvals,
    /// A remark at the bottom, until when, and whether something failed.
    pub(crate) remark: Option<(String, Instant, bool)>,
    /// Ctrl+C was pressed.
    pub(crate) quit_armed: Option<Instant>,
    /// When the draft is to be written.
    pub(crate) draft_due: Option<Instant>,
    /// The first-run screen.
    pub(crate) first_run: Option<FirstRun>,
    /// `--session` and `--agent`, until the gateway told its defaults.
    pub(crate) wanted: (Option<String>, Option<String>),
    /// `--message`, until it went to the outbox.
    pub(crate) first_message: Option<String>,
    /// Where keys come from.
    pub(crate) keys: Keys,
}

impl Model {
    /// The state before anything happened.
    pub(crate) fn new(start: Start, now: Now) -> Self {
        let first_run = start.link.is_none().then(FirstRun::default);
        let agent = start.agent.as_deref().unwrap_or("main");
        let session = full_key(start.session.as_deref().unwrap_or("main"), agent);
        Self {
            now,
            size: (80, 24),
            theme: start.theme,
            time_zone: start.time_zone,
            frame: 0,
            focus: Focus::Composer,
            overlay: None,
            questions: VecDeque::new(),
            token_dismissed: false,
            link: start
                .link
                .unwrap_or_else(|| LinkState::new(String::new(), String::new())),
            hello: None,
            lost: None,
            shown_trouble: None,
            sessions: Sessions::default(),
            listing: None,
            chat: Chat::new(session, true),
            health: Health::default(),
            outbox: Queue::default(),
            commands: Vec::new(),
            approvals: Approvals::default(),
            remark: None,
            quit_armed: None,
            draft_due: None,
            first_run,
            wanted: (start.session, start.agent),
            first_message: start.message,
            keys: Keys::Random,
        }
    }

    /// Whether calls can be made.
    pub(crate) fn is_linked(&self) -> bool {
        self.hello.is_some()
    }

    /// Whether the gateway's answer to `chat.send` means that the message is on its disk.
    pub(crate) fn is_durable(&self) -> bool {
        self.has(CAPABILITY_DURABLE_ACK)
    }

    /// Whether the gateway is ours.
    pub(crate) fn is_ours(&self) -> bool {
        self.has(CAPABILITY_CLAWLINE)
    }

    fn has(&self, capability: &str) -> bool {
        self.hello
            .as_ref()
            .is_some_and(|hello| hello.is_capable(capability))
    }

    /// The gateway's default agent.
    pub(crate) fn default_agent(&self) -> &str {
        self.hello
            .as_ref()
            .and_then(|hello| hello.snapshot.session_defaults.as_ref())
            .map(|defaults| defaults.default_agent_id.as_str())
            .filter(|agent| !agent.is_empty())
            .unwrap_or("main")
    }

    /// Whether the sessions stand beside the chat.
    pub(crate) fn is_wide(&self) -> bool {
        self.size.0 >= WIDE_COLUMNS && self.size.1 >= WIDE_ROWS
    }

    /// Whether there is room for more than one sentence.
    pub(crate) fn is_tiny(&self) -> bool {
        self.size.0 < MIN_COLUMNS || self.size.1 < MIN_ROWS
    }

    /// Whether health is on screen.
    pub(crate) fn shows_health(&self) -> bool {
        self.first_run.is_none()
            && !self.is_tiny()
            && (self.is_wide() || matches!(self.overlay, Some(Overlay::Health(_))))
    }

    /// Says something at the bottom for a while.
    pub(crate) fn remark(&mut self, text: impl Into<String>, bad: bool) {
        self.remark = Some((text.into(), self.now.at + REMARK_TIME, bad));
    }

    /// How long nothing has to move by itself; `None` when nothing will.
    pub(crate) fn next_tick(&self) -> Option<Duration> {
        let until = |at: Instant| {
            at.saturating_duration_since(self.now.at)
                .max(Duration::from_millis(10))
        };
        let mut steps: Vec<Duration> = Vec::new();
        let is_moving = !self.theme.is_plain()
            && (!self.chat.runs.is_empty()
                || matches!(self.link.status, TunnelStatus::Connecting { .. }));
        if is_moving {
            steps.push(SPINNER_STEP);
        } else if !self.chat.runs.is_empty()
            || matches!(
                self.link.status,
                TunnelStatus::Connecting { .. } | TunnelStatus::Waiting { .. }
            )
        {
            steps.push(COUNTDOWN_STEP);
        }
        if self.is_linked() && self.shows_health() {
            steps.push(INTERVAL);
        }
        if self.is_wide() && !self.sessions.items.is_empty() {
            steps.push(AGE_STEP);
        }
        steps.extend(self.remark.as_ref().map(|(_, end, _)| until(*end)));
        steps.extend(self.draft_due.map(until));
        steps.into_iter().min()
    }
}

/// A session key in full: `work` → `agent:main:work`.
pub(crate) fn full_key(key: &str, agent: &str) -> String {
    if key.starts_with("agent:") || matches!(key, "global" | "unknown") {
        key.to_owned()
    } else {
        format!("agent:{agent}:{key}")
    }
}
