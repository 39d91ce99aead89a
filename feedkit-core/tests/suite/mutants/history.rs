//! Histories with faults.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};

use feedkit_core::effect::LikePolicy;
use feedkit_core::history::{
    Claim, CommitBatch, Committed, History, JournalRead, PostTotals, Retained, RetentionPolicy, Snapshot,
};
use feedkit_core::memory::MemoryHistory;
use feedkit_core::{ErrorKind, EventId, Offset, Partition, Positions, Result, Timestamp};

use super::faults::faults;

faults! {
    /// The faults of a [`MutantHistory`].
    HistoryFault {
        /// Accepts a commit with an older epoch.
        AcceptsOldEpoch,
        /// Accepts a commit with an epoch that was never given.
        AcceptsFutureEpoch,
        /// Does not increase the epoch at a claim.
        EpochStays,
        /// Increases the epoch when `claimed` is called.
        AskingClaims,
        /// Accepts any consumer group.
        AcceptsAnyGroup,
        /// Writes no journal entry for a batch without effects.
        SkipsEmptyEntries,
        /// Counts a like of a user who already likes the post.
        CountsRepeatedLikes,
        /// Stores an event again although its id and user are stored.
        KeepsRepeats,
        /// Treats an event of another user with the same id as a duplicate.
        IdentityById,
        /// Moves the position although the commit fails.
        MovesOnError,
        /// Accepts a batch that begins after the stored position.
        JumpsGaps,
        /// Accepts a batch that it has already committed.
        TakesItTwice,
        /// Stores the events first, and moves the position in a second transaction.
        CommitsInTwo,
        /// Does not count rejected records.
        MiscountsRejected,
        /// Forgets whether the log was at its end.
        ForgetsAtEnd,
        /// Forgets the last record.
        ForgetsLast,
        /// Forgets which log it was.
        ForgetsLog,
        /// Reads the journal backwards.
        JournalBackwards,
        /// Always reads the journal from its beginning.
        JournalFromStart,
        /// Reads more of the journal than fits.
        JournalUnlimited,
        /// Reads nothing of the journal when the first entry does not fit.
        JournalStarves,
        /// Returns a snapshot with positions that are too high.
        SnapshotAhead,
        /// Leaves out a post in a snapshot.
        SnapshotLosesPost,
        /// Forgets authors in a snapshot.
        SnapshotLosesAuthors,
        /// Drops journal entries that a follower needs.
        DropsNeededJournal,
        /// Returns another incarnation at each call.
        IncarnationChanges,
        /// Accepts a gap without moving the position.
        GapMovesNothing,
    }
}

/// A history with one fault.
pub(crate) struct MutantHistory {
    inner: MemoryHistory,
    fault: HistoryFault,
    ids: Mutex<HashSet<EventId>>,
    made: AtomicU64,
    retained: AtomicBool,
    /// The position before a commit that runs in two steps.
    stale: Mutex<Option<Claim>>,
}

impl MutantHistory {
    /// Creates a history with this fault.
    pub(crate) fn new(fault: HistoryFault) -> Self {
        let likes = match fault {
            HistoryFault::CountsRepeatedLikes => LikePolicy::Every,
            _ => LikePolicy::Unique,
        };
        MutantHistory {
            inner: MemoryHistory::new().with_like_policy(likes),
            fault,
            ids: Mutex::default(),
            made: AtomicU64::new(0),
            retained: AtomicBool::new(false),
            stale: Mutex::new(None),
        }
    }

    fn stale(&self) -> MutexGuard<'_, Option<Claim>> {
        self.stale.lock()
    }

    fn as_it_was(&self, claim: Claim) -> Claim {
        self.stale().map_or(claim, |old| Claim { epoch: claim.epoch, ..old })
    }

    fn number(&self) -> u128 {
        u128::from(self.made.fetch_add(1, Ordering::SeqCst))
    }

    /// Removes events whose ids were seen. Returns how many.
    fn remove_known_ids(&self, batch: &mut CommitBatch) -> u64 {
        let mut ids = self.ids.lock();
        let before = batch.events.len();
        batch.events.retain(|e| ids.insert(e.event.id));
        (before - batch.events.len()) as u64
    }
}

#[async_trait]
impl History for MutantHistory {
    async fn claim(&self, partition: Partition, group: &str) -> Result<Claim> {
        let now = self.inner.claimed(partition).await?;
        match self.fault {
            HistoryFault::EpochStays if now.epoch > 0 => Ok(now),
            HistoryFault::AcceptsAnyGroup => self.inner.claim(partition, "any").await,
            _ => Ok(self.as_it_was(self.inner.claim(partition, group).await?)),
        }
    }

    async fn claimed(&self, partition: Partition) -> Result<Claim> {
        let claim = self.inner.claimed(partition).await?;
        Ok(match self.fault {
            HistoryFault::AskingClaims if claim.epoch > 0 => self.inner.claim(partition, "group").await?,
            HistoryFault::ForgetsLast => Claim { last: None, ..claim },
            HistoryFault::ForgetsLog => Claim { log: None, ..claim },
            _ => self.as_it_was(claim),
        })
    }

