//! Brings the partitions' entries into the order of event time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use feedkit_core::alert_log::Consumed;
use feedkit_core::effect::Effect;
use feedkit_core::journal::JournalEntry;
use feedkit_core::{Error, Offset, Partition, Positions, Result, Timestamp};

/// A partition of which nothing has come for so long after the others has nothing to come for now.
pub(crate) const QUIET: Duration = Duration::from_millis(300);

/// Effects no older than this are live: others of their time are there already, or come a moment late.
const LIVE: Duration = Duration::from_secs(60);

/// Entries that wait until the other partitions have come as far.
///
/// A partition that has more to come holds the *frontier* at the latest event time seen of it; one whose last
/// entry was at the log's end, and at the journal's as far as that is known, holds nobody back, if what waits is
/// [`LIVE`]. Old events come as fast as they can be read: there a partition that was at the log's end a moment ago
/// may have as much to come as the others, and what has come since holds still for [`QUIET`] for it to follow. What is
/// consumed together is a prefix, in the order of offsets, of each partition's effects, up to the first that lies beyond the
/// frontier. Where that is much, only as much is consumed at once as lies before some earlier time.
#[derive(Debug, Default)]
pub(crate) struct Align {
    queues: BTreeMap<Partition, Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    /// What is not consumed, and when it came.
    entries: VecDeque<(Arc<JournalEntry>, Timestamp)>,
    /// Effects of the first entry that are consumed already.
    skip: usize,
    /// The first offset that is not consumed.
    next: Offset,
    /// The offset after all that was received.
    end: Offset,
    /// The latest event time received.
    seen: Option<Timestamp>,
    /// The journal is known to reach up to here: an entry before that was at the log's end once, and is not now.
    known_end: Offset,
    at_end: bool,
    /// When something was last heard of it.
    heard_at: Timestamp,
    /// The last entry had no effects: it tells nothing of the time that the partition has come to.
    barren: bool,
    effects: usize,
}

/// How far to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// As far as all partitions have come.
    Frontier,
    /// Without regard to partitions of which nothing is there.
    PassIdle,
    /// All there is.
    Everything,
}

/// What is to be consumed together.
#[derive(Debug, Default)]
pub(crate) struct Portion<'a> {
    /// The ranges, by partition.
    pub(crate) consumed: Vec<Consumed>,
    /// The effects, ordered by time, partition and offset.
    pub(crate) effects: Vec<&'a Effect>,
}

impl Align {
    /// Nothing is there yet; each partition is consumed up to its position. Those in `ends` that have nothing
    /// more hold nobody back.
    pub(crate) fn new(positions: &Positions, ends: &Positions, now: Timestamp) -> Self {
        let known = positions.iter().chain(ends.iter()).map(|(partition, _)| partition);
        let queue = |partition| {
            let next = positions.of(partition);
            let known_end = ends.of(partition);
            let at_end = next >= known_end;
            (partition, Queue { next, end: next, known_end, at_end, heard_at: now, ..Queue::default() })
        };
        Align { queues: known.map(queue).collect() }
    }

    /// There is such a partition.
    pub(crate) fn know(&mut self, partition: Partition, now: Timestamp) {
        let new = || Queue { at_end: true, heard_at: now, ..Queue::default() };
        self.queues.entry(partition).or_insert_with(new);
    }

