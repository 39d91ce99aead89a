//! One partition's worker: claims it, decodes its records, commits them, hands the entries on.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::commit::{commit, rest};
use super::feed::Feed;
use super::inbox::{Inbox, Taken};
use super::run::PipelineConfig;
use super::status::{PartitionState, PipelineStatus};
use crate::codec::Place;
use crate::effect::LoggedEvent;
use crate::history::{Claim, CommitBatch, Rejected};
use crate::source::{Assigned, Batch, Resume};
use crate::{Clock, Codec, Error, History, Offset, Partition, Positions, Result};

/// Decoding goes on for so many records before others get their turn.
const DECODE_RUN: usize = 512;

/// How often a new partition looks how far the older ones have come.
const LOOK: std::time::Duration = std::time::Duration::from_millis(50);

/// What all workers share.
pub(super) struct Shared {
    pub(super) history: Arc<dyn History>,
    pub(super) codec: Arc<dyn Codec>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) config: PipelineConfig,
    /// One for each commit that may be under way.
    pub(super) commits: Semaphore,
    pub(super) feeds: Vec<Arc<Feed>>,
    pub(super) status: watch::Sender<PipelineStatus>,
}

/// What a worker asks of the loop that owns the source.
pub(super) enum Request {
    /// The inbox has room again.
    Resume(Partition),
    /// Is the partition still ours?
    StillHeld(Partition, oneshot::Sender<Result<bool>>),
    /// Where does the log end now?
    Ends(oneshot::Sender<Result<Positions>>),
}

/// One assigned partition.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) requests: mpsc::UnboundedSender<Request>,
    /// The partition is gone: stop at once.
    pub(super) lost: CancellationToken,
    /// The partition is to be given back: finish the commit under way, but do not wait for ever.
    pub(super) closing: CancellationToken,
    pub(super) place: Place,
}

impl Worker {
    /// Works until the partition is taken away (`Ok`), or cannot go on.
    pub(super) async fn run(self, assigned: Assigned) -> Result<()> {
        let partition = self.place.partition;
        let (lost, closing) = (self.lost.clone(), self.closing.clone());
        let patience = self.shared.config.shutdown_deadline / 2;
        let overdue = async move {
            closing.cancelled().await;
            tokio::time::sleep(patience).await;
            tracing::warn!(partition = partition.0, "given back with a commit unsettled");
        };
        let outcome = tokio::select! {
            biased;
            () = lost.cancelled() => Ok(()),
            () = overdue => Ok(()),
            outcome = self.work(assigned) => outcome,
        };
        self.shared.status.send_modify(|status| {
            let status = status.partitions.entry(partition).or_default();
            match &outcome {
                Err(error) => status.state = PartitionState::Stopped(error.to_string()),
                Ok(()) => status.go_on(PartitionState::Released),
            }
        });
        outcome
    }

    async fn work(&self, assigned: Assigned) -> Result<()> {
        let mut claim = self.claim().await?;
        let may_be_new = self.shared.config.partitions_may_grow && claim.position == 0;
        let at_claim = if may_be_new { self.older_now().await? } else { None };
        assigned.resume(Resume { offset: claim.position, log: claim.log, last: claim.last });
        if may_be_new && self.inbox.arrived().await {
            let older = match at_claim {
                Some(older) => older,
                None => self.committed_from().await?,
            };
            // Not before its first record: a writer may notice a new partition later than a reader. Meanwhile,
            // records wait in the inbox, which pauses the partition when it is full.
            self.wait_for_older(&claim, &older).await?;
        }
        while self.inbox.arrived().await {
            // Before anything is taken: what comes while others commit is committed together.
            let mut turn = tokio::select! {
                biased;
                () = self.closing.cancelled() => break,
                turn = self.shared.commits.acquire() => turn.ok(),
            };
            let Some(Taken { batch, resume }) = self.inbox.take(self.shared.config.max_batch).await else {
                break;
            };
            if resume {
                // Fails only when the loop has ended, which ends this worker too.
                let _ = self.requests.send(Request::Resume(self.place.partition));
            }
            if let Some(next) = self.process(claim, batch, &mut turn).await? {
                claim = next;
            }
        }
        Ok(())
    }

