//! Carries bytes between a local program and a channel, piece by piece and without copies of its own.
//!
//! russh gives the server new credit for what it has received, not for what was read, so a program that
//! stops reading cannot slow its own channel down: it fills its ring here, and then holds up the whole SSH
//! connection. It may do so for as long as it likes while it is alone there. Where others wait behind it,
//! it gets more memory first and is reset in the end.

use std::io::{self, IoSlice};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use crate::tunnel::bulk::Room;
use crate::tunnel::connection::{ChannelStream, FarReader, FarWriter, Swollen};
use crate::tunnel::transport::StalledReader;

use super::ring::{Ring, SLICES};

/// What is kept for a program that does not read, when nobody waits behind it.
pub(super) const RING: usize = 4 * 1024 * 1024;
/// How long a program may hold others up.
pub(super) const STALL: Duration = Duration::from_secs(30);
/// How often a program that holds nobody up is looked at again after that.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// One read of a busy program, and of a quiet one: a thousand quiet connections should cost little.
const PIECE: usize = 64 * 1024;
const SMALL_PIECE: usize = 4 * 1024;

/// Why a pump stopped before both sides had ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum PumpError {
    #[error("the local program went away: {0}")]
    Local(io::Error),
    #[error("the far side went away: {0}")]
    Far(io::Error),
    #[error("the local program read nothing for {} s while others waited", STALL.as_secs())]
    Stalled,
}

/// Limits of a pump.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    /// What is kept when nobody waits behind the program.
    pub(super) ring: usize,
    pub(super) stall: Duration,
    /// What all pumps may keep together.
    pub(super) room: Room,
}

impl Limits {
    pub(super) fn within(room: Room) -> Self {
        Self {
            ring: RING,
            stall: STALL,
            room,
        }
    }
}

/// Where pieces come from, and what else is known of the way they come.
pub(super) trait Source {
    /// The next piece; `None` at the end. Cancel safe.
    fn next(&mut self) -> impl Future<Output = io::Result<Option<Bytes>>> + Send;
    /// The next piece if it is here already.
    fn next_if_here(&mut self) -> Option<io::Result<Option<Bytes>>>;
    /// Held while nothing is taken.
    fn stalled(&self) -> StalledReader;
    /// Held while much more waits here than usual.
    fn swollen(&self) -> Swollen;
    /// Whether others wait when nothing is taken.
    fn has_company(&self) -> bool;
}

