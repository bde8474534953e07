//! Which SSH connection takes the next local connection, and when one more is opened or one is closed:
//! pure, without sockets or a clock of its own.

use std::time::Duration;

/// A connection that nobody used for this long is closed when there is another one.
const IDLE: Duration = Duration::from_secs(60);
/// How many connections without a stalled program there should be while all of them are busy: one program
/// that downloads should not make every other one wait in its queue.
const BESIDE_BUSY: usize = 2;

/// How one SSH connection for forwards stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LaneState {
    /// Open channels.
    pub(super) channels: usize,
    /// A program that does not read holds it up, or the far side is silent.
    pub(super) stalled: bool,
    /// Much goes through it now.
    pub(super) busy: bool,
    /// It has leaked its share and should be replaced.
    pub(super) worn: bool,
    /// For how long it had no channel.
    pub(super) idle: Duration,
}

impl LaneState {
    fn is_fresh(&self) -> bool {
        !self.stalled && !self.worn
    }
}

/// What to do about the connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Open,
    Close(usize),
    Wait,
}

/// The connection for the next local connection; `None` when none can take it.
pub(super) fn choose(lanes: &[LaneState]) -> Option<usize> {
    lanes
        .iter()
        .enumerate()
        .filter(|(_, lane)| !lane.stalled)
        .min_by_key(|(_, lane)| (lane.worn, lane.busy, lane.channels))
        .map(|(index, _)| index)
}

/// What to do now; `wanted` when a connection may be opened.
pub(super) fn next(lanes: &[LaneState], max: usize, wanted: bool) -> Step {
    let fresh = lanes.iter().filter(|lane| lane.is_fresh()).count();
    let calm = |lane: &LaneState| lane.is_fresh() && !lane.busy;
    let all_calm = lanes.iter().filter(|lane| calm(lane)).count();
    let spare = lanes.iter().position(|lane| {
        let others = all_calm.saturating_sub(usize::from(calm(lane)));
        let replaced = others > 0 || !wanted;
        lane.channels == 0 && replaced && (lane.worn || lane.idle >= IDLE)
    });
    if let Some(index) = spare {
        return Step::Close(index);
    }
    let too_few = fresh == 0 || (all_calm == 0 && fresh < BESIDE_BUSY);
    if wanted && too_few && lanes.len() < max {
        return Step::Open;
    }
    Step::Wait
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: LaneState = LaneState {
        channels: 0,
        stalled: false,
        busy: false,
        worn: false,
        idle: Duration::ZERO,
    };
    const USED: LaneState = LaneState {
        channels: 3,
        ..FREE
    };
    const STALLED: LaneState = LaneState {
        stalled: true,
        ..USED
    };
    const BUSY: LaneState = LaneState { busy: true, ..USED };
    const WORN: LaneState = LaneState { worn: true, ..USED };
    const IDLE_LONG: LaneState = LaneState { idle: IDLE, ..FREE };

    #[test]
    fn the_next_one_goes_where_it_waits_least() {
        assert_eq!(choose(&[]), None);
        assert_eq!(choose(&[STALLED, STALLED]), None);
        assert_eq!(choose(&[STALLED, BUSY]), Some(1));
        assert_eq!(choose(&[BUSY, USED]), Some(1));
        assert_eq!(choose(&[USED, FREE]), Some(1));
        // A worn one works until its successor is there.
        assert_eq!(choose(&[STALLED, WORN]), Some(1));
        assert_eq!(choose(&[WORN, BUSY]), Some(1));
    }

    #[test]
    fn one_more_is_opened_before_it_is_missed_and_never_more_than_allowed() {
        for (lanes, step) in [
            (vec![], Step::Open),
            (vec![USED], Step::Wait),
            (vec![STALLED], Step::Open),
            (vec![STALLED, STALLED, STALLED], Step::Open),
            (vec![STALLED, STALLED, STALLED, STALLED], Step::Wait),
            (vec![BUSY], Step::Open),
            (vec![BUSY, BUSY], Step::Wait),
            (vec![BUSY, STALLED], Step::Open),
            (vec![WORN], Step::Open),
            (vec![WORN, USED], Step::Wait),
        ] {
            assert_eq!(next(&lanes, 4, true), step, "{lanes:?}");
        }
        assert_eq!(next(&[], 4, false), Step::Wait);
    }

    #[test]
    fn what_is_not_needed_any_more_is_closed_when_another_one_is_there() {
        let worn_out = LaneState {
            channels: 0,
            ..WORN
        };
        for (lanes, wanted, step) in [
            (vec![IDLE_LONG], true, Step::Wait),
            (vec![IDLE_LONG], false, Step::Close(0)),
            (vec![USED, IDLE_LONG], true, Step::Close(1)),
            (vec![BUSY, IDLE_LONG], true, Step::Wait),
            (vec![IDLE_LONG, IDLE_LONG], true, Step::Close(0)),
            (vec![worn_out], true, Step::Open),
            (vec![worn_out, USED], true, Step::Close(0)),
        ] {
            assert_eq!(next(&lanes, 4, wanted), step, "{lanes:?}");
        }
    }
}