    /// Of this partition nothing was committed yet, of these there was: the log may have grown, and what its
    /// keys did before lies in those. They go first, up to where they end now that its first record is here.
    async fn wait_for_older(&self, claim: &Claim, older: &[Partition]) -> Result<()> {
        if older.is_empty() {
            return Ok(());
        }
        let partition = self.place.partition;
        let target = self.patiently(|| self.ends_of(older)).await?;
        while !self.inbox.is_closed() {
            match self.shared.history.positions().await {
                Ok(positions) if positions.covers(&target) => break,
                Ok(_) => {
                    let mut news = false;
                    self.shared.status.send_modify(|status| {
                        let status = status.partitions.entry(partition).or_default();
                        news = status.state != PartitionState::Waiting;
                        status.go_on(PartitionState::Waiting);
                    });
                    if news {
                        tracing::info!(
                            partition = partition.0,
                            ?target,
                            "a new partition waits for the older ones"
                        );
                    }
                }
                Err(error) if error.is_retriable() => self.trouble(&error),
                Err(error) => return Err(error),
            }
            tokio::time::sleep(LOOK).await;
        }
        self.running(claim.position);
        Ok(())
    }

    /// As of the claim, the partitions that this one may have to wait for; `None` while it has no record yet, when that
    /// is to be seen at its first. Where a group begins with a log that was never read, all its partitions are claimed
    /// before any gets on, so that none waits; one that is claimed after that only waits without need.
    async fn older_now(&self) -> Result<Option<Vec<Partition>>> {
        let own = [self.place.partition];
        let older = self.committed_from().await?;
        let ends = self.patiently(|| self.ends_of(&own)).await?;
        self.running(0);
        Ok((ends.of(self.place.partition) > 0).then_some(older))
    }

    /// The other partitions that anything was committed from.
    async fn committed_from(&self) -> Result<Vec<Partition>> {
        let positions = self.patiently(|| self.shared.history.positions()).await?;
        let others = positions.iter().filter(|(p, at)| *p != self.place.partition && *at > 0);
        Ok(others.map(|(partition, _)| partition).collect())
    }

    /// Where these partitions end now.
    async fn ends_of(&self, older: &[Partition]) -> Result<Positions> {
        let (reply, answer) = oneshot::channel();
        let ended = || Error::fenced("the source has ended");
        self.requests.send(Request::Ends(reply)).map_err(|_| ended())?;
        let ends = answer.await.map_err(|_| ended())??;
        Ok(older.iter().map(|p| (*p, ends.of(*p))).collect())
    }

