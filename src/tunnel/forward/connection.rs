//! One connection of a local program: who it is, the way to the far end, and how it ends.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::layer::LayerError;
use crate::tunnel::connection::ChannelStream;
use crate::tunnel::spec::RemoteEnd;
use crate::tunnel::supervisor::Tunnel;

use super::counts::OpenMark;
use super::gate::Gate;
use super::listener::{Local, Visitor};
use super::pump::{Limits, pump};
use super::socks::{self, Version};

/// How long a connection that was accepted waits for the tunnel.
const HOLD: Duration = Duration::from_secs(10);
/// How many wait at a time while the tunnel is down; more are closed at once.
const MAX_WAITING: usize = 1024;
/// How long a program that is turned away may go on sending: closing with its bytes unread would be a
/// reset, which some programs do not tell from a crash.
const FAREWELL: Duration = Duration::from_millis(250);
/// How much of that is read.
const FAREWELL_BYTES: u64 = 64 * 1024;

/// Where connections go.
#[derive(Debug)]
pub(super) enum Towards {
    /// To one far end, the one that is known now.
    Found(watch::Receiver<Option<RemoteEnd>>),
    /// Where each program asks for, by SOCKS.
    Asked,
}

/// The way that all connections of one local end take.
#[derive(Debug)]
pub(super) struct Way {
    tunnel: Tunnel,
    towards: Towards,
    gate: Gate,
    waiting: Semaphore,
}

impl Way {
    pub(super) fn new(tunnel: Tunnel, towards: Towards) -> Self {
        Self {
            tunnel,
            towards,
            gate: Gate::default(),
            waiting: Semaphore::new(MAX_WAITING),
        }
    }

    /// A channel for a program; says to the program how that went where it speaks SOCKS.
    async fn channel_for<S>(&self, stream: &mut S) -> Option<ChannelStream>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        match &self.towards {
            Towards::Found(remote) => {
                let until = Instant::now() + HOLD;
                let remote = self.found(remote.clone(), until).await?;
                let open = || self.open(&remote, until);
                told(self.gate.through(open).await)
            }
            Towards::Asked => {
                let asked = timeout(socks::HANDSHAKE, socks::request(stream)).await;
                let (version, remote) = match asked {
                    Ok(Ok(asked)) => asked,
                    Ok(Err(error)) => {
                        tracing::debug!(%error, "no SOCKS request");
                        return None;
                    }
                    Err(_) => return None,
                };
                let opened = self.open(&remote, Instant::now() + HOLD).await;
                let answered = answer(stream, version, &opened).await;
                told(opened).filter(|_| answered)
            }
        }
    }

    async fn found(
        &self,
        mut remote: watch::Receiver<Option<RemoteEnd>>,
        until: Instant,
    ) -> Option<RemoteEnd> {
        if let Some(known) = remote.borrow_and_update().clone() {
            return Some(known);
        }
        let _place = self.waiting.try_acquire().ok()?;
        let found = timeout_at(until, remote.wait_for(Option::is_some)).await;
        match found {
            Ok(Ok(remote)) => remote.clone(),
            Ok(Err(_)) | Err(_) => {
                tracing::debug!("no far end is known for a local connection");
                None
            }
        }
    }

    async fn open(&self, remote: &RemoteEnd, until: Instant) -> Result<ChannelStream, LayerError> {
        let left = until.saturating_duration_since(Instant::now());
        let asked = matches!(self.towards, Towards::Asked);
        let is_up = self.tunnel.view().borrow().status.is_up();
        let _place = match is_up {
            true => None,
            // Without a place it goes through at once or not at all.
            false => match self.waiting.try_acquire() {
                Ok(place) => Some(place),
                Err(_) => {
                    return self
                        .tunnel
                        .open_forwarded(remote, Duration::ZERO, asked)
                        .await;
                }
            },
        };
        self.tunnel.open_forwarded(remote, left, asked).await
    }
}

fn told(opened: Result<ChannelStream, LayerError>) -> Option<ChannelStream> {
    match opened {
        Ok(channel) => Some(channel),
        Err(error) => {
            tracing::debug!(layer = %error.layer, %error, "no way through for a local connection");
            None
        }
    }
}

async fn answer<S: AsyncWrite + Unpin>(
    stream: &mut S,
    version: Version,
    opened: &Result<ChannelStream, LayerError>,
) -> bool {
    let outcome = opened.as_ref().map(|_| ());
    let answered = timeout(socks::HANDSHAKE, socks::answer(stream, version, outcome)).await;
    matches!(answered, Ok(Ok(())))
}

/// Serves one connection to its end.
pub(super) async fn serve(local: Local, anybody: bool, way: std::sync::Arc<Way>, mark: OpenMark) {
    if !anybody && let Visitor::Other(uid) = local.visitor() {
        tracing::warn!(?uid, "a connection of another user was refused");
        mark.refused();
        return;
    }
    let limits = Limits::within(way.tunnel.room());
    match local {
        Local::Tcp(mut stream) => {
            let Some(channel) = way.channel_for(&mut stream).await else {
                mark.refused();
                return farewell(&mut stream).await;
            };
            // Whatever ends it early, this call being dropped too, is a reset: a clean end would look
            // like the whole answer to the program.
            reset_on_close(&stream, true);
            let (read, write) = stream.split();
            let (read, write) = (mark.up(read), mark.down(write));
            match pump(read, write, channel, limits).await {
                Ok(()) => reset_on_close(&stream, false),
                Err(error) => tracing::debug!(%error, "local connection ended early"),
            }
        }
        #[cfg(unix)]
        Local::Unix(mut stream) => {
            let Some(channel) = way.channel_for(&mut stream).await else {
                mark.refused();
                return farewell(&mut stream).await;
            };
            let (read, write) = stream.split();
            let (read, write) = (mark.up(read), mark.down(write));
            if let Err(error) = pump(read, write, channel, limits).await {
                tracing::debug!(%error, "local connection ended early");
            }
        }
    }
}

/// Ends a connection that came to nothing, so that the program sees a plain end.
async fn farewell<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let _ = stream.shutdown().await;
    let mut rest = stream.take(FAREWELL_BYTES);
    let mut nowhere = tokio::io::sink();
    let reading = tokio::io::copy(&mut rest, &mut nowhere);
    let _ = timeout(FAREWELL, reading).await;
}

/// Whether closing `stream` tells the program that something was lost.
fn reset_on_close(stream: &TcpStream, reset: bool) {
    let linger = reset.then_some(Duration::ZERO);
    let _ = socket2::SockRef::from(stream).set_linger(linger);
}
