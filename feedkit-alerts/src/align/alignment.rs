//! Orders the entries of all partitions by event time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use feedkit_core::alert_log::Consumed;
use feedkit_core::journal::JournalEntry;
use feedkit_core::{Offset, Partition, Positions, Result, Timestamp};

use super::portion::{Collect, Portion};
use super::queue::Queue;

/// How long old events wait for a partition that was at the log's end and may have more to come.
const QUIET: Duration = Duration::from_millis(300);

/// Maximum age of live effects. Other effects of the same time have arrived already, or are about
/// to.
const LIVE: Duration = Duration::from_secs(60);

/// Entries that wait until the other partitions have reached the same event time.
///
/// A partition that has more to come holds the *frontier* at the latest event time seen of it. A
/// partition is at its end if its last entry was at the end of the log and, as far as that is
/// known, of the journal. If the effects that wait are [`LIVE`], a partition at its end does not
/// hold the frontier.
///
/// Old events arrive as fast as they can be read. A partition that was at its end a moment ago may
/// have as many of them to come as the others. So a new old entry waits for [`QUIET`], in which
/// that partition can follow.
///
/// A portion is consumed together. For each partition it is a prefix of the effects, in the order
/// of offsets, up to the first effect beyond the frontier. If there are many, a portion has only
/// those before some earlier time.
#[derive(Debug, Default)]
pub(crate) struct Alignment {
    queues: BTreeMap<Partition, Queue>,
}

/// How far to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Up to the event time that all partitions have reached.
    Frontier,
    /// The same, without partitions of which no entry waits.
    PassIdle,
    /// Up to the last entry.
    Everything,
}

impl Alignment {
    /// An alignment without entries. Each partition is consumed up to its position. Partitions that
    /// have nothing more before their offset in `ends` do not hold the frontier.
    pub(crate) fn new(positions: &Positions, ends: &Positions, now: Timestamp) -> Self {
        let known = positions.iter().chain(ends.iter()).map(|(partition, _)| partition);
        let queue = |partition| (partition, Queue::new(positions.of(partition), ends.of(partition), now));
        Alignment { queues: known.map(queue).collect() }
    }

    /// Adds a partition if it is new.
    pub(crate) fn add_partition(&mut self, partition: Partition, now: Timestamp) {
        self.queues.entry(partition).or_insert_with(|| Queue::new(0, 0, now));
    }

    /// Adds entries of a partition, and returns the offset after the last received one.
    ///
    /// Skips entries that were received before. On a gap, nothing is added after it.
    pub(crate) fn push(
        &mut self,
        partition: Partition,
        entries: &[Arc<JournalEntry>],
        now: Timestamp,
    ) -> Result<Offset> {
        let queue = self.queues.entry(partition).or_default();
        let received = queue.end;
        for entry in entries.iter().skip_while(|e| e.to <= received) {
            queue.push(partition, entry, now)?;
        }
        Ok(queue.end)
    }

    /// The offset after the last received entry of a partition.
    pub(crate) fn end(&self, partition: Partition) -> Offset {
        self.queues.get(&partition).map_or(0, |queue| queue.end)
    }

    /// The number of effects that wait.
    pub(crate) fn pending(&self) -> usize {
        self.queues.values().map(|q| q.effects).sum()
    }

    /// Whether no entry waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.queues.values().all(|q| q.entries.is_empty())
    }

    /// The effects that can be consumed now, if there are any. If there are more than twice `most`,
    /// only the first `most`.
    pub(crate) fn portion(&self, reach: Reach, most: usize, now: Timestamp) -> Option<Portion<'_>> {
        let newest = self.queues.values().filter(|q| q.effects > 0).filter_map(|q| q.seen).max();
        let live = newest.is_none_or(|newest| now.since(newest) < LIVE);
        let more_to_come = |q: &&Queue| match reach {
            Reach::Frontier => !q.at_end && !q.time_is_unknown(),
            Reach::PassIdle => !q.at_end && !q.entries.is_empty(),
            Reach::Everything => false,
        };
        let frontier = self.frontier(more_to_come);
        if live || reach != Reach::Frontier {
            return self.first(most, |queue, latest| queue.prefix(frontier.min(latest), Timestamp::MAX));
        }
        // A clock that was set back must not hold entries for ever.
        let settled = self.queues.values().map(|q| q.heard_at).max().filter(|latest| *latest > now);
        let settled = settled.unwrap_or(now.saturating_sub(QUIET));
        let strict = self.frontier(|q| !q.time_is_unknown() && (!q.at_end || q.heard_at > settled));
        let all = self.frontier(|q| !q.time_is_unknown());
        self.first(most, |queue, latest| {
            let alone = queue.prefix(strict.min(latest), settled);
            queue.prefix(all.min(latest), Timestamp::MAX).max(alone)
        })
    }

    /// The frontier: the earliest of the latest event times of the partitions that hold it.
    fn frontier(&self, holds_back: impl Fn(&&Queue) -> bool) -> Timestamp {
        let seen = |q: &Queue| q.seen.unwrap_or(Timestamp::from_millis(i64::MIN));
        let frontier = self.queues.values().filter(holds_back).map(seen).min();
        frontier.unwrap_or(Timestamp::from_millis(i64::MAX))
    }

    /// The effects of exactly these ranges, which must have been received.
    pub(crate) fn ranges(&self, consumed: &[Consumed]) -> Portion<'_> {
        let to = |partition: Partition| consumed.iter().find(|c| c.partition == partition).map(|c| c.to);
        let mut portion = Collect::default();
        for (partition, queue) in &self.queues {
            if let Some(to) = to(*partition) {
                portion.add(*partition, queue, to);
            }
        }
        portion.finish()
    }

    /// Removes the ranges, which were consumed.
    pub(crate) fn consume(&mut self, consumed: &[Consumed]) {
        for range in consumed {
            if let Some(queue) = self.queues.get_mut(&range.partition) {
                queue.consume(range.to);
            }
        }
    }

    /// The first effects before the offset that `to` returns for each queue and time: `most`
    /// effects, or a little more.
    ///
    /// A rest that would be small is included. A later step of few effects, which may be ahead of
    /// the others, would move the watermark too far.
    fn first(&self, most: usize, to: impl Fn(&Queue, Timestamp) -> Offset) -> Option<Portion<'_>> {
        let latest = self.time_of_last(most.max(1), |queue| to(queue, Timestamp::MAX));
        let mut portion = Collect::default();
        for (partition, queue) in &self.queues {
            portion.add(*partition, queue, to(queue, latest));
        }
        let portion = portion.finish();
        (!portion.consumed.is_empty()).then_some(portion)
    }

    /// The time up to which `most` of the effects before `to` can be consumed. If there are not
    /// more than twice as many, the latest time.
    fn time_of_last(&self, most: usize, to: impl Fn(&Queue) -> Offset) -> Timestamp {
        let mut times = Vec::new();
        for queue in self.queues.values() {
            // An effect that lies behind a later one of its partition is consumed with that one.
            let mut latest = Timestamp::from_millis(i64::MIN);
            times.extend(queue.up_to(to(queue)).flatten().map(|effect| {
                latest = latest.max(effect.time);
                latest
            }));
        }
        if times.len() / 2 <= most {
            return Timestamp::MAX;
        }
        *times.select_nth_unstable(most - 1).1
    }
}
