//! What is held of messages that are not complete. One may be 25 MiB; a peer that sends many by halves,
//! or one for ever, must not have the memory of all others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clawline::protocol::limits;
use tokio::time::Instant;

/// Of each message so much is free, so that no ordinary call ever waits for the room of large ones.
const FREE: u64 = 64 * 1024;
/// How long any message may take from its first byte to its last, and what it takes longer when it is
/// large: a slow line still brings so many bytes a second.
const PATIENCE: Duration = Duration::from_secs(30);
const SLOWEST: u64 = 32 * 1024;

/// Why a message is not read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// Large messages of all connections have the room.
    #[error("too many large messages at once")]
    NoRoom,
    /// It takes for ever.
    #[error("message takes too long")]
    TooSlow,
}

/// The room for incomplete messages of all connections of one gateway.
#[derive(Debug, Clone)]
pub(crate) struct Intake(Arc<AtomicU64>);

impl Default for Intake {
    fn default() -> Self {
        Self::of(limits::MAX_IN_FLIGHT)
    }
}

impl Intake {
    /// With room for so many bytes.
    pub(super) fn of(bytes: u64) -> Self {
        Self(Arc::new(AtomicU64::new(bytes)))
    }
}

/// What one connection has of the room. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Held {
    room: Intake,
    bytes: u64,
    since: Option<Instant>,
}

impl Held {
    pub(super) fn new(room: Intake) -> Self {
        Self {
            room,
            bytes: 0,
            since: None,
        }
    }

    /// The incomplete message has so many bytes now; 0 when there is none.
    pub(super) fn is_now(&mut self, message: u64) -> Result<(), Refused> {
        if message == 0 {
            self.give_back();
            return Ok(());
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() > PATIENCE + Duration::from_secs(message / SLOWEST) {
            return Err(Refused::TooSlow);
        }
        let more = message.saturating_sub(FREE).saturating_sub(self.bytes);
        let take = |free: u64| free.checked_sub(more);
        self.room
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, take)
            .map_err(|_| Refused::NoRoom)?;
        self.bytes += more;
        Ok(())
    }

    fn give_back(&mut self) {
        self.since = None;
        let bytes = std::mem::take(&mut self.bytes);
        self.room.0.fetch_add(bytes, Ordering::AcqRel);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_messages_share_the_room_and_small_ones_need_none() {
        let room = Intake::of(100);
        let held = || Held::new(room.clone());
        let (mut first, mut second, mut third) = (held(), held(), held());
        assert_eq!(first.is_now(FREE + 60), Ok(()));
        assert_eq!(second.is_now(FREE + 41), Err(Refused::NoRoom));
        assert_eq!(second.is_now(FREE + 40), Ok(()));
        assert_eq!(third.is_now(FREE), Ok(()));
        assert_eq!(third.is_now(FREE + 1), Err(Refused::NoRoom));
        // Complete, or gone.
        assert_eq!(first.is_now(0), Ok(()));
        assert_eq!(third.is_now(FREE + 60), Ok(()));
        drop(second);
        assert_eq!(third.is_now(FREE + 100), Ok(()));
        drop(third);
        assert_eq!(first.is_now(FREE + 100), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_trickles_is_not_waited_for_and_a_slow_line_is() {
        let room = Intake::of(limits::MAX_IN_FLIGHT);
        let mut held = Held::new(room.clone());
        for second in 1..=30 {
            assert_eq!(held.is_now(second), Ok(()), "{second}");
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(held.is_now(31), Err(Refused::TooSlow));
        // The next one has its own time.
        assert_eq!(held.is_now(0), Ok(()));
        let whole = u64::try_from(limits::MAX_MESSAGE).unwrap();
        for bytes in (1..=whole).step_by(usize::try_from(SLOWEST).unwrap()) {
            assert_eq!(held.is_now(bytes), Ok(()), "{bytes}");
            tokio::time::advance(Duration::from_secs(1)).await;
        }
    }
}
