//! A sliding window of event time.

use serde::{Deserialize, Serialize};

/// Number of buckets in a window.
pub(super) const BUCKETS: usize = 10;

/// Counts events in the last ten buckets of event time. The newest bucket is `head`.
///
/// The window slides by a bucket, which is a tenth of its length. `T` is a tag for the owner of the
/// window, which fits into its padding.
///
/// A late event within the window is counted in its bucket. If most events lie before the window,
/// one event with a clock that is ahead has moved the window too far. Then the window moves back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Window<T> {
    head: i64,
    counts: [u16; BUCKETS],
    late: u8,
    pub(super) tag: T,
}

impl<T: Default> Default for Window<T> {
    fn default() -> Self {
        Window { head: UNUSED, counts: [0; BUCKETS], late: 0, tag: T::default() }
    }
}

/// The `head` of a window that has seen no events.
const UNUSED: i64 = i64::MIN;

/// The weight of late events at which the window moves back. A late event adds 2, and an event on
/// time subtracts 1.
const TOO_LATE: u8 = 16;

/// Where an event was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placed {
    /// In the window.
    Inside,
    /// Nowhere: it lies before the window.
    Late,
}

impl<T> Window<T> {
    /// Counts one event.
    ///
    /// Calls `leave` for each bucket that leaves the window, the oldest first. Then calls it once
    /// with the number of empty buckets that have passed, if there are any.
    pub(super) fn count(&mut self, bucket: i64, leave: impl FnMut(Left)) -> Placed {
        if self.head == UNUSED {
            self.head = bucket;
        }
        if bucket <= self.head.saturating_sub(BUCKETS as i64) {
            self.late += 2;
            if self.late < TOO_LATE {
                return Placed::Late;
            }
            (self.head, self.counts, self.late) = (bucket, [0; BUCKETS], 0);
        }
        self.late = self.late.saturating_sub(1);
        self.advance(bucket, leave);
        let slot = &mut self.counts[slot(bucket)];
        *slot = slot.saturating_add(1);
        Placed::Inside
    }

    /// Moves the window forward so that `bucket` is its newest. It never moves back.
    pub(super) fn advance(&mut self, bucket: i64, mut leave: impl FnMut(Left)) {
        if bucket <= self.head || self.head == UNUSED {
            return;
        }
        let by = bucket.saturating_sub(self.head);
        for step in 1..=by.min(BUCKETS as i64) {
            let gone = std::mem::take(&mut self.counts[slot(self.head.wrapping_add(step))]);
            leave(Left::Bucket(gone));
        }
        if by > BUCKETS as i64 {
            leave(Left::Empty(by - BUCKETS as i64));
        }
        self.head = bucket;
    }

    /// The number of events in the window.
    pub(super) fn total(&self) -> u32 {
        self.counts.iter().map(|count| u32::from(*count)).sum()
    }
}

/// What leaves a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// A bucket with this number of events.
    Bucket(u16),
    /// This number of empty buckets.
    Empty(i64),
}

fn slot(bucket: i64) -> usize {
    bucket.rem_euclid(BUCKETS as i64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(window: &mut Window<()>, bucket: i64) -> Vec<Left> {
        let mut left = Vec::new();
        window.count(bucket, |l| left.push(l));
        left
    }

    #[test]
    fn counts_events_within_the_window() {
        let mut window = Window::<()>::default();
        for (bucket, total) in [(100, 1), (100, 2), (95, 3), (91, 4), (90, 4), (104, 4), (109, 4), (110, 3)] {
            window.count(bucket, |_| ());
            assert_eq!(window.total(), total, "{bucket}");
        }
        assert_eq!(left(&mut window, 123)[..2], [Left::Bucket(0), Left::Bucket(0)]);
        assert_eq!(left(&mut window, 140).last(), Some(&Left::Empty(7)));
        assert_eq!(window.total(), 1);
    }

    #[test]
    fn recovers_from_one_clock_that_is_ahead_after_a_few_events() {
        let mut window = Window::<()>::default();
        (0..5).for_each(|i| drop(left(&mut window, i)));
        left(&mut window, 300);
        (0..7).for_each(|i| assert_eq!((left(&mut window, 5 + i), window.total()), (vec![], 1)));
        (0..10).for_each(|i| drop(left(&mut window, 12 + i)));
        assert_eq!(window.total(), 10);
    }

    #[test]
    fn handles_extreme_times() {
        let mut window = Window::<()>::default();
        for bucket in [i64::MAX, i64::MIN + 1, 0, i64::MAX, i64::MIN, i64::MIN, i64::MIN, i64::MIN, i64::MIN]
        {
            window.count(bucket, |_| ());
        }
    }
}
