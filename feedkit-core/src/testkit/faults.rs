//! Wrappers that make some calls fail, as networks and databases do.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::counters::{ChunkOutcome, CounterChunk, CounterStore, Fence, RebuildToken};
use crate::counts::Counts;
use crate::follower::{Follower, FollowerPosition, Scope};
use crate::history::{
    Claim, CommitBatch, Committed, History, JournalRead, PostTotals, Retained, RetentionPolicy, Snapshot,
};
use crate::journal::JournalEntry;
use crate::queries::{PostView, RankedPost};
use crate::sink::NewRecord;
use crate::{Error, EventSink, Offset, Partition, Position, Positions, PostId, Result, Timestamp};

/// The fate of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call succeeds.
    None,
    /// The call is not carried out, and fails as [`Retriable`](crate::ErrorKind::Retriable).
    Retriable,
    /// The call is carried out, but fails as [`Uncertain`](crate::ErrorKind::Uncertain).
    UncertainDone,
    /// The call is not carried out, and fails as [`Uncertain`](crate::ErrorKind::Uncertain).
    UncertainNotDone,
}

/// Decides which calls fail, and how. Clones share the same sequence of decisions.
///
/// ```
/// use feedkit_core::memory::MemoryCounters;
/// use feedkit_core::testkit::faults::{Fault, Faults, Faulty};
/// use feedkit_core::{Counts, ErrorKind};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let faults = Faults::scripted([Fault::None, Fault::Retriable]);
/// let counters = Faulty::new(MemoryCounters::default(), faults);
/// assert!(counters.top(3).await.is_ok());
/// assert_eq!(counters.top(3).await.map_err(|e| e.kind()), Err(ErrorKind::Retriable));
/// assert!(counters.top(3).await.is_ok());
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Faults(Arc<Mutex<Plan>>);

#[derive(Debug)]
struct Plan {
    script: VecDeque<Fault>,
    random: Option<(ChaCha8Rng, Odds)>,
    injected: u64,
}

/// The share of calls, from 0 to 1, that fail with each fault.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Odds {
    /// [`Fault::Retriable`]
    pub retriable: f64,
    /// [`Fault::UncertainDone`]
    pub uncertain_done: f64,
    /// [`Fault::UncertainNotDone`]
    pub uncertain_not_done: f64,
}

impl Odds {
    /// Sets every share to `share`.
    pub fn each(share: f64) -> Self {
        Odds { retriable: share, uncertain_done: share, uncertain_not_done: share }
    }
}

impl Faults {
    /// Injects these faults in this order, and then no more.
    pub fn scripted(script: impl IntoIterator<Item = Fault>) -> Self {
        let script = script.into_iter().collect();
        Faults(Arc::new(Mutex::new(Plan { script, random: None, injected: 0 })))
    }

    /// Injects random faults with these odds. The same seed gives the same faults for the same
    /// calls.
    pub fn seeded(seed: u64, odds: Odds) -> Self {
        let random = Some((ChaCha8Rng::seed_from_u64(seed), odds));
        Faults(Arc::new(Mutex::new(Plan { script: VecDeque::new(), random, injected: 0 })))
    }

    /// Injects no more faults.
    pub fn stop(&self) {
        let mut plan = self.plan();
        plan.script.clear();
        plan.random = None;
    }

    /// How many faults were injected.
    pub fn injected(&self) -> u64 {
        self.plan().injected
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        // Each statement leaves the plan complete, so a panic cannot damage it.
        self.0.lock()
    }

    fn draw(&self) -> Fault {
        let mut plan = self.plan();
        let fault = match (plan.script.pop_front(), &mut plan.random) {
            (Some(fault), _) => fault,
            (None, None) => Fault::None,
            (None, Some((rng, odds))) => {
                let mut x = rng.random::<f64>();
                let shares = [
                    (odds.retriable, Fault::Retriable),
                    (odds.uncertain_done, Fault::UncertainDone),
                    (odds.uncertain_not_done, Fault::UncertainNotDone),
                ];
                let hit = shares.into_iter().find(|(share, _)| {
                    x -= share;
                    x < 0.0
                });
                hit.map_or(Fault::None, |(_, fault)| fault)
            }
        };
        plan.injected += u64::from(fault != Fault::None);
        fault
    }

    /// Runs a call that only reads, or may be repeated. It fails as retriable, whichever fault was
    /// drawn.
    async fn read<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        match self.draw() {
            Fault::None => call.await,
            _ => Err(Error::retriable("injected: not carried out")),
        }
    }

    /// Runs a call that writes.
    async fn write<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        match self.draw() {
            Fault::None => call.await,
            Fault::Retriable => Err(Error::retriable("injected: not carried out")),
            Fault::UncertainNotDone => Err(Error::uncertain("injected: not carried out")),
            Fault::UncertainDone => {
                // If the backend refused the call, the caller gets that error.
                call.await?;
                Err(Error::uncertain("injected: carried out"))
            }
        }
    }
}

/// A sink, a history, a follower or a counter store that fails as its [`Faults`] decide.
///
/// Calls that change something can fail in every way. Calls that only read fail as retriable
/// whenever a fault is drawn. A sink draws a fault for each record.
#[derive(Debug)]
pub struct Faulty<T> {
    inner: T,
    faults: Faults,
}

impl<T> Faulty<T> {
    /// Wraps `inner`, which fails as `faults` decide.
    pub fn new(inner: T, faults: Faults) -> Self {
        Faulty { inner, faults }
    }

