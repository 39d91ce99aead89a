use serde::{Deserialize, Serialize};

/// How many buckets a window has.
pub(super) const BUCKETS: usize = 10;

/// Counts of the last ten buckets of event time, the newest of which is `head`: a window that slides by a tenth
/// of its length. `T` is what its owner notes beside it, where there is room.
///
/// An event that comes late, but within the window, is counted where it belongs. If most events lie before the
/// window, it was a single one with a clock ahead that moved the window too far: the window goes back.
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

const UNUSED: i64 = i64::MIN;

/// A late event weighs as much as two on time; at this weight the window goes back.
const TOO_LATE: u8 = 16;

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placed {
    /// It is counted in the window.
    Inside,
    /// It lies before the window, and is not counted.
    Late,
}

impl<T> Window<T> {
    /// Counts one event. Buckets that leave the window are handed to `leave`, the oldest first, and then how many
    /// more have passed since, all of them empty.
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

    /// Moves the window forward so that `bucket` is its newest; never back.
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

    /// How many events the window holds.
    pub(super) fn total(&self) -> u32 {
        self.counts.iter().map(|count| u32::from(*count)).sum()
    }
}

/// What has left a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// A bucket with so many events.
    Bucket(u16),
    /// So many empty buckets.
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
    fn counts_what_lies_within() {
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
    fn one_clock_ahead_blinds_it_for_a_few_events_only() {
        let mut window = Window::<()>::default();
        (0..5).for_each(|i| drop(left(&mut window, i)));
        left(&mut window, 300);
        (0..7).for_each(|i| assert_eq!((left(&mut window, 5 + i), window.total()), (vec![], 1)));
        (0..10).for_each(|i| drop(left(&mut window, 12 + i)));
        assert_eq!(window.total(), 10);
    }

    #[test]
    fn the_ends_of_time_do_no_harm() {
        let mut window = Window::<()>::default();
        for bucket in [i64::MAX, i64::MIN + 1, 0, i64::MAX, i64::MIN, i64::MIN, i64::MIN, i64::MIN, i64::MIN]
        {
            window.count(bucket, |_| ());
        }
    }
}