impl Source for FarReader {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        FarReader::next(self).await
    }

    fn next_if_here(&mut self) -> Option<io::Result<Option<Bytes>>> {
        FarReader::next_if_here(self)
    }

    fn stalled(&self) -> StalledReader {
        FarReader::stalled(self)
    }

    fn swollen(&self) -> Swollen {
        FarReader::swollen(self)
    }

    fn has_company(&self) -> bool {
        FarReader::has_company(self)
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
    let (from_far, to_far) = channel.into_halves();
    let closed = to_far.closed();
    let mut up = std::pin::pin!(carry_up(from_local, to_far));
    let mut down = std::pin::pin!(carry_down(from_far, to_local, limits));
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

async fn carry_up(mut from: impl AsyncRead + Unpin, to: FarWriter) -> Result<(), PumpError> {
    let mut buffer = BytesMut::new();
    let mut piece = SMALL_PIECE;
    loop {
        buffer.reserve(piece);
        let read = from.read_buf(&mut buffer).await.map_err(PumpError::Local)?;
        if read == 0 {
            return to.finish().await.map_err(PumpError::Far);
        }
        piece = next_size(piece, read);
        let data = buffer.split().freeze();
        if buffer.capacity() < SMALL_PIECE {
            // Else the rest would keep all of the last one alive.
            buffer = BytesMut::new();
        }
        to.send(data).await.map_err(PumpError::Far)?;
    }
}

/// How much to ask for after a read that asked for `piece` and got `read`.
fn next_size(piece: usize, read: usize) -> usize {
    if read >= piece {
        (piece * 4).min(PIECE)
    } else if read < piece / 4 {
        (piece / 2).max(SMALL_PIECE)
    } else {
        piece
    }
}

/// A ring that is full, or was and has not been emptied by half since.
struct Full {
    until: Instant,
    delivered: usize,
    _mark: StalledReader,
}

impl Full {
    fn new(limits: &Limits, mark: StalledReader) -> Self {
        Self {
            until: Instant::now() + limits.stall,
            delivered: 0,
            _mark: mark,
        }
    }

    /// Half a ring of progress, not a byte, buys more time: otherwise a reader that trickles would
    /// hold the SSH connection for ever.
    fn progress(&mut self, written: usize, limits: &Limits) {
        self.delivered += written;
        if self.delivered >= limits.ring / 2 {
            self.delivered = 0;
            self.until = Instant::now() + limits.stall;
        }
    }
}

async fn carry_down(
    mut from: impl Source,
    mut to: impl AsyncWrite + Unpin,
    limits: Limits,
) -> Result<(), PumpError> {
    let mut ring = Ring::new(limits.room.clone());
    let mut ended = false;
    let mut full: Option<Full> = None;
    let mut swollen: Option<Swollen> = None;
    loop {
        take_what_is_here(&mut from, &mut ring, &mut ended, &limits)?;
        if ring.is_full() && full.is_none() {
            full = Some(Full::new(&limits, from.stalled()));
        } else if ring.is_relieved() {
            full = None;
        }
        if ring.allowed() > limits.ring {
            swollen.get_or_insert_with(|| from.swollen());
        } else {
            swollen = None;
        }
        let deadline = full.as_ref().map_or_else(Instant::now, |full| full.until);
        let has_room = !ring.is_full() && !ended;
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = ring.slices(&mut slices);
        tokio::select! {
            written = to.write_vectored(&slices[..count]), if count > 0 => {
                match written.map_err(PumpError::Local)? {
                    0 => return Err(PumpError::Local(io::ErrorKind::WriteZero.into())),
                    written => {
                        ring.advance(written);
                        if let Some(full) = &mut full {
                            full.progress(written, &limits);
                        }
                    }
                }
            }
            read = from.next(), if has_room => match read.map_err(PumpError::Far)? {
                Some(piece) => ring.push(piece),
                None => ended = true,
            },
            () = tokio::time::sleep_until(deadline), if full.is_some() => {
                if from.has_company() || limits.room.is_crowded() {
                    return Err(PumpError::Stalled);
                }
                if let Some(full) = &mut full {
                    full.until = Instant::now() + LOOK_AGAIN;
                }
            }
            else => return to.shutdown().await.map_err(PumpError::Local),
        }
    }
}

/// Fills the ring with what has come already, so that many pieces are written at once.
fn take_what_is_here(
    from: &mut impl Source,
    ring: &mut Ring,
    ended: &mut bool,
    limits: &Limits,
) -> Result<(), PumpError> {
    while !*ended {
        if ring.is_full() {
            let limit = match from.has_company() {
                true => usize::MAX,
                false => limits.ring,
            };
            if !ring.grow(limit) {
                return Ok(());
            }
        }
        match from.next_if_here() {
            Some(Ok(Some(piece))) => ring.push(piece),
            Some(Ok(None)) => *ended = true,
            Some(Err(error)) => return Err(PumpError::Far(error)),
            None => return Ok(()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::ring::SHARE;
    use super::*;
    use crate::tunnel::connection::Closings;
    use crate::tunnel::transport::Lifeline;

    /// Pieces that are all there at once, or without end.
    struct Pieces {
        rest: Option<Bytes>,
        life: Lifeline,
        company: bool,
    }

    impl Source for Pieces {
        async fn next(&mut self) -> io::Result<Option<Bytes>> {
            self.next_if_here().unwrap()
        }

        fn next_if_here(&mut self) -> Option<io::Result<Option<Bytes>>> {
            let Some(rest) = &mut self.rest else {
                return Some(Ok(Some(Bytes::from_static(&[7; 32 * 1024]))));
            };
            let length = rest.len().min(32 * 1024);
            Some(Ok((length > 0).then(|| rest.split_to(length))))
        }

        fn stalled(&self) -> StalledReader {
            self.life.stalled_reader()
        }

        fn swollen(&self) -> Swollen {
            Closings::default().swell()
        }

        fn has_company(&self) -> bool {
            self.company
        }
    }

    fn endless(life: &Lifeline, company: bool) -> Pieces {
        Pieces {
            rest: None,
            life: life.clone(),
            company,
        }
    }

    fn limits(room: usize) -> Limits {
        Limits {
            ring: 1024 * 1024,
            ..Limits::within(Room::of(room))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_stops_is_reset_after_it_held_others_up_for_the_limit() {
        let (local, _program) = tokio::io::duplex(1);
        let life = Lifeline::default();
        let started = Instant::now();
        let result = carry_down(endless(&life, true), local, limits(1024 * 1024)).await;
        assert!(matches!(result, Err(PumpError::Stalled)));
        assert_eq!(started.elapsed(), STALL);
        assert!(!life.has_stalled_reader());
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_stops_alone_is_left_alone_until_somebody_needs_the_place() {
        let (local, _program) = tokio::io::duplex(1);
        let life = Lifeline::default();
        let limits = limits(usize::MAX);
        let room = limits.room.clone();
        let source = endless(&life, false);
        let pump = tokio::spawn(carry_down(source, local, limits));
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert!(life.has_stalled_reader());
        assert!(!pump.is_finished());
        room.set_crowded(true);
        let ended = tokio::time::timeout(2 * LOOK_AGAIN, pump).await;
        assert!(matches!(ended, Ok(Ok(Err(PumpError::Stalled)))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_in_company_gets_all_the_room_and_alone_no_more_than_its_ring() {
        for (company, left) in [(true, 0), (false, 7 * SHARE)] {
            let (local, _program) = tokio::io::duplex(1);
            let life = Lifeline::default();
            let limits = limits(10 * SHARE);
            let room = limits.room.clone();
            let source = endless(&life, company);
            let pump = tokio::spawn(carry_down(source, local, limits));
            tokio::time::sleep(Duration::from_secs(5)).await;
            assert!(life.has_stalled_reader());
            assert!(room.take(left), "{company}");
            assert!(!room.take(1), "{company}");
            pump.abort();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_ring_that_is_read_again_buys_more_time() {
        let (local, mut program) = tokio::io::duplex(64 * 1024);
        let life = Lifeline::default();
        let source = endless(&life, true);
        let pump = tokio::spawn(carry_down(source, local, limits(1024 * 1024)));
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(life.has_stalled_reader());
        let mut buffer = vec![0; 64 * 1024];
        let mut left: usize = 1024 * 1024;
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
        let source = Pieces {
            rest: Some(sent.clone().into()),
            life: Lifeline::default(),
            company: true,
        };
        let pump = tokio::spawn(carry_down(source, local, limits(0)));
        let mut got = Vec::new();
        program.read_to_end(&mut got).await.unwrap();
        assert!(got == sent);
        assert!(pump.await.unwrap().is_ok());
    }

    #[test]
    fn a_read_asks_for_more_when_it_was_filled_and_for_less_when_it_was_not() {
        assert_eq!(next_size(SMALL_PIECE, SMALL_PIECE), 16 * 1024);
        assert_eq!(next_size(PIECE, PIECE), PIECE);
        assert_eq!(next_size(PIECE, 100), 32 * 1024);
        assert_eq!(next_size(SMALL_PIECE, 1), SMALL_PIECE);
    }
}
