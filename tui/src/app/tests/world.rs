//! A model to send messages to, and a screen to look at.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clawline::layer::{Layer, LayerError, LayerRows, RowState};
use clawline::protocol::Protocol;
use clawline::protocol::frame::Event;
use clawline::protocol::hello::HelloOk;
use clawline::protocol::methods::chat::{ChatHistoryReply, ChatSendReply};
use clawline::tunnel::status::TunnelStatus;
use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::{Value, json};

use crate::app::effect::Effect;
use crate::app::model::{Keys, Model, Start};
use crate::app::msg::{Done, Msg, Now, Reading};
use crate::app::update::update;
use crate::app::view;
use crate::outbox::Message;
use crate::panes::link::state::LinkState;
use crate::theme::Theme;

pub(super) const SESSION: &str = "agent:main:main";
/// 14:02 UTC on some day.
pub(super) const START_MS: i64 = 1_795_356_120_000;

/// A model, its clock, and the effects it wanted.
pub(super) struct World {
    pub(super) model: Model,
    start: Instant,
    passed: Duration,
}

impl World {
    /// Before the link is up.
    pub(super) fn offline() -> Self {
        Self::with(Theme::new(true, false))
    }

    pub(super) fn with(theme: Theme) -> Self {
        let start = Instant::now();
        let now = Now {
            at: start,
            wall_ms: START_MS,
        };
        let mut model = Model::new(
            Start {
                link: Some(LinkState::new("home".into(), "me@desktop".into())),
                session: None,
                agent: None,
                message: None,
                theme,
                time_zone: TimeZone::UTC,
            },
            now,
        );
        model.keys = Keys::Counting(0);
        Self {
            model,
            start,
            passed: Duration::ZERO,
        }
    }

    /// Linked to our gateway, its empty transcript read.
    pub(super) fn linked() -> Self {
        let mut world = Self::offline();
        world.link_up();
        world.connect(true);
        world.history(json!([]));
        world
    }

    /// Linked to a gateway that does not promise durable answers.
    pub(super) fn linked_to_other() -> Self {
        let mut world = Self::offline();
        world.link_up();
        world.connect(false);
        world.history(json!([]));
        world
    }

