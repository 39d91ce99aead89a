//! The newest entries of the journal, kept in memory for one follower.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::journal::JournalEntry;
use crate::{Offset, Partition, Positions};

/// Entries that one follower has not taken yet. The size is limited per partition. Entries that do
/// not fit are left out, and the follower reads them from the journal.
#[derive(Debug)]
pub(super) struct Feed {
    limit: usize,
    state: Mutex<BTreeMap<Partition, Lane>>,
    changed: Notify,
    /// Set when other processes may have committed.
    look: AtomicBool,
}

#[derive(Debug, Default)]
struct Lane {
    entries: VecDeque<Arc<JournalEntry>>,
    weight: usize,
    /// The position after the newest entry, whether or not the follower has taken it.
    end: Offset,
}

/// What a feed has for a follower at some offset.
#[derive(Debug)]
pub(super) enum Next {
    /// A contiguous run that contains or begins at the offset.
    Entries(Vec<Arc<JournalEntry>>),
    /// The next entries are only in the journal.
    InJournal,
    /// There is nothing new.
    Nothing,
}

impl Feed {
    /// Creates a feed that keeps about `limit` effects for each partition.
    pub(super) fn new(limit: usize) -> Self {
        Feed { limit, state: Mutex::default(), changed: Notify::new(), look: AtomicBool::new(false) }
    }

    /// Adds an entry that was just committed.
    pub(super) fn offer(&self, entry: &Arc<JournalEntry>) {
        let mut state = self.lock();
        let lane = state.entry(entry.partition).or_default();
        lane.end = entry.to;
        if lane.weight < self.limit {
            lane.weight += weight(entry);
            lane.entries.push_back(entry.clone());
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Notes the positions that were read from the history.
    pub(super) fn history_stands_at(&self, positions: &Positions) {
        let mut state = self.lock();
        for (partition, offset) in positions.iter() {
            let lane = state.entry(partition).or_default();
            lane.end = lane.end.max(offset);
        }
    }

    /// The entries from `at` on, with about `most` effects.
    pub(super) fn next(&self, partition: Partition, at: Offset, most: usize) -> Next {
        let mut state = self.lock();
        let Some(lane) = state.get_mut(&partition) else { return Next::Nothing };
        while let Some(front) = lane.entries.front() {
            if front.to > at {
                break;
            }
            lane.pop();
        }
        if lane.end <= at {
            return Next::Nothing;
        }
        if lane.entries.front().is_none_or(|front| front.from > at) {
            return Next::InJournal;
        }
        let (mut run, mut effects) = (Vec::new(), 0);
        let mut to = at;
        while let Some(front) = lane.entries.front() {
            let follows = run.is_empty() || front.from == to;
            if !follows || (!run.is_empty() && effects + front.effects.len() > most) {
                break;
            }
            let Some(entry) = lane.pop() else { break };
            (to, effects) = (entry.to, effects + entry.effects.len());
            run.push(entry);
        }
        Next::Entries(run)
    }

    /// The partitions with entries or known positions.
    pub(super) fn partitions(&self) -> Vec<Partition> {
        self.lock().keys().copied().collect()
    }

    /// Waits for an entry, or for [`wake`](Feed::wake).
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Ends the wait, and requests that the history's positions are read.
    pub(super) fn look(&self) {
        self.look.store(true, Ordering::Relaxed);
        self.wake();
    }

    /// Whether reading the history's positions was requested since the last call.
    pub(super) fn take_look(&self) -> bool {
        self.look.swap(false, Ordering::Relaxed)
    }

    /// Ends the wait.
    pub(super) fn wake(&self) {
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Partition, Lane>> {
        self.state.lock()
    }
}

impl Lane {
    fn pop(&mut self) -> Option<Arc<JournalEntry>> {
        let entry = self.entries.pop_front()?;
        self.weight -= weight(&entry);
        Some(entry)
    }
}

fn weight(entry: &JournalEntry) -> usize {
    entry.effects.len() + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::Effect;
    use crate::{EventKind, PostId, Timestamp, UserId};

    fn entry(from: u64, to: u64) -> Arc<JournalEntry> {
        let effect = |offset| Effect {
            offset,
            user: UserId::new("u").unwrap(),
            post: PostId::new("p").unwrap(),
            kind: EventKind::Comment,
            time: Timestamp::EPOCH,
        };
        let effects = (from..to).map(effect).collect();
        Arc::new(JournalEntry { partition: Partition(0), from, to, epoch: 1, at_end: false, effects })
    }

    fn next(feed: &Feed, at: u64) -> Option<(u64, u64)> {
        match feed.next(Partition(0), at, 4) {
            Next::Entries(run) => Some((run[0].from, run[run.len() - 1].to)),
            Next::InJournal => Some((u64::MAX, u64::MAX)),
            Next::Nothing => None,
        }
    }

    #[test]
    fn what_found_no_room_is_in_the_journal() {
        let feed = Feed::new(5);
        assert_eq!(next(&feed, 0), None);
        for from in [0, 2, 4, 6] {
            feed.offer(&entry(from, from + 2));
        }
        assert_eq!(next(&feed, 0), Some((0, 4)));
        let journal = Some((u64::MAX, u64::MAX));
        assert_eq!(next(&feed, 4), journal);
        feed.offer(&entry(8, 10));
        assert_eq!(next(&feed, 4), journal);
        assert_eq!(next(&feed, 9), Some((8, 10)));
        assert_eq!(next(&feed, 10), None);
        feed.history_stands_at(&[(Partition(0), 12), (Partition(3), 1)].into_iter().collect());
        assert_eq!(next(&feed, 10), journal);
        assert_eq!(feed.partitions(), [Partition(0), Partition(3)]);
    }
}
