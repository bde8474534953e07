//! Sizes and timers of the wire (DESIGN §9, PROTOCOL.md §1.3); every part cites these constants.

use std::time::Duration;

/// The port a gateway listens on when nothing was said.
pub const DEFAULT_PORT: u16 = 18789;
/// The port of the `dev` profile.
pub const DEV_PORT: u16 = 19001;
/// Largest message before hello, in bytes.
pub const MAX_MESSAGE_BEFORE_HELLO: usize = 64 * 1024;
/// Largest message after hello, in bytes.
pub const MAX_MESSAGE: usize = 25 * 1024 * 1024;
/// Bytes of messages that are not complete, of all connections, beyond what each has free.
pub const MAX_IN_FLIGHT: u64 = 64 * 1024 * 1024;
/// JSON values that one frame may hold: each takes up to some hundred bytes of memory.
pub const MAX_VALUES: usize = 200_000;
/// What one connection may have queued before it counts as a slow consumer, in bytes.
pub const MAX_BUFFERED: usize = 8 * 1024 * 1024;
/// tungstenite's read buffer of one socket, in bytes; its own default of 128 KiB is per idle socket.
pub const READ_BUFFER: usize = 4 * 1024;
/// Longest close reason, in bytes of UTF-8.
pub const MAX_CLOSE_REASON: usize = 120;
/// Time between two `tick` events.
pub const TICK_INTERVAL: Duration = Duration::from_secs(30);
/// Time between two WebSocket pings of the gateway, and the time an answer may take.
pub const PING_INTERVAL: Duration = Duration::from_secs(25);
/// From accepting a socket to the end of the HTTP head.
pub const HTTP_HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// From accepting a socket to the first frame.
pub const FIRST_FRAME_DEADLINE: Duration = Duration::from_secs(10);
/// From accepting a socket to hello.
pub const HELLO_DEADLINE: Duration = Duration::from_secs(15);
/// Sockets that have not said hello yet; the oldest silent one makes room.
pub const MAX_BEFORE_HELLO: usize = 128;
/// How far a device signature's time may be off, version 4.
pub const SIGNATURE_SKEW_V4: Duration = Duration::from_secs(120);
/// How far a device signature's time may be off, version 3.
pub const SIGNATURE_SKEW_V3: Duration = Duration::from_secs(600);
/// How long a pairing request waits for an answer.
pub const PAIRING_REQUEST_LIFETIME: Duration = Duration::from_secs(300);

/// Cuts a close reason to what the wire allows, on a character boundary.
pub fn close_reason(text: &str) -> &str {
    if text.len() <= MAX_CLOSE_REASON {
        return text;
    }
    let mut end = MAX_CLOSE_REASON;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Close codes (PROTOCOL.md §1.5).
pub mod close {
    /// Normal.
    pub const NORMAL: u16 = 1000;
    /// Protocol version not spoken here.
    pub const PROTOCOL: u16 = 1002;
    /// A text that is not UTF-8.
    pub const BAD_TEXT: u16 = 1007;
    /// Rejected connect, slow consumer, repeated unauthorized calls.
    pub const POLICY: u16 = 1008;
    /// Message too large.
    pub const TOO_LARGE: u16 = 1009;
    /// The gateway failed.
    pub const INTERNAL: u16 = 1011;
    /// Shutdown or restart.
    pub const RESTART: u16 = 1012;
    /// Gateway starting; try again shortly.
    pub const TRY_AGAIN: u16 = 1013;
    /// Sent by clients that saw no tick.
    pub const TICK_TIMEOUT: u16 = 4000;
    /// The device or its credentials changed.
    pub const AUTH_CHANGED: u16 = 4001;
}