    /// Takes entries in; the offset after all that was received of the partition. What was received before is
    /// passed over, and a gap changes nothing.
    pub(crate) fn push(
        &mut self,
        partition: Partition,
        entries: &[Arc<JournalEntry>],
        now: Timestamp,
    ) -> Result<Offset> {
        let queue = self.queues.entry(partition).or_default();
        let received = queue.end;
        for entry in entries.iter().skip_while(|e| e.to <= received) {
            if entry.from > queue.end {
                return Err(Error::gap(format!(
                    "partition {partition}: an entry begins at offset {}, the alerts have come to {}",
                    entry.from, queue.end
                )));
            }
            if queue.entries.is_empty() {
                queue.skip = entry.effects.partition_point(|e| e.offset < queue.next);
                queue.effects = entry.effects.len() - queue.skip;
            } else {
                queue.effects += entry.effects.len();
            }
            queue.seen = queue.seen.max(entry.effects.last().map(|e| e.time));
            (queue.heard_at, queue.barren) = (now, entry.effects.is_empty());
            (queue.end, queue.at_end) = (entry.to, entry.at_end && entry.to >= queue.known_end);
            queue.entries.push_back((Arc::clone(entry), now));
        }
        Ok(queue.end)
    }

    /// The offset after all that was received of a partition.
    pub(crate) fn end(&self, partition: Partition) -> Offset {
        self.queues.get(&partition).map_or(0, |queue| queue.end)
    }

    /// How many effects wait.
    pub(crate) fn pending(&self) -> usize {
        self.queues.values().map(|q| q.effects).sum()
    }

    /// Whether there is anything to consume.
    pub(crate) fn is_empty(&self) -> bool {
        self.queues.values().all(|q| q.entries.is_empty())
    }

