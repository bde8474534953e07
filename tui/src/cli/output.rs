//! The one place that prints: text for people, JSON for programs.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

/// Where answers go.
#[derive(Debug)]
pub(crate) struct Output {
    /// JSON instead of text.
    pub json: bool,
    closed: AtomicBool,
}

impl Output {
    /// Text, or JSON.
    pub fn new(json: bool) -> Self {
        Self {
            json,
            closed: AtomicBool::new(false),
        }
    }

    /// A line of the answer.
    pub fn line(&self, text: &str) {
        self.write(text);
    }

    /// A JSON value on a line of its own.
    pub fn value(&self, value: &Value) {
        self.write(&value.to_string());
    }

    /// A JSON value, laid out for reading.
    pub fn pretty(&self, value: &Value) {
        self.write(&serde_json::to_string_pretty(value).unwrap_or_default());
    }

    /// Something beside the answer, for people; silent in JSON.
    pub fn note(&self, text: &str) {
        if !self.json {
            self.aside(text);
        }
    }

    /// Something that happened meanwhile, for people; in JSON too, where the answer goes on without a
    /// word about it.
    pub fn event(&self, text: &str) {
        self.aside(&format!("clawline: {text}"));
    }

    /// An error, for people.
    pub fn error(&self, text: &str) {
        self.aside(&format!("clawline: {text}"));
    }

    /// True once nobody reads the answer any more.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Text as it is, without a line end.
    pub fn raw(&self, text: &[u8]) {
        let mut out = io::stdout().lock();
        self.watch(out.write_all(text).and_then(|()| out.flush()));
    }

    fn write(&self, text: &str) {
        let mut out = io::stdout().lock();
        self.watch(writeln!(out, "{text}").and_then(|()| out.flush()));
    }

    fn watch(&self, written: io::Result<()>) {
        if written.is_err() {
            self.closed.store(true, Ordering::Relaxed);
        }
    }

    fn aside(&self, text: &str) {
        // When even this cannot be written there is nobody left to tell.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }
}

/// True when a person sits at the keyboard and sees what we ask.
pub(crate) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Writes a question for a person; the terminal may be in raw mode.
pub(crate) fn ask(text: &str) {
    let mut err = io::stderr().lock();
    let _ = err
        .write_all(text.replace('\n', "\r\n").as_bytes())
        .and_then(|()| err.flush());
}
