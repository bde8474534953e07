//! What has come for a program that has not read it yet: pieces as they came, never more than is allowed.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

use crate::tunnel::bulk::Room;

/// What a connection may always hold, whatever the others do; also the step in which it gets more.
pub(super) const SHARE: usize = 256 * 1024;
/// Pieces handed to the system at once.
pub(super) const SLICES: usize = 32;
/// What a piece costs beside its bytes: a far end that sends them one by one gets no more memory.
const PIECE_COST: usize = 128;

/// Pieces that wait to be written.
pub(super) struct Ring {
    pieces: VecDeque<Bytes>,
    /// Bytes, and the cost of each piece.
    length: usize,
    /// What was taken from the room, beyond its own share.
    taken: usize,
    room: Room,
}

impl Ring {
    pub(super) fn new(room: Room) -> Self {
        Self {
            pieces: VecDeque::new(),
            length: 0,
            taken: 0,
            room,
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// How much it may hold now.
    pub(super) fn allowed(&self) -> usize {
        SHARE + self.taken
    }

    pub(super) fn is_full(&self) -> bool {
        self.length >= self.allowed()
    }

    /// Whether at least half of what is allowed is free again.
    pub(super) fn is_relieved(&self) -> bool {
        self.length <= self.allowed() / 2
    }

    /// Takes more of the room, up to `limit` in all; false when there is none.
    pub(super) fn grow(&mut self, limit: usize) -> bool {
        if self.allowed().saturating_add(SHARE) > limit || !self.room.take(SHARE) {
            return false;
        }
        self.taken += SHARE;
        true
    }

    pub(super) fn push(&mut self, piece: Bytes) {
        self.length += piece.len() + PIECE_COST;
        self.pieces.push_back(piece);
    }

    /// The first pieces, and how many there are.
    pub(super) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES]) -> usize {
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        count
    }

    /// The first `written` bytes are gone.
    pub(super) fn advance(&mut self, mut written: usize) {
        self.length = self.length.saturating_sub(written);
        while let Some(piece) = self.pieces.front_mut() {
            if written < piece.len() {
                piece.advance(written);
                break;
            }
            written -= piece.len();
            self.pieces.pop_front();
            self.length = self.length.saturating_sub(PIECE_COST);
        }
        // A step is kept, so that a busy moment does not take and give with every piece.
        while self.taken > SHARE && self.length + 2 * SHARE < self.taken {
            self.taken -= SHARE;
            self.room.give(SHARE);
        }
        if self.length == 0 {
            self.room.give(std::mem::take(&mut self.taken));
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.room.give(self.taken);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn single_bytes_fill_it_by_what_they_cost() {
        let mut ring = Ring::new(Room::of(0));
        let mut pieces = 0;
        while !ring.is_full() {
            ring.push(Bytes::from_static(b"x"));
            pieces += 1;
        }
        assert!(pieces <= SHARE / PIECE_COST, "{pieces}");
        ring.advance(pieces);
        assert!(ring.is_empty());
    }

    proptest! {
        #[test]
        fn what_is_pushed_comes_out_in_order_and_the_room_is_given_back(
            pieces in proptest::collection::vec(1_usize..5000, 1..60),
            steps in proptest::collection::vec(1_usize..9000, 1..200),
        ) {
            let room = Room::of(4 * SHARE);
            let mut ring = Ring::new(room.clone());
            while ring.grow(usize::MAX) {}
            prop_assert_eq!(ring.allowed(), 5 * SHARE);
            let mut sent = Vec::new();
            for (index, length) in pieces.iter().enumerate() {
                let piece = vec![u8::try_from(index).unwrap(); *length];
                sent.extend_from_slice(&piece);
                ring.push(piece.into());
            }
            let mut got = Vec::new();
            for step in steps.into_iter().cycle() {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let count = ring.slices(&mut slices);
                let here: Vec<u8> = slices[..count].iter().flat_map(|s| s.to_vec()).collect();
                let written = step.min(here.len());
                got.extend_from_slice(&here[..written]);
                ring.advance(written);
                if ring.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(got, sent);
            prop_assert!(room.take(4 * SHARE));
        }
    }
}