    /// What can be consumed now, if anything; of more than twice `most` effects the first `most`.
    pub(crate) fn portion(&self, reach: Reach, most: usize, now: Timestamp) -> Option<Portion<'_>> {
        let newest = self.queues.values().filter(|q| q.effects > 0).filter_map(|q| q.seen).max();
        let live = newest.is_none_or(|newest| now.since(newest) < LIVE);
        let more_to_come = |q: &&Queue| match reach {
            Reach::Frontier => !q.at_end && !q.tells_no_time(),
            Reach::PassIdle => !q.at_end && !q.entries.is_empty(),
            Reach::Everything => false,
        };
        let frontier = self.frontier(more_to_come);
        if live || reach != Reach::Frontier {
            return self.first(most, |queue, latest| queue.prefix(frontier.min(latest), Timestamp::MAX));
        }
        // A clock that was set back must not hold anything for ever.
        let settled = self.queues.values().map(|q| q.heard_at).max().filter(|latest| *latest > now);
        let settled = settled.unwrap_or(now.saturating_sub(QUIET));
        let strict = self.frontier(|q| !q.tells_no_time() && (!q.at_end || q.heard_at > settled));
        let all = self.frontier(|q| !q.tells_no_time());
        self.first(most, |queue, latest| {
            let alone = queue.prefix(strict.min(latest), settled);
            queue.prefix(all.min(latest), Timestamp::MAX).max(alone)
        })
    }

    /// The earliest of the latest event times seen of the partitions that hold others back.
    fn frontier(&self, holds_back: impl Fn(&&Queue) -> bool) -> Timestamp {
        let seen = |q: &Queue| q.seen.unwrap_or(Timestamp::from_millis(i64::MIN));
        let frontier = self.queues.values().filter(holds_back).map(seen).min();
        frontier.unwrap_or(Timestamp::from_millis(i64::MAX))
    }

    /// Exactly these ranges, which must have been received.
    pub(crate) fn ranges(&self, consumed: &[Consumed]) -> Portion<'_> {
        let to = |partition: Partition| consumed.iter().find(|c| c.partition == partition).map(|c| c.to);
        let mut portion = Gather::default();
        for (partition, queue) in &self.queues {
            if let Some(to) = to(*partition) {
                portion.add(*partition, queue, to);
            }
        }
        portion.finish()
    }

    /// Removes what was consumed.
    pub(crate) fn consume(&mut self, consumed: &[Consumed]) {
        for range in consumed {
            if let Some(queue) = self.queues.get_mut(&range.partition) {
                queue.consume(range.to);
            }
        }
    }

    /// The first of what `to` would have consumed up to some time: about `most` effects, and at least so many. A rest that
    /// would be small comes with them: a step of a few effects that are ahead of the others would carry the watermark away.
    fn first(&self, most: usize, to: impl Fn(&Queue, Timestamp) -> Offset) -> Option<Portion<'_>> {
        let latest = self.time_of_last(most.max(1), |queue| to(queue, Timestamp::MAX));
        let mut portion = Gather::default();
        for (partition, queue) in &self.queues {
            portion.add(*partition, queue, to(queue, latest));
        }
        let portion = portion.finish();
        (!portion.consumed.is_empty()).then_some(portion)
    }

    /// The time up to which `most` effects can be consumed, of those before `to`; the latest there is unless they are
    /// more than twice as many.
    fn time_of_last(&self, most: usize, to: impl Fn(&Queue) -> Offset) -> Timestamp {
        let mut times = Vec::new();
        for queue in self.queues.values() {
            // What lies behind a later effect of its partition goes with that one.
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

impl Queue {
    /// The last entry was nothing but repeats: what time the partition has come to cannot be told.
    fn tells_no_time(&self) -> bool {
        self.barren && self.effects == 0
    }

    /// Where the effects end that lie up to `frontier`, in entries that came by `arrived`: after the last of them,
    /// or at the end of an entry.
    fn prefix(&self, frontier: Timestamp, arrived: Timestamp) -> Offset {
        let mut to = self.next;
        for ((entry, came), waiting) in self.entries.iter().zip(self.waiting()) {
            if *came > arrived {
                return to;
            }
            match waiting.iter().position(|e| e.time > frontier) {
                None => to = entry.to,
                Some(0) => return to,
                Some(n) => return waiting[n - 1].offset + 1,
            }
        }
        to
    }

    /// What is not consumed, entry by entry.
    fn waiting(&self) -> impl Iterator<Item = &[Effect]> {
        let skip = |i| if i == 0 { self.skip } else { 0 };
        self.entries.iter().enumerate().map(move |(i, (entry, _))| &entry.effects[skip(i)..])
    }

    /// What is not consumed and lies before `to`, entry by entry.
    fn up_to(&self, to: Offset) -> impl Iterator<Item = &[Effect]> {
        let entries =
            self.entries.iter().zip(self.waiting()).take_while(move |((entry, _), _)| entry.from < to);
        entries.map(move |(_, waiting)| &waiting[..waiting.partition_point(|effect| effect.offset < to)])
    }

    fn consume(&mut self, to: Offset) {
        self.next = to;
        while let Some((first, _)) = self.entries.front() {
            if first.to <= to {
                self.effects -= first.effects.len() - self.skip;
                self.skip = 0;
                self.entries.pop_front();
            } else {
                let skip = first.effects.partition_point(|e| e.offset < to);
                self.effects -= skip - self.skip;
                self.skip = skip;
                return;
            }
        }
    }
}

#[derive(Default)]
struct Gather<'a> {
    consumed: Vec<Consumed>,
    /// By time and partition; within a partition in the order of offsets.
    effects: Vec<(Timestamp, Partition, &'a Effect)>,
}

impl<'a> Gather<'a> {
    fn add(&mut self, partition: Partition, queue: &'a Queue, to: Offset) {
        if to <= queue.next {
            return;
        }
        self.consumed.push(Consumed { partition, from: queue.next, to });
        self.effects.extend(queue.up_to(to).flatten().map(|effect| (effect.time, partition, effect)));
    }

    fn finish(mut self) -> Portion<'a> {
        // Stable, and fast on what is a few sorted runs.
        self.effects.sort_by_key(|(time, partition, _)| (*time, *partition));
        let effects = self.effects.into_iter().map(|(_, _, effect)| effect).collect();
        Portion { consumed: self.consumed, effects }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use feedkit_core::{EventKind, PostId, UserId};

    fn entry(partition: u32, from: u64, to: u64, at_end: bool, effects: &[(u64, i64)]) -> Arc<JournalEntry> {
        let effect = |(offset, millis): &(u64, i64)| Effect {
            offset: *offset,
            user: UserId::new(format!("u{partition}-{offset}")).unwrap(),
            post: PostId::new("p").unwrap(),
            kind: EventKind::Like,
            time: Timestamp::from_millis(*millis),
        };
        let effects = effects.iter().map(effect).collect();
        Arc::new(JournalEntry { partition: Partition(partition), from, to, epoch: 1, at_end, effects })
    }

    fn positions(of: &[(u32, u64)]) -> Positions {
        of.iter().map(|(p, o)| (Partition(*p), *o)).collect()
    }

    const T0: Timestamp = Timestamp::EPOCH;
    /// When all have been quiet.
    const LATER: Timestamp = Timestamp::from_millis(1_000);

    type Taken = (Vec<(u32, u64, u64)>, Vec<String>);

    /// Consumes one portion: its ranges and the users in it.
    fn take(align: &mut Align, reach: Reach) -> Option<Taken> {
        take_at_most(align, reach, usize::MAX)
    }

    fn take_at_most(align: &mut Align, reach: Reach, most: usize) -> Option<Taken> {
        let portion = align.portion(reach, most, LATER)?;
        let consumed = portion.consumed.clone();
        let users = portion.effects.iter().map(|e| e.user.to_string()).collect();
        align.consume(&consumed);
        Some((consumed.iter().map(|c| (c.partition.0, c.from, c.to)).collect(), users))
    }

    #[test]
    fn goes_as_far_as_all_have_come_and_orders_by_time() {
        let mut align = Align::new(&positions(&[]), &positions(&[(0, 10), (1, 9)]), T0);
        align
            .push(Partition(0), &[entry(0, 0, 10, false, &[(1, 10), (3, 40), (5, 20), (7, 60)])], T0)
            .unwrap();
        assert_eq!(take(&mut align, Reach::Frontier), None);
        align.push(Partition(1), &[entry(1, 0, 5, false, &[(0, 10), (2, 30)])], T0).unwrap();
        // Partition 1 holds the frontier at 30; what lies behind the effect at 40 waits with it.
        let (ranges, users) = take(&mut align, Reach::Frontier).unwrap();
        assert_eq!(ranges, [(0, 0, 2), (1, 0, 5)]);
        assert_eq!(users, ["u0-1", "u1-0", "u1-2"]);
        assert_eq!(take(&mut align, Reach::Frontier), None);
        align.push(Partition(1), &[entry(1, 5, 9, true, &[(6, 50)])], T0).unwrap();
        let (ranges, users) = take(&mut align, Reach::Frontier).unwrap();
        assert_eq!(ranges, [(0, 2, 10), (1, 5, 9)]);
        assert_eq!(users, ["u0-5", "u0-3", "u1-6", "u0-7"]);
        assert!(align.is_empty() && align.pending() == 0);
    }

    #[test]
    fn much_is_consumed_in_parts_by_time() {
        let mut align = Align::new(&positions(&[]), &positions(&[]), T0);
        let first = entry(0, 0, 10, true, &[(1, 10), (2, 90), (3, 20), (4, 30)]);
        let (empty, last) = (entry(0, 10, 20, true, &[]), entry(0, 20, 30, true, &[(25, 96)]));
        align.push(Partition(0), &[first, empty, last], T0).unwrap();
        align.push(Partition(1), &[entry(1, 0, 10, true, &[(1, 15), (2, 40), (3, 95)])], T0).unwrap();
        let mut parts = Vec::new();
        while let Some(part) = take_at_most(&mut align, Reach::Everything, 2) {
            parts.push(part);
        }
        let users = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let expected = [
            (vec![(0, 0, 2), (1, 0, 2)], users(&["u0-1", "u1-1"])),
            // The two behind the effect at 90 go with it, and so do they all: it takes three to reach it.
            (vec![(0, 2, 20), (1, 2, 3)], users(&["u0-3", "u0-4", "u1-2", "u0-2"])),
            (vec![(0, 20, 30), (1, 3, 10)], users(&["u1-3", "u0-25"])),
        ];
        assert_eq!(parts, expected);
        assert!(align.is_empty() && align.pending() == 0);
    }

    #[test]
    fn one_late_effect_does_not_make_small_steps_of_all_the_others() {
        let mut align = Align::new(&positions(&[]), &positions(&[]), T0);
        // Of partition 0 all waits behind its first, and all of partition 1 is later than the rest of it.
        let behind: Vec<_> = (1..500).map(|i| (i, 10)).collect();
        let others: Vec<_> = (0..500).map(|i| (i, 100 + i as i64)).collect();
        let first = [&[(0, 10_000)], &behind[..]].concat();
        align.push(Partition(0), &[entry(0, 0, 500, true, &first)], T0).unwrap();
        align.push(Partition(1), &[entry(1, 0, 500, true, &others)], T0).unwrap();
        let mut sizes = Vec::new();
        while let Some((_, users)) = take_at_most(&mut align, Reach::Everything, 100) {
            sizes.push(users.len());
        }
        assert_eq!(sizes, [100, 100, 100, 100, 100, 500]);
        // Nor does anything stay behind that is little.
        let times: Vec<_> = (500..750).map(|i| (i, i as i64)).collect();
        align.push(Partition(0), &[entry(0, 500, 750, true, &times)], T0).unwrap();
        assert_eq!(take_at_most(&mut align, Reach::Everything, 100).unwrap().1.len(), 100);
        assert_eq!(take_at_most(&mut align, Reach::Everything, 100).unwrap().1.len(), 150);
    }

    #[test]
    fn nobody_waits_for_a_partition_at_its_end() {
        let mut align = Align::new(&positions(&[(0, 5), (1, 7)]), &positions(&[(0, 5), (1, 7)]), T0);
        align.push(Partition(0), &[entry(0, 5, 9, true, &[(6, 60)])], T0).unwrap();
        assert_eq!(take(&mut align, Reach::Frontier).unwrap().0, [(0, 5, 9)]);
        // Entries without effects move the position as well.
        align.push(Partition(1), &[entry(1, 7, 8, true, &[])], T0).unwrap();
        assert_eq!(take(&mut align, Reach::Frontier), Some((vec![(1, 7, 8)], vec![])));
    }

    #[test]
    fn what_was_an_end_once_is_none_while_more_is_known() {
        let mut align = Align::new(&positions(&[]), &positions(&[(0, 20), (1, 10)]), T0);
        align.push(Partition(0), &[entry(0, 0, 10, true, &[(1, 40)])], T0).unwrap();
        align.push(Partition(1), &[entry(1, 0, 10, true, &[(1, 50)])], T0).unwrap();
        assert_eq!(take(&mut align, Reach::Frontier).unwrap().0, [(0, 0, 10)]);
        align.push(Partition(0), &[entry(0, 10, 20, true, &[(11, 45)])], T0).unwrap();
        assert_eq!(take(&mut align, Reach::Frontier).unwrap().0, [(0, 10, 20), (1, 0, 10)]);
    }

    #[test]
    fn old_events_wait_for_the_others_until_those_are_quiet() {
        let day = 86_400_000i64;
        let at = |millis| Timestamp::from_millis(day + millis);
        let mut align = Align::new(&positions(&[]), &positions(&[]), at(0));
        align.know(Partition(0), at(0));
        align.know(Partition(1), at(0));
        align.push(Partition(0), &[entry(0, 0, 10, true, &[(1, 10), (2, 50)])], at(0)).unwrap();
        assert!(align.portion(Reach::Frontier, 99, at(299)).is_none());
        assert!(align.portion(Reach::Frontier, 99, at(300)).is_some());
        align.push(Partition(1), &[entry(1, 0, 10, true, &[(1, 20)])], at(300)).unwrap();
        let times = |align: &Align, now| {
            let portion = align.portion(Reach::Frontier, 99, at(now)).unwrap();
            portion.effects.iter().map(|e| e.time.as_millis()).collect::<Vec<_>>()
        };
        // Of partition 1 more may follow what has just come.
        assert_eq!(times(&align, 300), [10, 20]);
        assert_eq!(times(&align, 600), [10, 20, 50]);
        // That it was quiet before does not release what comes now.
        align.push(Partition(0), &[entry(0, 10, 12, true, &[(11, 60)])], at(600)).unwrap();
        assert_eq!(times(&align, 601), [10, 20, 50]);
        assert_eq!(times(&align, 900), [10, 20, 50, 60]);
    }

    #[test]
    fn live_events_wait_for_nobody_at_the_end() {
        let mut align = Align::new(&positions(&[]), &positions(&[(0, 0), (1, 0)]), T0);
        align.push(Partition(0), &[entry(0, 0, 10, true, &[(1, 10)])], LATER).unwrap();
        assert_eq!(align.portion(Reach::Frontier, 99, LATER).unwrap().effects.len(), 1);
    }

    #[test]
    fn repeats_tell_no_time_and_hold_nobody_back() {
        let mut align = Align::new(&positions(&[]), &positions(&[(0, 100), (1, 100)]), T0);
        align.push(Partition(0), &[entry(0, 0, 10, false, &[(1, 10)])], T0).unwrap();
        align.push(Partition(1), &[entry(1, 0, 10, false, &[])], T0).unwrap();
        assert_eq!(take(&mut align, Reach::Frontier).unwrap().0, [(0, 0, 10), (1, 0, 10)]);
    }

    #[test]
    fn can_be_told_to_go_on() {
        let mut align = Align::new(&positions(&[]), &positions(&[(0, 100), (1, 100), (2, 100)]), T0);
        align.push(Partition(0), &[entry(0, 0, 10, false, &[(1, 10), (2, 50)])], T0).unwrap();
        align.push(Partition(1), &[entry(1, 0, 10, false, &[(1, 20)])], T0).unwrap();
        assert_eq!(take(&mut align, Reach::Frontier), None);
        assert_eq!(take(&mut align, Reach::PassIdle).unwrap().0, [(0, 0, 2), (1, 0, 10)]);
        assert_eq!(align.pending(), 1);
        assert_eq!(take(&mut align, Reach::Everything).unwrap().0, [(0, 2, 10)]);
    }

    #[test]
    fn what_was_received_is_passed_over_and_a_gap_refused() {
        let mut align = Align::new(&positions(&[(0, 4)]), &positions(&[(0, 20)]), T0);
        let long = entry(0, 0, 10, false, &[(1, 10), (3, 11), (4, 12), (8, 13)]);
        assert_eq!(align.push(Partition(0), &[Arc::clone(&long)], T0).unwrap(), 10);
        assert_eq!(align.push(Partition(0), &[long], T0).unwrap(), 10);
        assert_eq!(align.pending(), 2);
        let gap = align.push(Partition(0), &[entry(0, 11, 12, true, &[])], T0).unwrap_err();
        assert_eq!(gap.kind(), feedkit_core::ErrorKind::Gap);
        assert_eq!(
            take(&mut align, Reach::Everything),
            Some((vec![(0, 4, 10)], vec!["u0-4".into(), "u0-8".into()]))
        );
        // A range that was recorded may end within an entry.
        align.push(Partition(0), &[entry(0, 10, 20, true, &[(11, 1), (15, 2), (19, 3)])], T0).unwrap();
        let range = [Consumed { partition: Partition(0), from: 10, to: 15 }];
        assert_eq!(align.ranges(&range).effects.len(), 1);
        align.consume(&range);
        assert_eq!(
            take(&mut align, Reach::Everything).unwrap(),
            (vec![(0, 15, 20)], vec!["u0-15".into(), "u0-19".into()])
        );
    }
}