    /// Asks again for as long as it may pass.
    async fn patiently<T, F>(&self, ask: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut waits = self.shared.config.backoff.waits();
        loop {
            match ask().await {
                Err(error) if error.is_retriable() => {
                    self.trouble(&error);
                    waits.sleep().await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Takes the partition over, however long that takes.
    async fn claim(&self) -> Result<Claim> {
        let partition = self.place.partition;
        let mut waits = self.shared.config.backoff.waits();
        loop {
            match self.shared.history.claim(partition, &self.shared.config.group).await {
                Ok(claim) => {
                    self.running(claim.position);
                    let positions = [(partition, claim.position)].into_iter().collect();
                    for feed in &self.shared.feeds {
                        feed.history_stands_at(&positions);
                        feed.wake();
                    }
                    return Ok(claim);
                }
                Err(error) if error.kind().may_pass() => {
                    self.trouble(&error);
                    waits.sleep().await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Commits one batch, with the turn that was taken for it. The claim to go on with.
    async fn process<'a>(
        &'a self,
        mut claim: Claim,
        batch: Batch,
        turn: &mut Option<SemaphorePermit<'a>>,
    ) -> Result<Option<Claim>> {
        if batch.to <= claim.position {
            return Ok(Some(claim));
        }
        // The records are gone from here on: what is committed was made from them.
        let mut prepared = Arc::new(self.prepare(&claim, batch).await);
        loop {
            let tried =
                commit(&*self.shared.history, Arc::clone(&prepared), self.shared.config.backoff, |e| {
                    self.trouble(e)
                });
            match tried.await {
                Ok(committed) => {
                    for one in &committed {
                        for feed in &self.shared.feeds {
                            feed.offer(&one.entry);
                        }
                    }
                    self.shared.status.send_modify(|status| {
                        for one in &committed {
                            status.counts += one.counts;
                        }
                        let status = status.partitions.entry(prepared.partition).or_default();
                        status.position = prepared.to;
                        status.go_on(PartitionState::Running);
                    });
                    claim.position = prepared.to;
                    return Ok(Some(claim));
                }
                Err(error) if error.kind().must_reclaim() => {
                    // Meanwhile others have their turn: claiming waits for the holder of the partition.
                    *turn = None;
                    claim = self.reclaim(&error).await?;
                    if claim.position < prepared.from {
                        // Records between are not at hand any more; only a new assignment brings them.
                        return Err(Error::gap(format!(
                            "the history went back to {}, the log was read up to {}",
                            claim.position, prepared.from
                        )));
                    }
                    if prepared.to <= claim.position {
                        return Ok(Some(claim));
                    }
                    // If there are no turns any more it goes on without.
                    *turn = self.shared.commits.acquire().await.ok();
                    prepared = Arc::new(rest(&prepared, &claim, self.shared.clock.now()));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Somebody else has claimed the partition: that is a zombie's end, unless it is ours all the same.
    async fn reclaim(&self, why: &Error) -> Result<Claim> {
        let partition = self.place.partition;
        self.trouble(why);
        let mut waits = self.shared.config.backoff.waits();
        loop {
            waits.sleep().await;
            let (reply, answer) = oneshot::channel();
            let ended = || Error::fenced("the source has ended");
            self.requests.send(Request::StillHeld(partition, reply)).map_err(|_| ended())?;
            match answer.await.map_err(|_| ended())? {
                Ok(true) => return self.claim().await,
                Ok(false) => {
                    return Err(Error::fenced(format!("partition {partition} is another's now: {why}")));
                }
                Err(error) => self.trouble(&error),
            }
        }
    }

    async fn prepare(&self, claim: &Claim, batch: Batch) -> CommitBatch {
        let mut events = Vec::with_capacity(batch.records.len());
        let mut rejected = Vec::new();
        for run in batch.records.chunks(DECODE_RUN) {
            for record in run.iter().filter(|record| record.offset >= claim.position) {
                match self.shared.codec.decode(&self.place, record) {
                    Ok(event) => events.push(LoggedEvent { offset: record.offset, event }),
                    Err(fault) => rejected.push(Rejected::new(record, fault)),
                }
            }
            tokio::task::yield_now().await;
        }
        CommitBatch {
            partition: batch.partition,
            epoch: claim.epoch,
            log: self.place.log,
            from: claim.position.max(batch.from),
            to: batch.to,
            at_end: batch.at_end,
            events,
            rejected,
            last: batch.records.last().map(crate::source::Record::mark),
            now: self.shared.clock.now(),
        }
    }

    fn running(&self, position: Offset) {
        self.shared.status.send_modify(|status| {
            let status = status.partitions.entry(self.place.partition).or_default();
            status.position = position;
            status.go_on(PartitionState::Running);
        });
    }

    fn trouble(&self, error: &Error) {
        tracing::warn!(partition = self.place.partition.0, %error, "trying again");
        self.shared.status.send_modify(|status| {
            let status = status.partitions.entry(self.place.partition).or_default();
            status.go_on(PartitionState::Retrying(error.to_string()));
        });
    }
}

impl Shared {
    pub(super) fn show_source(&self, trouble: Option<String>) {
        self.status.send_if_modified(|status| {
            let changed = status.source_trouble != trouble;
            status.source_trouble = trouble;
            changed
        });
    }

    pub(super) fn set_state(&self, partition: Partition, state: PartitionState) {
        self.status.send_modify(|status| status.partitions.entry(partition).or_default().state = state);
    }
}
