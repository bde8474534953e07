//! Carries bytes between a local program and a channel. A program that stops reading fills its own
//! ring and is then reset; it never holds the SSH connection up for long.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use crate::tunnel::connection::ChannelStream;
use crate::tunnel::transport::StalledReader;

/// What is kept for a program that does not read: enough for a busy moment of it.
pub(super) const RING: usize = 4 * 1024 * 1024;
/// How long a program may leave its ring full. The SSH connection waits with it.
pub(super) const STALL: Duration = Duration::from_secs(30);
/// One read.
const PIECE: usize = 64 * 1024;
/// An empty ring that grew beyond this gives its memory back.
const KEEP: usize = 256 * 1024;

/// Why a pump stopped before both sides had ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum PumpError {
    #[error("the local program went away: {0}")]
    Local(io::Error),
    #[error("the far side went away: {0}")]
    Far(io::Error),
    #[error("the local program read nothing for {} s", STALL.as_secs())]
    Stalled,
}

/// Limits of a pump.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) ring: usize,
    pub(super) stall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ring: RING,
            stall: STALL,
        }
    }
}

/// Pumps until both directions have ended, one fails, or the far side has closed.
pub(super) async fn pump<R, W>(
    from_local: R,
    to_local: W,
    channel: ChannelStream,
    limits: Limits,
) -> Result<(), PumpError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let (closed, life) = (channel.closed(), channel.life());
    let (from_far, to_far) = tokio::io::split(channel);
    let mut up = std::pin::pin!(carry_up(from_local, to_far));
    let mut down = std::pin::pin!(carry_down(from_far, to_local, limits, || {
        life.stalled_reader()
    }));
    let (mut up_ended, mut down_ended) = (false, false);
    while !(up_ended && down_ended) {
        tokio::select! {
            result = &mut up, if !up_ended => {
                match result {
                    // The far side's last bytes are still to be delivered after it closed.
                    Err(PumpError::Far(_)) if closed.is_cancelled() => {}
                    other => other?,
                }
                up_ended = true;
            }
            result = &mut down, if !down_ended => {
                result?;
                down_ended = true;
            }
            // Nothing takes what the program might still send.
            () = closed.cancelled(), if down_ended => return Ok(()),
        }
    }
    Ok(())
}

/// A ring that is full, or was and has not been emptied by half since.
struct Full {
    until: Instant,
    delivered: usize,
    _mark: StalledReader,
}

impl Full {
    /// Half a ring of progress, not a byte, buys more time: otherwise a reader that trickles would
    /// hold the SSH connection for ever.
    fn progress(&mut self, written: usize, limits: Limits) {
        self.delivered += written;
        if self.delivered >= limits.ring / 2 {
            self.delivered = 0;
            self.until = Instant::now() + limits.stall;
        }
    }
}

async fn carry_up(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
) -> Result<(), PumpError> {
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece).await.map_err(PumpError::Local)? {
            0 => return to.shutdown().await.map_err(PumpError::Far),
            read => to.write_all(&piece[..read]).await.map_err(PumpError::Far)?,
        }
    }
}

async fn carry_down(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    limits: Limits,
    mark_stalled: impl Fn() -> StalledReader,
) -> Result<(), PumpError> {
    let mut ring: VecDeque<u8> = VecDeque::new();
    let mut piece = vec![0; PIECE];
    let mut ended = false;
    let mut full: Option<Full> = None;
    loop {
        if ring.len() >= limits.ring && full.is_none() {
            full = Some(Full {
                until: Instant::now() + limits.stall,
                delivered: 0,
                _mark: mark_stalled(),
            });
        }
        if ring.len() <= limits.ring / 2 {
            full = None;
        }
        let deadline = full.as_ref().map_or_else(Instant::now, |full| full.until);
        let has_room = ring.len() < limits.ring && !ended;
        tokio::select! {
            written = to.write(ring.as_slices().0), if !ring.is_empty() => {
                match written.map_err(PumpError::Local)? {
                    0 => return Err(PumpError::Local(io::ErrorKind::WriteZero.into())),
                    written => {
                        drop(ring.drain(..written));
                        if let Some(full) = &mut full {
                            full.progress(written, limits);
                        }
                    }
                }
                if ring.is_empty() && ring.capacity() > KEEP {
                    ring.shrink_to(KEEP);
                }
            }
            read = from.read(&mut piece), if has_room => {
                match read.map_err(PumpError::Far)? {
                    0 => ended = true,
                    read => ring.extend(&piece[..read]),
                }
            }
            () = tokio::time::sleep_until(deadline), if full.is_some() => {
                return Err(PumpError::Stalled);
            }
            else => return to.shutdown().await.map_err(PumpError::Local),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::transport::Lifeline;

    const SMALL: Limits = Limits {
        ring: 1024 * 1024,
        stall: Duration::from_secs(30),
    };

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_stops_is_reset_after_its_ring_was_full_for_the_limit() {
        let (local, _program) = tokio::io::duplex(1);
        let life = Lifeline::default();
        let started = Instant::now();
        let endless = tokio::io::repeat(7);
        let result = carry_down(endless, local, SMALL, || life.stalled_reader()).await;
        assert!(matches!(result, Err(PumpError::Stalled)));
        assert_eq!(started.elapsed(), SMALL.stall);
        assert!(!life.has_stalled_reader());
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_ring_keeps_the_connection_from_being_taken_for_dead() {
        let (local, mut program) = tokio::io::duplex(64 * 1024);
        let life = Lifeline::default();
        let marker = life.clone();
        let pump = tokio::spawn(async move {
            let endless = tokio::io::repeat(7);
            carry_down(endless, local, SMALL, || marker.stalled_reader()).await
        });
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(life.has_stalled_reader());
        let mut buffer = vec![0; 64 * 1024];
        let mut left: usize = SMALL.ring;
        while left > 0 {
            left = left.saturating_sub(program.read(&mut buffer).await.unwrap());
        }
        tokio::time::sleep(Duration::from_secs(26)).await;
        assert!(!pump.is_finished());
        pump.abort();
    }

    #[tokio::test]
    async fn all_bytes_arrive_in_order_and_the_end_is_passed_on() {
        let sent: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        let (local, mut program) = tokio::io::duplex(1000);
        let source = std::io::Cursor::new(sent.clone());
        let life = Lifeline::default();
        let pump = tokio::spawn(async move {
            carry_down(source, local, SMALL, || life.stalled_reader()).await
        });
        let mut got = Vec::new();
        program.read_to_end(&mut got).await.unwrap();
        assert!(got == sent);
        assert!(pump.await.unwrap().is_ok());
    }
}
