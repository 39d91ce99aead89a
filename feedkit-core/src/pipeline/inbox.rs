//! The queue of batches for a partition's worker.

use std::collections::VecDeque;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::source::{Batch, RevokeGuard};

/// A bounded queue of batches between the source's loop and one worker.
///
/// It accepts every batch. [`put`](Inbox::put) tells when to pause the partition, and
/// [`take`](Inbox::take) tells when to resume it. The queue therefore holds at most its limit and
/// one more batch.
#[derive(Debug)]
pub(super) struct Inbox {
    limit: usize,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    batches: VecDeque<Batch>,
    records: usize,
    paused: bool,
    closed: bool,
    /// Set when no more batches will come. The inbox then closes when it is empty.
    last: bool,
    /// The guard of a revoked partition, held until the worker has ended.
    guard: Option<RevokeGuard>,
}

/// The batches that a worker takes at once.
pub(super) struct Taken {
    /// A contiguous run of batches, merged into one.
    pub(super) batch: Batch,
    /// Whether to resume the partition.
    pub(super) resume: bool,
}

impl Inbox {
    /// Creates an inbox that pauses its partition at `limit` records.
    pub(super) fn new(limit: usize) -> Self {
        Inbox { limit, state: Mutex::default(), changed: Notify::new() }
    }

    /// Adds a batch. Returns whether to pause the partition now.
    pub(super) fn put(&self, batch: Batch) -> bool {
        let mut state = self.lock();
        state.records += weight(&batch);
        state.batches.push_back(batch);
        let pause = state.records >= self.limit && !state.paused;
        state.paused |= pause;
        drop(state);
        self.changed.notify_one();
        pause
    }

    /// Lets the worker end after the batches in the inbox, because the log may no longer hold them.
    pub(super) fn finish(&self) {
        self.lock().last = true;
        self.changed.notify_one();
    }

    /// Lets the worker end after its current commit. The remaining batches are dropped, and will be
    /// read again.
    pub(super) fn close(&self, guard: Option<RevokeGuard>) {
        let mut state = self.lock();
        state.closed = true;
        state.batches.clear();
        state.guard = guard;
        drop(state);
        self.changed.notify_one();
    }

    /// Whether the worker should end.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Waits for a batch. Returns `false` if the inbox is closed, or no more batches will come.
    ///
    /// Cancel-safe.
    pub(super) async fn arrived(&self) -> bool {
        loop {
            let changed = self.changed.notified();
            {
                let state = self.lock();
                if state.closed {
                    return false;
                }
                if !state.batches.is_empty() || state.last {
                    return !state.batches.is_empty();
                }
            }
            changed.await;
        }
    }

    /// Takes the waiting batches, merged into one of at most about `most` records. A batch is never
    /// split. Returns `None` if the inbox is closed.
    ///
    /// Cancel-safe.
    pub(super) async fn take(&self, most: usize) -> Option<Taken> {
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.lock();
                if state.closed {
                    return None;
                }
                if let Some(taken) = state.take(most, self.limit) {
                    return Some(taken);
                }
                if state.last {
                    return None;
                }
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn take(&mut self, most: usize, limit: usize) -> Option<Taken> {
        let mut batch = self.batches.pop_front()?;
        self.records -= weight(&batch);
        let (mut records, mut to) = (batch.records.len(), batch.to);
        let follows = |next: &&Batch| {
            let follows = next.from == to && records + next.records.len() <= most;
            if follows {
                (records, to) = (records + next.records.len(), next.to);
            }
            follows
        };
        let merged = self.batches.iter().take_while(follows).count();
        batch.records.reserve_exact(records - batch.records.len());
        for next in self.batches.drain(..merged) {
            self.records -= weight(&next);
            batch.to = next.to;
            batch.at_end = next.at_end;
            batch.records.extend(next.records);
        }
        // The partition resumes only well below the limit, because at each pause the source may
        // drop the records that it has prefetched.
        let resume = self.paused && self.records <= limit / 2;
        self.paused &= !resume;
        Some(Taken { batch, resume })
    }
}

/// A batch without records, which consists of a hole, takes room too.
fn weight(batch: &Batch) -> usize {
    batch.records.len().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Record;
    use crate::{Partition, Timestamp};

    fn batch(from: u64, to: u64) -> Batch {
        let record = |offset| Record { offset, time: Timestamp::EPOCH, key: None, value: Default::default() };
        Batch { partition: Partition(0), from, to, at_end: false, records: (from..to).map(record).collect() }
    }

    #[tokio::test]
    async fn merges_what_came_and_says_when_to_pause() {
        let inbox = Inbox::new(4);
        assert!(!inbox.put(batch(0, 3)));
        assert!(inbox.arrived().await);
        assert!(inbox.put(batch(3, 5)));
        assert!(!inbox.put(batch(5, 6)));
        let taken = inbox.take(5).await.unwrap();
        assert_eq!((taken.batch, taken.resume), (batch(0, 5), true));
        let taken = inbox.take(5).await.unwrap();
        assert_eq!((taken.batch, taken.resume), (batch(5, 6), false));
        inbox.put(batch(6, 7));
        inbox.finish();
        assert_eq!(inbox.take(5).await.unwrap().batch, batch(6, 7));
        assert!(inbox.take(5).await.is_none());
        inbox.put(batch(7, 8));
        inbox.close(None);
        assert!(!inbox.arrived().await);
        assert!(inbox.take(5).await.is_none());
    }
}