    async fn commit(&self, batch: Arc<CommitBatch>) -> Result<Committed> {
        let claim = self.inner.claimed(batch.partition).await?;
        let mut changed = (*batch).clone();
        let mut known = 0;
        match self.fault {
            HistoryFault::AcceptsOldEpoch if batch.epoch < claim.epoch => changed.epoch = claim.epoch,
            HistoryFault::AcceptsFutureEpoch if batch.epoch > claim.epoch => changed.epoch = claim.epoch,
            HistoryFault::JumpsGaps if batch.from > claim.position => changed.from = claim.position,
            HistoryFault::TakesItTwice if batch.to <= claim.position && batch.epoch == claim.epoch => {
                let JournalRead::Entries(entries) =
                    self.inner.journal(batch.partition, batch.from, 0).await?
                else {
                    return self.inner.commit(batch).await;
                };
                if let Some(entry) = entries.first() {
                    return Ok(Committed { entry: Arc::clone(entry), counts: Default::default() });
                }
            }
            HistoryFault::KeepsRepeats => {
                let now = |id: EventId| EventId::derived(id.time(), self.number());
                changed.events.iter_mut().for_each(|e| e.event.id = now(e.event.id));
            }
            HistoryFault::IdentityById if batch.from == claim.position => {
                known = self.remove_known_ids(&mut changed)
            }
            HistoryFault::ForgetsAtEnd => changed.at_end = false,
            _ => {}
        }
        let outcome = self.inner.commit(Arc::new(changed)).await;
        if self.fault == HistoryFault::CommitsInTwo && outcome.is_ok() {
            *self.stale() = Some(claim);
            tokio::task::yield_now().await;
            *self.stale() = None;
        }
        match (self.fault, outcome) {
            (HistoryFault::MovesOnError, Err(e))
                if e.kind() == ErrorKind::Gap && batch.to > claim.position =>
            {
                let empty = CommitBatch {
                    from: claim.position,
                    events: Vec::new(),
                    rejected: Vec::new(),
                    ..(*batch).clone()
                };
                self.inner.commit(Arc::new(empty)).await?;
                Err(e)
            }
            (HistoryFault::MiscountsRejected, Ok(mut done)) => {
                done.counts.rejected = 0;
                Ok(done)
            }
            (_, outcome) => outcome.map(|mut done| {
                done.counts.duplicates += known;
                done
            }),
        }
    }

    async fn journal(&self, partition: Partition, from: Offset, max_effects: usize) -> Result<JournalRead> {
        let (from, most) = match self.fault {
            HistoryFault::JournalFromStart => (0, max_effects),
            HistoryFault::JournalUnlimited => (from, usize::MAX),
            _ => (from, max_effects),
        };
        let position = self.inner.claimed(partition).await?.position;
        if self.fault == HistoryFault::DropsNeededJournal
            && self.retained.load(Ordering::SeqCst)
            && from < position
        {
            return Ok(JournalRead::Expired(position));
        }
        let JournalRead::Entries(mut entries) = self.inner.journal(partition, from, most).await? else {
            return self.inner.journal(partition, from, most).await;
        };
        match self.fault {
            HistoryFault::SkipsEmptyEntries => entries.retain(|e| !e.effects.is_empty()),
            HistoryFault::JournalBackwards => entries.reverse(),
            HistoryFault::JournalStarves => entries.retain(|e| e.effects.len() <= max_effects),
            _ => {}
        }
        Ok(JournalRead::Entries(entries))
    }

    async fn positions(&self) -> Result<Positions> {
        self.inner.positions().await
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        let inner = self.inner.snapshot().await?;
        let mut positions = inner.positions().clone();
        if self.fault == HistoryFault::SnapshotAhead {
            positions = positions.iter().map(|(p, o)| (p, o + 1)).collect();
        }
        Ok(Box::new(MutantSnapshot { inner, positions, fault: self.fault, given: 0 }))
    }

    async fn incarnation(&self) -> Result<u128> {
        match self.fault {
            HistoryFault::IncarnationChanges => {
                Ok(self.inner.incarnation().await?.wrapping_add(self.number()))
            }
            _ => self.inner.incarnation().await,
        }
    }

    async fn note_follower(&self, follower: &str, partition: Partition, position: Offset) -> Result<()> {
        self.inner.note_follower(follower, partition, position).await
    }

    async fn retain(&self, policy: &RetentionPolicy, now: Timestamp) -> Result<Retained> {
        self.retained.store(true, Ordering::SeqCst);
        self.inner.retain(policy, now).await
    }

    async fn accept_gap(&self, partition: Partition, log: u128, to: Offset, now: Timestamp) -> Result<()> {
        match self.fault {
            HistoryFault::GapMovesNothing => Ok(()),
            _ => self.inner.accept_gap(partition, log, to, now).await,
        }
    }
}

struct MutantSnapshot {
    inner: Box<dyn Snapshot>,
    positions: Positions,
    fault: HistoryFault,
    given: usize,
}

#[async_trait]
impl Snapshot for MutantSnapshot {
    fn positions(&self) -> &Positions {
        &self.positions
    }

    async fn next(&mut self, limit: usize) -> Result<Vec<PostTotals>> {
        let mut totals = self.inner.next(limit).await?;
        match self.fault {
            HistoryFault::SnapshotLosesPost if self.given > 0 && totals.len() > 1 => drop(totals.pop()),
            HistoryFault::SnapshotLosesAuthors => totals.iter_mut().for_each(|t| t.author = None),
            _ => {}
        }
        self.given += totals.len();
        Ok(totals)
    }
}
