//! A WebSocket over any byte stream, driven by one task.
//!
//! tokio-tungstenite cannot change limits once a socket is open, and what may be sent before hello
//! is much less than after it; so tungstenite is driven here directly.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use clawline::protocol::limits::{self, close};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message, WebSocket};

use super::frames::{Budget, Fragments};
use super::intake::{Held, Intake, Refused};
use crate::policy::Policy;

/// How much is gathered before it is given to the kernel.
const WRITE_BUFFER: usize = 8 * 1024;
/// Pings that are answered while the peer takes nothing; further ones wait in the kernel.
const MAX_UNSENT_PONGS: u32 = 16;

/// Pings that are answered at once, and in the long run a second. Clients need none: we ping.
const PING_BURST: u32 = 200;
const PINGS_A_SECOND: u32 = 50;

/// What a turn of the socket brought.
#[derive(Debug)]
pub(crate) enum Turn {
    /// A message. Binary ones that hold text count as text.
    Text(String),
    /// A message that is no text at all.
    Garbage,
    /// A ping or pong: the peer lives.
    Sign,
    /// Everything written has reached the kernel.
    Flushed,
    /// The peer is gone, or said goodbye.
    Closed,
    /// A message larger than what is allowed now.
    TooLarge,
    /// The peer broke the rules: the code with which it is closed, and why.
    Violation(u16, &'static str),
    /// The connection failed.
    Broken(String),
}

/// One end of a WebSocket connection.
pub(crate) struct Socket<S> {
    ws: WebSocket<Polled<S>>,
    is_flushing: bool,
    /// Pings read since everything that was written reached the kernel.
    unsent_pongs: u32,
    pings: Option<Budget>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// The server's end, after the upgrade; `head` is what came right behind the request.
    pub(crate) fn server(stream: S, head: Vec<u8>, policy: &Policy, room: &Intake) -> Self {
        let limit = policy
            .message_limits
            .then_some(limits::MAX_MESSAGE_BEFORE_HELLO);
        let config = WebSocketConfig::default()
            .read_buffer_size(limits::READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_message_size(limit)
            .max_frame_size(limit)
            .accept_unmasked_frames(!policy.masked_frames);
        let mut stream = Polled {
            stream,
            waker: Waker::noop().clone(),
            is_blocked: false,
            has_moved: false,
            fragments: Fragments::default(),
            caps_fragments: policy.fragment_cap,
            held: policy.message_room.then(|| Held::new(room.clone())),
        };
        // A crowd of fragments goes on after what came right behind the request.
        let _ = stream.count(&head);
        let ws = if head.is_empty() {
            WebSocket::from_raw_socket(stream, Role::Server, Some(config))
        } else {
            WebSocket::from_partially_read(stream, head, Role::Server, Some(config))
        };
        Self {
            ws,
            is_flushing: false,
            unsent_pongs: 0,
            pings: policy
                .ping_budget
                .then(|| Budget::new(PING_BURST, PINGS_A_SECOND)),
        }
    }

    /// Allows messages of full size: the peer has said hello.
    pub(crate) fn raise_limit(&mut self) {
        self.ws.set_config(|config| {
            config.max_message_size = config.max_message_size.and(Some(limits::MAX_MESSAGE));
            config.max_frame_size = config.max_frame_size.and(Some(limits::MAX_MESSAGE));
        });
    }

    /// True while something that was written has not reached the kernel.
    pub(crate) fn is_flushing(&self) -> bool {
        self.is_flushing
    }

    /// Whether something came, be it a part of a message, or a blocked write has gone on since this was
    /// asked last: the peer sends, or takes what it is sent.
    pub(crate) fn has_moved(&mut self) -> bool {
        std::mem::take(&mut self.ws.get_mut().has_moved)
    }

    /// Queues a text; [`Socket::turn`] sends it.
    pub(crate) fn write(&mut self, text: String) -> Result<(), String> {
        self.put(Message::text(text))
    }

    /// Queues a ping.
    pub(crate) fn ping(&mut self) -> Result<(), String> {
        self.put(Message::Ping(Bytes::new()))
    }

    /// Queues the close; the reason is cut to what the wire allows.
    pub(crate) fn close(&mut self, code: u16, reason: &str) {
        self.is_flushing = true;
        // What fails here fails again, and is seen, in the turns that follow.
        let _ = self.ws.close(Some(CloseFrame {
            code: CloseCode::from(code),
            reason: limits::close_reason(reason).into(),
        }));
    }

    fn put(&mut self, message: Message) -> Result<(), String> {
        self.is_flushing = true;
        match self.ws.write(message) {
            Ok(()) => Ok(()),
            // The message is queued all the same.
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Waits until something was read, or until everything is written. Safe to drop and call again.
    ///
    /// With `reads` false nothing is taken from the peer (it has enough under way).
    pub(crate) async fn turn(&mut self, reads: bool) -> Turn {
        std::future::poll_fn(|context| self.poll_turn(context, reads)).await
    }

    fn poll_turn(&mut self, context: &mut Context<'_>, reads: bool) -> Poll<Turn> {
        let polled = self.ws.get_mut();
        if !polled.waker.will_wake(context.waker()) {
            polled.waker = context.waker().clone();
        }
        if self.is_flushing {
            match self.ws.flush() {
                Ok(()) => {
                    self.is_flushing = false;
                    self.unsent_pongs = 0;
                    return Poll::Ready(Turn::Flushed);
                }
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(failed(error)),
            }
        }
        // tungstenite keeps every pong that does not fit, so a peer that only pings is not read on.
        if !reads || self.unsent_pongs >= MAX_UNSENT_PONGS {
            return Poll::Pending;
        }
        match self.ws.read() {
            Ok(Message::Text(text)) => Poll::Ready(Turn::Text(text.as_str().to_owned())),
            Ok(Message::Binary(bytes)) => {
                Poll::Ready(String::from_utf8(bytes.into()).map_or(Turn::Garbage, Turn::Text))
            }
            Ok(Message::Ping(_)) => {
                // tungstenite has queued the pong.
                self.is_flushing = true;
                self.unsent_pongs += 1;
                let is_fair = self.pings.as_mut().is_none_or(Budget::take);
                Poll::Ready(if is_fair {
                    Turn::Sign
                } else {
                    Turn::Violation(close::POLICY, "too many pings")
                })
            }
            Ok(Message::Pong(_) | Message::Frame(_)) => Poll::Ready(Turn::Sign),
            Ok(Message::Close(_)) => {
                self.is_flushing = true;
                Poll::Ready(Turn::Closed)
            }
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            Err(error) => Poll::Ready(failed(error)),
        }
    }

    /// After a close: writes what is left, ends our direction, and lets the peer finish. What it
    /// still sends is read and thrown away: closing with unread bytes would reset the connection,
    /// and the peer might never see why. The caller sets the deadline.
    pub(crate) async fn drain(&mut self) {
        while self.is_flushing {
            if !matches!(self.turn(false).await, Turn::Flushed) {
                break;
            }
        }
        let stream = &mut self.ws.get_mut().stream;
        if stream.shutdown().await.is_err() {
            return;
        }
        let mut waste = [0; 1024];
        while matches!(stream.read(&mut waste).await, Ok(1..)) {}
    }
}

fn failed(error: Error) -> Turn {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => Turn::Closed,
        Error::Capacity(CapacityError::MessageTooLong { .. }) => Turn::TooLarge,
        Error::Io(error) if let Some(excess) = excess(&error) => excess.turn(),
        // The peer is gone; there is nobody to tell.
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            Turn::Broken(error.to_string())
        }
        Error::Protocol(_) => Turn::Violation(close::PROTOCOL, ""),
        Error::Utf8(_) => Turn::Violation(close::BAD_TEXT, ""),
        error => Turn::Broken(error.to_string()),
    }
}

/// Lets a poll-based stream be used by blocking-style code: what is not ready is `WouldBlock`, and
/// the task whose waker was set last is woken.
struct Polled<S> {
    stream: S,
    waker: Waker,
    /// The kernel has taken no more since the last write.
    is_blocked: bool,
    has_moved: bool,
    fragments: Fragments,
    caps_fragments: bool,
    held: Option<Held>,
}

/// A message that is not read on.
#[derive(Debug, Clone, Copy, thiserror::Error)]
enum Excess {
    /// More fragments than anybody needs.
    #[error("too many fragments")]
    Fragments,
    #[error(transparent)]
    Intake(#[from] Refused),
}

impl Excess {
    /// How the peer is told.
    fn turn(self) -> Turn {
        match self {
            Self::Fragments => Turn::Violation(close::POLICY, "too many fragments"),
            Self::Intake(Refused::TooSlow) => {
                Turn::Violation(close::POLICY, "message takes too long")
            }
            Self::Intake(Refused::NoRoom) => {
                Turn::Violation(close::TRY_AGAIN, "too many large messages at once")
            }
        }
    }
}

/// What of ours stands behind an error of the stream.
fn excess(error: &io::Error) -> Option<Excess> {
    error.get_ref()?.downcast_ref::<Excess>().copied()
}

impl<S> Polled<S> {
    /// Counts what came; an error once it is too much.
    fn count(&mut self, bytes: &[u8]) -> Result<(), Excess> {
        if !self.fragments.pass(bytes) && self.caps_fragments {
            return Err(Excess::Fragments);
        }
        if let Some(held) = &mut self.held {
            held.is_now(self.fragments.under_way())?;
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> Read for Polled<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut context = Context::from_waker(&self.waker);
        let mut buf = ReadBuf::new(buf);
        match Pin::new(&mut self.stream).poll_read(&mut context, &mut buf) {
            Poll::Ready(result) => {
                let taken = result.map(|()| buf.filled().len());
                self.has_moved |= matches!(taken, Ok(1..));
                self.count(buf.filled()).map_err(io::Error::other)?;
                taken
            }
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl<S: AsyncWrite + Unpin> Write for Polled<S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let mut context = Context::from_waker(&self.waker);
        match Pin::new(&mut self.stream).poll_write(&mut context, buf) {
            Poll::Ready(result) => {
                self.has_moved |= self.is_blocked && result.is_ok();
                self.is_blocked = false;
                result
            }
            Poll::Pending => {
                self.is_blocked = true;
                Err(io::ErrorKind::WouldBlock.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut context = Context::from_waker(&self.waker);
        match Pin::new(&mut self.stream).poll_flush(&mut context) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    /// Pings of a client, each with 100 bytes that come back in the pong, and a text behind them.
    fn pings() -> Vec<u8> {
        let mut ping = vec![0x89, 0x80 | 100, 0, 0, 0, 0];
        ping.extend([b'x'; 100]);
        let mut bytes = ping.repeat(500);
        bytes.extend([0x81, 0x80 | 2, 0, 0, 0, 0, b'h', b'i']);
        bytes
    }

    /// Moves bytes both ways until nothing moves any more, or until the server has read a text.
    async fn talk(
        client: &mut DuplexStream,
        server: &mut Socket<DuplexStream>,
        bytes: &mut &[u8],
        takes: bool,
    ) -> Option<String> {
        let mut waste = [0; 1024];
        loop {
            // Both ends share this task, which would run out of turns otherwise.
            tokio::task::yield_now().await;
            let mut has_moved = false;
            if let Some(Ok(sent @ 1..)) = client.write(bytes).now_or_never() {
                *bytes = &bytes[sent..];
                has_moved = true;
            }
            if takes {
                has_moved |= client.read(&mut waste).now_or_never().is_some();
            }
            match server.turn(true).now_or_never() {
                Some(Turn::Text(text)) => return Some(text),
                Some(_) => {}
                None if has_moved => {}
                None => return None,
            }
        }
    }

    #[tokio::test]
    async fn a_part_of_a_message_is_a_sign_of_life_and_what_the_kernel_takes_is_none() {
        let (mut client, stream) = duplex(256);
        let policy = Policy::leaving_out(|policy| policy.ping_budget = false);
        let mut server = Socket::server(stream, Vec::new(), &policy, &Intake::default());
        server.ping().unwrap();
        assert!(matches!(server.turn(true).await, Turn::Flushed));
        assert!(!server.has_moved());
        client.write_all(&[0x81, 0x80 | 100, 0, 0]).await.unwrap();
        assert!(server.turn(true).now_or_never().is_none());
        assert!(server.has_moved());
        assert!(!server.has_moved(), "once");
    }

    /// A message of so many bytes, but for its last one.
    fn all_but_the_end(bytes: u32) -> Vec<u8> {
        let mut frame = vec![0x81, 0x80 | 127];
        frame.extend(u64::from(bytes).to_be_bytes());
        frame.extend([0; 4]);
        frame.extend((1..bytes).map(|_| b' '));
        frame
    }

    /// What the server makes of two such messages at a time that share a room of 100 KiB.
    async fn two_halves(policy: &Policy) -> Vec<Option<(u16, &'static str)>> {
        let room = Intake::of(100 << 10);
        let mut told = Vec::new();
        let mut kept = Vec::new();
        for _ in 0..2 {
            let (mut client, stream) = duplex(1 << 20);
            let mut server = Socket::server(stream, Vec::new(), policy, &room);
            server.raise_limit();
            client.write_all(&all_but_the_end(150 << 10)).await.unwrap();
            told.push(match server.turn(true).now_or_never() {
                Some(Turn::Violation(code, why)) => Some((code, why)),
                Some(other) => panic!("{other:?}"),
                None => None,
            });
            kept.push((client, server));
        }
        drop(kept);
        told
    }

    #[tokio::test]
    async fn messages_that_never_end_share_a_room_and_the_one_too_many_is_told() {
        let told = two_halves(&Policy::default()).await;
        let full = (close::TRY_AGAIN, "too many large messages at once");
        assert_eq!(told, [None, Some(full)]);
        let open = Policy::leaving_out(|policy| policy.message_room = false);
        assert_eq!(two_halves(&open).await, [None, None]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_trickles_is_cut() {
        let (mut client, stream) = duplex(1024);
        let policy = Policy::default();
        let mut server = Socket::server(stream, Vec::new(), &policy, &Intake::default());
        client.write_all(&all_but_the_end(100)[..50]).await.unwrap();
        assert!(server.turn(true).now_or_never().is_none());
        tokio::time::advance(std::time::Duration::from_secs(31)).await;
        client.write_all(b" ").await.unwrap();
        let told = server.turn(true).now_or_never();
        assert!(
            matches!(
                told,
                Some(Turn::Violation(close::POLICY, "message takes too long"))
            ),
            "{told:?}"
        );
    }

    #[tokio::test]
    async fn pings_are_not_read_on_while_the_peer_takes_no_pong() {
        let (mut client, stream) = duplex(256);
        let policy = Policy::leaving_out(|policy| policy.ping_budget = false);
        let mut server = Socket::server(stream, Vec::new(), &policy, &Intake::default());
        let all = pings();
        let mut left = all.as_slice();
        assert_eq!(talk(&mut client, &mut server, &mut left, false).await, None);
        let taken = all.len() - left.len();
        assert!(taken < 16 * 1024, "{taken} bytes of pings were taken in");
        let text = talk(&mut client, &mut server, &mut left, true).await;
        assert_eq!(
            text.as_deref(),
            Some("hi"),
            "it goes on once they are taken"
        );
    }
}
