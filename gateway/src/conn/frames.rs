//! Counts what the peer sends below messages: the fragments of one and its bytes, and pings. tungstenite
//! puts the one together and answers the other without a word, however many there are.

use std::time::Duration;

use tokio::time::Instant;

/// Frames of one message.
const MAX_FRAGMENTS: u32 = 4096;

/// Walks over frames as their bytes pass by.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    /// Bytes of the frame's head so far: at most 2, 8 of length and 4 of mask.
    head: [u8; 14],
    filled: usize,
    /// Bytes of the frame that are still to come.
    left: u64,
    count: u32,
    /// The frame is a control frame, or the last of its message.
    is_control: bool,
    is_last: bool,
    /// Bytes of the message that is not complete.
    message: u64,
}

impl Fragments {
    /// Takes the next bytes; false once a message has too many frames.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) -> bool {
        loop {
            let skipped = usize::try_from(self.left)
                .unwrap_or(usize::MAX)
                .min(bytes.len());
            let skipped_bytes = u64::try_from(skipped).unwrap_or(0);
            self.left -= skipped_bytes;
            if !self.is_control {
                self.message += skipped_bytes;
            }
            if self.left == 0 && self.is_last {
                self.message = 0;
            }
            bytes = bytes.get(skipped..).unwrap_or_default();
            let Some((byte, rest)) = bytes.split_first() else {
                return true;
            };
            bytes = rest;
            if let Some(slot) = self.head.get_mut(self.filled) {
                *slot = *byte;
            }
            self.filled += 1;
            if self.filled == self.head_len() && !self.frame() {
                return false;
            }
        }
    }

    /// How long the head is, as far as it is known.
    fn head_len(&self) -> usize {
        let [_, second, ..] = self.head;
        let length = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        if self.filled < 2 {
            2
        } else {
            2 + length + mask
        }
    }

    /// A head is complete.
    fn frame(&mut self) -> bool {
        let [first, second, a, b, c, d, e, f, g, h, ..] = self.head;
        self.left = match second & 0x7f {
            126 => u64::from(u16::from_be_bytes([a, b])),
            127 => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            short => u64::from(short),
        };
        self.filled = 0;
        let is_final = first & 0x80 != 0;
        self.is_control = first & 0x08 != 0;
        self.is_last = is_final && !self.is_control;
        if !self.is_control {
            self.count = if is_final { 0 } else { self.count + 1 };
        }
        self.count <= MAX_FRAGMENTS
    }

    /// Bytes so far of the message that is not complete; 0 between two messages.
    pub(super) fn under_way(&self) -> u64 {
        self.message
    }
}

/// So many at once, and so many a second.
#[derive(Debug)]
pub(super) struct Budget {
    left: u32,
    most: u32,
    /// Time that gives one more.
    each: Duration,
    since: Instant,
}

impl Budget {
    pub(super) fn new(most: u32, a_second: u32) -> Self {
        Self {
            left: most,
            most,
            each: Duration::from_secs(1) / a_second.max(1),
            since: Instant::now(),
        }
    }

    /// Takes one; false when there is none left.
    pub(super) fn take(&mut self) -> bool {
        let gained = self.since.elapsed().as_nanos() / self.each.as_nanos().max(1);
        if let Ok(gained @ 1..) = u32::try_from(gained) {
            self.left = self.left.saturating_add(gained).min(self.most);
            self.since += self.each * gained;
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A masked frame of a client.
    fn frame(first: u8, length: usize) -> Vec<u8> {
        let mut bytes = vec![first];
        match length {
            0..126 => bytes.push(0x80 | u8::try_from(length).unwrap()),
            126..65536 => {
                bytes.push(0x80 | 126);
                bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                bytes.push(0x80 | 127);
                bytes.extend(u64::try_from(length).unwrap().to_be_bytes());
            }
        }
        bytes.extend([1, 2, 3, 4]);
        // Payload that would count as fragments if it were taken for heads.
        bytes.extend(vec![0x00; length]);
        bytes
    }

    #[test]
    fn only_the_frames_of_one_message_count_however_the_bytes_are_cut() {
        let mut stream = Vec::new();
        for length in [0, 5, 125, 126, 70_000] {
            stream.extend(frame(0x01, length));
            for _ in 0..MAX_FRAGMENTS - 1 {
                stream.extend(frame(0x00, 0));
            }
            stream.extend(frame(0x89, 3));
            stream.extend(frame(0x80, length));
            stream.extend(frame(0x81, length));
        }
        for chunk in [1, 7, 4096] {
            let mut fragments = Fragments::default();
            assert!(
                stream.chunks(chunk).all(|bytes| fragments.pass(bytes)),
                "{chunk}"
            );
            assert!(fragments.pass(&frame(0x01, 1)));
            let more = frame(0x00, 1).repeat(usize::try_from(MAX_FRAGMENTS).unwrap());
            assert!(
                !more.chunks(chunk).all(|bytes| fragments.pass(bytes)),
                "{chunk}"
            );
        }
    }

    #[test]
    fn what_is_under_way_is_the_message_that_is_not_complete() {
        for chunk in [1, 7, 4096] {
            let mut fragments = Fragments::default();
            let mut pass = |bytes: &[u8]| {
                assert!(bytes.chunks(chunk).all(|bytes| fragments.pass(bytes)));
                fragments.under_way()
            };
            let (begin, more, end) = (frame(0x01, 300), frame(0x00, 70_000), frame(0x80, 5));
            assert_eq!(pass(&begin), 300);
            // A ping in between, whose bytes are not the message's.
            assert_eq!(pass(&frame(0x89, 100)), 300);
            assert_eq!(pass(&more), 70_300);
            assert_eq!(pass(&end), 0);
            assert_eq!(pass(&frame(0x81, 126)), 0);
            let whole = frame(0x82, 9000);
            assert_eq!(pass(&whole[..8 + 4000]), 4000);
            assert_eq!(pass(&whole[8 + 4000..]), 0);
            assert_eq!(pass(&frame(0x81, 0)), 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_budget_is_spent_and_comes_back_with_time() {
        let mut budget = Budget::new(3, 10);
        assert_eq!([(); 4].map(|()| budget.take()), [true, true, true, false]);
        tokio::time::advance(Duration::from_millis(200)).await;
        assert_eq!([(); 3].map(|()| budget.take()), [true, true, false]);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!([(); 4].map(|()| budget.take()), [true, true, true, false]);
    }
}