    /// The wrapped backend.
    pub fn inner(&self) -> &T {
        &self.inner
    }
}

#[async_trait]
impl<T: EventSink> EventSink for Faulty<T> {
    async fn send(&self, batch: Vec<NewRecord>) -> Vec<Result<Position>> {
        let faults: Vec<_> = batch.iter().map(|_| self.faults.draw()).collect();
        let done = |fault: &Fault| matches!(fault, Fault::None | Fault::UncertainDone);
        let taken = batch.into_iter().zip(&faults).filter(|(_, fault)| done(fault));
        let mut outcomes = self.inner.send(taken.map(|(record, _)| record).collect()).await.into_iter();
        let mut outcome = |fault| match fault {
            Fault::Retriable => Err(Error::retriable("injected: not taken")),
            Fault::UncertainNotDone => Err(Error::uncertain("injected: not taken")),
            Fault::None | Fault::UncertainDone => {
                let outcome =
                    outcomes.next().unwrap_or_else(|| Err(Error::fatal("an outcome is missing")))?;
                match fault {
                    Fault::UncertainDone => Err(Error::uncertain("injected: taken")),
                    _ => Ok(outcome),
                }
            }
        };
        faults.into_iter().map(&mut outcome).collect()
    }

    async fn flush(&self) -> Result<()> {
        self.inner.flush().await
    }
}

#[async_trait]
impl<T: History> History for Faulty<T> {
    async fn claim(&self, partition: Partition, group: &str) -> Result<Claim> {
        self.faults.write(self.inner.claim(partition, group)).await
    }
    async fn claimed(&self, partition: Partition) -> Result<Claim> {
        self.faults.read(self.inner.claimed(partition)).await
    }
    async fn commit(&self, batch: Arc<CommitBatch>) -> Result<Committed> {
        self.faults.write(self.inner.commit(batch)).await
    }
    async fn journal(&self, partition: Partition, from: Offset, max_effects: usize) -> Result<JournalRead> {
        self.faults.read(self.inner.journal(partition, from, max_effects)).await
    }
    async fn positions(&self) -> Result<Positions> {
        self.faults.read(self.inner.positions()).await
    }
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        self.faults.read(self.inner.snapshot()).await
    }
    async fn incarnation(&self) -> Result<u128> {
        self.faults.read(self.inner.incarnation()).await
    }
    async fn note_follower(&self, follower: &str, partition: Partition, position: Offset) -> Result<()> {
        self.faults.write(self.inner.note_follower(follower, partition, position)).await
    }
    async fn retain(&self, policy: &RetentionPolicy, now: Timestamp) -> Result<Retained> {
        self.faults.write(self.inner.retain(policy, now)).await
    }
    async fn accept_gap(&self, partition: Partition, log: u128, to: Offset, now: Timestamp) -> Result<()> {
        self.faults.write(self.inner.accept_gap(partition, log, to, now)).await
    }
}

#[async_trait]
impl<T: Follower> Follower for Faulty<T> {
    fn name(&self) -> &str {
        self.inner.name()
    }
    fn scope(&self) -> Scope {
        self.inner.scope()
    }
    async fn position(&self, partition: Partition) -> Result<FollowerPosition> {
        self.faults.read(self.inner.position(partition)).await
    }
    async fn apply(&self, partition: Partition, entries: &[Arc<JournalEntry>]) -> Result<Offset> {
        // A fault in a follower is always retriable, even if the follower has stored the entries.
        let outcome = self.faults.write(self.inner.apply(partition, entries)).await;
        outcome.map_err(|e| match e.kind() {
            crate::ErrorKind::Uncertain => Error::retriable(e.to_string()),
            _ => e,
        })
    }
    async fn rebuild(&self, history: &dyn History) -> Result<()> {
        self.faults.read(self.inner.rebuild(history)).await
    }
    async fn tick(&self) -> Result<()> {
        self.inner.tick().await
    }
    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

#[async_trait]
impl<T: Counts> Counts for Faulty<T> {
    async fn posts(&self, posts: &[PostId]) -> Result<Vec<PostView>> {
        self.faults.read(self.inner.posts(posts)).await
    }
    async fn top(&self, limit: usize) -> Result<Vec<RankedPost>> {
        self.faults.read(self.inner.top(limit)).await
    }
    async fn trending(&self, now: Timestamp, limit: usize) -> Result<Vec<RankedPost>> {
        self.faults.read(self.inner.trending(now, limit)).await
    }
}

#[async_trait]
impl<T: CounterStore> CounterStore for Faulty<T> {
    async fn fence(&self, partition: Partition) -> Result<Option<Fence>> {
        self.faults.read(self.inner.fence(partition)).await
    }
    async fn apply(&self, chunk: &CounterChunk) -> Result<ChunkOutcome> {
        self.faults.write(self.inner.apply(chunk)).await
    }
    async fn begin_rebuild(&self) -> Result<RebuildToken> {
        self.faults.write(self.inner.begin_rebuild()).await
    }
    async fn load(&self, token: RebuildToken, totals: &[PostTotals]) -> Result<()> {
        self.faults.write(self.inner.load(token, totals)).await
    }
    async fn finish_rebuild(
        &self,
        token: RebuildToken,
        positions: &Positions,
        incarnation: u128,
    ) -> Result<()> {
        self.faults.write(self.inner.finish_rebuild(token, positions, incarnation)).await
    }
}