    pub(super) fn now(&self) -> Now {
        Now {
            at: self.start + self.passed,
            wall_ms: START_MS + i64::try_from(self.passed.as_millis()).expect("time"),
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.passed += time;
    }

    /// Sends a message; time passes a little.
    pub(super) fn send(&mut self, msg: Msg) -> Vec<Effect> {
        self.pass(Duration::from_millis(1));
        let now = self.now();
        update(&mut self.model, now, msg)
    }

    pub(super) fn done(&mut self, done: Done) -> Vec<Effect> {
        self.send(Msg::Done(done))
    }

    pub(super) fn press(&mut self, code: KeyCode, modifiers: KeyModifiers) -> Vec<Effect> {
        self.send(Msg::Key(KeyEvent::new(code, modifiers)))
    }

    pub(super) fn ctrl(&mut self, c: char) -> Vec<Effect> {
        self.press(KeyCode::Char(c), KeyModifiers::CONTROL)
    }

    pub(super) fn enter(&mut self) -> Vec<Effect> {
        self.press(KeyCode::Enter, KeyModifiers::NONE)
    }

    pub(super) fn type_text(&mut self, text: &str) {
        for c in text.chars() {
            self.press(KeyCode::Char(c), KeyModifiers::NONE);
        }
    }

    /// Types a message, and lets the disk take it. What is wanted then.
    pub(super) fn say(&mut self, text: &str) -> Vec<Effect> {
        self.type_text(text);
        let effects = self.enter();
        self.store(effects)
    }

    /// The disk takes what it was given.
    pub(super) fn store(&mut self, effects: Vec<Effect>) -> Vec<Effect> {
        let mut next = Vec::new();
        for effect in effects {
            if let Effect::Store(message) = effect {
                next.extend(self.done(Done::Stored(message, Ok(()))));
            }
        }
        next
    }

    pub(super) fn link_up(&mut self) {
        let mut rows = LayerRows::default();
        for (layer, ms, detail) in [
            (Layer::Dns, 12, "desktop → 203.0.113.7"),
            (Layer::Tcp, 18, "203.0.113.7:22"),
            (
                Layer::Ssh,
                40,
                "OpenSSH 9.9 · mlkem768x25519 · aes256-gcm · strict kex",
            ),
            (
                Layer::HostKey,
                1,
                "ed25519 SHA256:6ssET1Dm… known_hosts line 12",
            ),
            (Layer::SignIn, 22, "publickey, agent key me@laptop"),
            (
                Layer::Forward,
                3,
                "127.0.0.1:18789 over one channel, no local port",
            ),
            (Layer::Port, 3, "something listens"),
            (Layer::Websocket, 2, "upgraded"),
            (Layer::Hello, 5, "OpenClaw 2026.9.6, protocol 4"),
            (Layer::Token, 0, "accepted"),
            (Layer::Pairing, 0, "paired"),
        ] {
            rows.set(layer, RowState::Ok, Some(Duration::from_millis(ms)), detail);
        }
        let link = LinkState {
            status: TunnelStatus::Up { since: self.start },
            rows,
            notes: vec!["port 18789 and token from ~/.clawline/gateway.json on desktop".into()],
            rtt: Some(Duration::from_millis(24)),
            gateway: Some("2026.9.6".into()),
            protocol: Some(Protocol::V4),
            ..LinkState::new("home".into(), "me@desktop".into())
        };
        self.send(Msg::Link(Box::new(link)));
    }

    /// The link is down at a layer and tries again in three seconds.
    pub(super) fn link_down(&mut self) {
        let why = LayerError::new(Layer::Ssh, "the connection to desktop was lost")
            .peer("connection reset by peer");
        let mut rows = LayerRows::default();
        rows.fail(&why);
        let link = LinkState {
            status: TunnelStatus::Waiting {
                until: self.now().at + Duration::from_secs(3),
                why,
                attempt: 2,
            },
            rows,
            ..LinkState::new("home".into(), "me@desktop".into())
        };
        self.send(Msg::Link(Box::new(link)));
    }

    pub(super) fn connect(&mut self, durable: bool) -> Vec<Effect> {
        let capabilities: &[&str] = if durable {
            &["clawline-gateway", "clawline-durable-ack"]
        } else {
            &[]
        };
        let hello: HelloOk = serde_json::from_value(json!({
            "type": "hello-ok", "protocol": 4,
            "server": {"version": "2026.9.6", "connId": "c"},
            "features": {"methods": [], "events": [], "capabilities": capabilities},
            "snapshot": {"sessionDefaults": {"defaultAgentId": "main", "mainKey": "main", "mainSessionKey": SESSION, "scope": "per-sender"}},
        }))
        .expect("hello");
        self.send(Msg::Connected(Arc::new(hello)))
    }

    pub(super) fn disconnect(&mut self) -> Vec<Effect> {
        self.link_down();
        self.send(Msg::Disconnected("connection reset by peer".into()))
    }

    pub(super) fn event(&mut self, name: &str, payload: Value) -> Vec<Effect> {
        self.send(Msg::Gateway(Arc::new(Event {
            event: name.into(),
            payload,
            seq: None,
            state_version: None,
        })))
    }

    /// A delta with the whole text so far.
    pub(super) fn delta(&mut self, run: &str, seq: u64, text: &str) -> Vec<Effect> {
        self.event(
            "chat",
            json!({"runId": run, "sessionKey": SESSION, "seq": seq, "state": "delta",
            "message": {"role": "assistant", "content": [{"type": "text", "text": text}]}}),
        )
    }

    pub(super) fn end(&mut self, run: &str, state: &str, text: Option<&str>) -> Vec<Effect> {
        let mut payload = json!({"runId": run, "sessionKey": SESSION, "seq": 99, "state": state});
        if let Some(text) = text {
            payload["message"] =
                json!({"role": "assistant", "content": [{"type": "text", "text": text}]});
        }
        if state == "error" {
            payload["errorMessage"] = json!("400 model exploded");
        }
        self.event("chat", payload)
    }

    /// The newest page of history comes.
    pub(super) fn history(&mut self, messages: Value) -> Vec<Effect> {
        let reading = if self.model.chat.cursor.is_some() {
            Reading::After
        } else {
            Reading::Newest
        };
        self.page(reading, messages)
    }

    pub(super) fn page(&mut self, reading: Reading, messages: Value) -> Vec<Effect> {
        let reply = ChatHistoryReply {
            session_key: SESSION.into(),
            messages: serde_json::from_value(messages).expect("messages"),
            ..ChatHistoryReply::default()
        };
        self.done(Done::History {
            session: SESSION.into(),
            reading,
            result: Ok(Box::new(reply)),
        })
    }

    pub(super) fn sent(&mut self, key: &str) -> Vec<Effect> {
        self.done(Done::Sent {
            key: key.into(),
            result: Ok(Box::new(ChatSendReply {
                run_id: key.into(),
                status: "started".into(),
                ..ChatSendReply::default()
            })),
        })
    }

    /// The entries as short texts: who, and what.
    pub(super) fn shown(&self) -> Vec<String> {
        use crate::panes::chat::entry::Kind;
        self.model
            .chat
            .transcript
            .entries()
            .iter()
            .map(|entry| match &entry.kind {
                Kind::User { text, .. } => format!("you: {text}"),
                Kind::Assistant { text, .. } => format!("agent: {text}"),
                Kind::Tool(tool) => format!("tool: {} {}", tool.name, tool.arguments),
                Kind::System(text) | Kind::Note { text, .. } => format!("- {text}"),
            })
            .collect()
    }

    /// The screen as text.
    pub(super) fn screen(&mut self, columns: u16, rows: u16) -> String {
        self.send(Msg::Resize(columns, rows));
        view::layout(&mut self.model);
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).expect("terminal");
        terminal
            .draw(|frame| {
                if let Some(cursor) = view::draw(&self.model, frame.buffer_mut()) {
                    frame.set_cursor_position(cursor);
                }
            })
            .expect("draw");
        crate::widgets::text::of_screen(terminal.backend().buffer())
    }
}

/// The messages that effects send.
pub(super) fn sends(effects: &[Effect]) -> Vec<&Message> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Send(message) => Some(message),
            _ => None,
        })
        .collect()
}

/// Whether effects read history.
pub(super) fn reads(effects: &[Effect]) -> bool {
    effects
        .iter()
        .any(|effect| matches!(effect, Effect::ReadHistory { .. }))
}
