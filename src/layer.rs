//! The layers between a laptop and its gateway, in the order in which they come up, and the one
//! error shape that every connecting command reports.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// One layer of the way to the gateway. The order is the order in which they are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// The host name is resolved to addresses.
    Dns,
    /// A TCP connection to the SSH port (or to the gateway, when direct).
    Tcp,
    /// SSH banner and key exchange.
    Ssh,
    /// The server's host key is compared with known_hosts.
    HostKey,
    /// SSH user authentication.
    SignIn,
    /// The SSH server's permission to open a forwarded channel.
    Forward,
    /// Something listens on the far port.
    Port,
    /// The far port speaks WebSocket, inside TLS where that is asked for.
    Websocket,
    /// The gateway's challenge and hello.
    Hello,
    /// The gateway accepts our token or password.
    Token,
    /// The gateway accepts our device.
    Pairing,
}

impl Layer {
    /// Every layer, first to last.
    pub const ALL: [Self; 11] = [
        Self::Dns,
        Self::Tcp,
        Self::Ssh,
        Self::HostKey,
        Self::SignIn,
        Self::Forward,
        Self::Port,
        Self::Websocket,
        Self::Hello,
        Self::Token,
        Self::Pairing,
    ];

    /// The stable id, as in JSON output.
    pub fn id(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Tcp => "tcp",
            Self::Ssh => "ssh",
            Self::HostKey => "hostkey",
            Self::SignIn => "signin",
            Self::Forward => "forward",
            Self::Port => "port",
            Self::Websocket => "websocket",
            Self::Hello => "hello",
            Self::Token => "token",
            Self::Pairing => "pairing",
        }
    }

    /// The process exit code when this layer is where it stopped (DESIGN §4).
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Dns | Self::Tcp | Self::Ssh => 3,
            Self::HostKey => 4,
            Self::SignIn => 5,
            Self::Forward | Self::Port => 6,
            Self::Websocket | Self::Hello | Self::Token | Self::Pairing => 7,
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// Why a layer did not come up, in words for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct LayerError {
    /// Where it stopped.
    pub layer: Layer,
    /// What happened, one plain sentence that names the thing (host, port, file).
    pub what: String,
    /// The peer's own words, cleaned of control characters; empty when it said nothing.
    pub peer_text: String,
    /// The next step, empty when there is nothing to do but wait.
    pub next: String,
    /// What the supervisor may do about it.
    pub retry: Retry,
    /// What it means for the tries after it.
    pub(crate) sign: Sign,
}

/// What a failure means for the tries after it, beside how soon they may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Sign {
    #[default]
    None,
    /// The server dropped the connection before it said anything. Several in a row may be a penalty.
    Dropped,
    /// The server turns this address away for a while; each try makes that longer.
    Penalty,
}

/// What may be done by itself after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Retry {
    /// The far side refused at once or has no route: cheap to try again quickly.
    Soon,
    /// A timeout or a reset: try again with growing, jittered delays.
    Backoff,
    /// It passes by itself and looking costs nothing: try again every half minute.
    Steady,
    /// A person should look, and yet it may pass by itself: try again, a minute later at the earliest.
    Later,
    /// A person has to do something first; never hammer.
    Attention,
    /// Trying again cannot help (bad usage, unreadable file, changed host key).
    Never,
}

impl LayerError {
    /// A failure that is worth trying again with growing delays.
    pub fn new(layer: Layer, what: impl Into<String>) -> Self {
        Self {
            layer,
            what: what.into(),
            peer_text: String::new(),
            next: String::new(),
            retry: Retry::Backoff,
            sign: Sign::None,
        }
    }

    /// Adds the peer's own words; control characters are made visible and the length is bounded.
    #[must_use]
    pub fn peer(mut self, text: &str) -> Self {
        self.peer_text = printable(text, 512);
        self
    }

    /// Adds the next step.
    #[must_use]
    pub fn next(mut self, step: impl Into<String>) -> Self {
        self.next = step.into();
        self
    }

    /// Says what may be done by itself.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Says what it means for the tries after it.
    #[must_use]
    pub(crate) fn sign(mut self, sign: Sign) -> Self {
        self.sign = sign;
        self
    }

    /// Makes it a penalty, which is waited out.
    #[must_use]
    pub(crate) fn penalty(self) -> Self {
        self.next("earlier failed sign-ins are the reason; it passes by itself")
            .retry(Retry::Later)
            .sign(Sign::Penalty)
    }
}

/// How far one layer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RowState {
    /// Not reached yet.
    Waiting,
    /// Under way.
    Busy,
    /// Up.
    Ok,
    /// It stopped here.
    Failed,
    /// Does not apply on this way (no SSH for a direct connection).
    Skipped,
}

/// One line of the link pane and one member of `rows` in JSON output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayerRow {
    /// Which layer.
    pub layer: Layer,
    /// How far it has come.
    pub state: RowState,
    /// How long it took, in milliseconds.
    pub ms: Option<u64>,
    /// What it is or why it failed, e.g. `desktop → 203.0.113.7`.
    pub detail: String,
}

/// The rows of all layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct LayerRows(Vec<LayerRow>);

impl Default for LayerRows {
    fn default() -> Self {
        Self(
            Layer::ALL
                .into_iter()
                .map(|layer| LayerRow {
                    layer,
                    state: RowState::Waiting,
                    ms: None,
                    detail: String::new(),
                })
                .collect(),
        )
    }
}

impl LayerRows {
    /// The rows, first layer first.
    pub fn rows(&self) -> &[LayerRow] {
        &self.0
    }

    /// The row of one layer.
    pub fn row(&self, layer: Layer) -> Option<&LayerRow> {
        self.0.iter().find(|row| row.layer == layer)
    }

    /// Replaces the row of one layer.
    pub fn set(&mut self, layer: Layer, state: RowState, ms: Option<Duration>, detail: &str) {
        if let Some(row) = self.0.iter_mut().find(|row| row.layer == layer) {
            row.state = state;
            row.ms = ms.map(|ms| u64::try_from(ms.as_millis()).unwrap_or(u64::MAX));
            row.detail = printable(detail, 512);
        }
    }

    /// Marks a failure and puts every later layer back to waiting.
    pub fn fail(&mut self, error: &LayerError) {
        self.set(error.layer, RowState::Failed, None, &error.what);
        for row in &mut self.0 {
            if row.layer > error.layer {
                row.state = RowState::Waiting;
                row.ms = None;
                row.detail.clear();
            }
        }
    }

    /// Puts `from` and every later layer back to waiting.
    pub fn reset_from(&mut self, from: Layer) {
        for row in self.0.iter_mut().filter(|row| row.layer >= from) {
            row.state = RowState::Waiting;
            row.ms = None;
            row.detail.clear();
        }
    }
}

/// Makes foreign text safe to show on one line: control and direction-changing characters become
/// visible escapes, and at most `max_chars` characters remain.
pub fn printable(text: &str, max_chars: usize) -> String {
    let mut out = String::new();
    for c in text.chars().take(max_chars) {
        match c {
            '\n' | '\t' => out.push(' '),
            '\r' => {}
            c if is_unsafe_to_show(c) => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// Control characters, bidirectional controls, and characters of no width that hide text.
pub fn is_unsafe_to_show(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}' | '\u{2029}'
            | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{2069}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}'
            | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_of_a_peer_become_visible() {
        let error = LayerError::new(Layer::Ssh, "x").peer("a\u{1b}[2Jb\u{202e}c\r\nd");
        assert_eq!(error.peer_text, "a\\u{1b}[2Jb\\u{202e}c d");
    }

    #[test]
    fn a_failure_puts_later_layers_back_to_waiting() {
        let mut rows = LayerRows::default();
        rows.set(Layer::Port, RowState::Ok, None, "up");
        rows.fail(&LayerError::new(Layer::SignIn, "refused"));
        assert_eq!(
            rows.row(Layer::SignIn).map(|r| r.state),
            Some(RowState::Failed)
        );
        assert_eq!(
            rows.row(Layer::Port).map(|r| r.state),
            Some(RowState::Waiting)
        );
    }
}
