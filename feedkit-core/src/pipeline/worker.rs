//! The worker of one partition: claims the partition, decodes its records, commits them, and hands
//! the entries to the followers.

use std::sync::Arc;

use tokio::sync::SemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::assignment::Assignment;
use super::commit::{commit, rest};
use super::inbox::{Inbox, Taken};
use super::older;
use super::status::PartitionState;
use crate::effect::LoggedEvent;
use crate::history::{Claim, CommitBatch, Committed, Rejected};
use crate::source::{Assigned, Batch, Record, Resume};
use crate::{Error, Result};

/// How many records to decode before other tasks get their turn.
const DECODE_RUN: usize = 512;

/// Works on one assigned partition.
pub(super) struct Worker {
    pub(super) assignment: Assignment,
    pub(super) inbox: Arc<Inbox>,
    /// Cancelled when another process may already own the partition. The worker then stops at once.
    pub(super) lost: CancellationToken,
    /// Cancelled when the partition must be given back. The worker then finishes its current
    /// commit, in limited time.
    pub(super) closing: CancellationToken,
}

impl Worker {
    /// Works until the partition is taken away (`Ok`), or the worker cannot continue.
    pub(super) async fn run(self, assigned: Assigned) -> Result<()> {
        let partition = self.assignment.place.partition;
        let (lost, closing) = (self.lost.clone(), self.closing.clone());
        let patience = self.assignment.shared.config.shutdown_deadline / 2;
        let overdue = async move {
            closing.cancelled().await;
            tokio::time::sleep(patience).await;
            tracing::warn!(
                partition = partition.0,
                "a partition is given back before its last commit is settled"
            );
        };
        let outcome = tokio::select! {
            biased;
            () = lost.cancelled() => Ok(()),
            () = overdue => Ok(()),
            outcome = self.work(assigned) => outcome,
        };
        self.assignment.ended(&outcome);
        outcome
    }

    async fn work(&self, assigned: Assigned) -> Result<()> {
        let shared = &self.assignment.shared;
        let mut claim = self.assignment.claim().await?;
        let may_be_new = shared.config.partitions_may_grow && claim.position == 0;
        let at_claim = if may_be_new { older::as_of_claim(&self.assignment).await? } else { None };
        assigned.resume(Resume { offset: claim.position, log: claim.log, last: claim.last });
        if may_be_new && self.inbox.arrived().await {
            let older = match at_claim {
                Some(older) => older,
                None => older::committed_from(&self.assignment).await?,
            };
            older::wait_for(&older, &self.assignment, &self.inbox, &claim).await?;
        }
        while self.inbox.arrived().await {
            // The worker waits for its turn before it takes records, so that records that arrive
            // meanwhile go into one commit.
            let mut turn = tokio::select! {
                biased;
                () = self.closing.cancelled() => break,
                turn = shared.commits.acquire() => turn.ok(),
            };
            let Some(Taken { batch, resume }) = self.inbox.take(shared.config.max_batch).await else {
                break;
            };
            if resume {
                self.assignment.resume();
            }
            claim = self.process(claim, batch, &mut turn).await?;
        }
        Ok(())
    }

    /// Commits one batch while the worker holds a permit. Returns the claim to continue with.
    async fn process<'a>(
        &'a self,
        mut claim: Claim,
        batch: Batch,
        turn: &mut Option<SemaphorePermit<'a>>,
    ) -> Result<Claim> {
        if batch.to <= claim.position {
            return Ok(claim);
        }
        let shared = &self.assignment.shared;
        // The records are dropped here. From here on only the batch made from them is in memory.
        let mut prepared = Arc::new(self.prepare(&claim, batch).await);
        loop {
            let tried = commit(&*shared.history, Arc::clone(&prepared), shared.config.backoff, |e| {
                self.assignment.trouble(e);
            });
            match tried.await {
                Ok(committed) => {
                    self.hand_on(&prepared, &committed);
                    claim.position = prepared.to;
                    return Ok(claim);
                }
                Err(error) if error.kind().must_reclaim() => {
                    // Another worker may use the permit meanwhile, because the new claim may have
                    // to wait until the other owner ends.
                    *turn = None;
                    claim = self.reclaim(&error).await?;
                    if claim.position < prepared.from {
                        // This worker no longer has the records between the two offsets. Only a new
                        // assignment reads them again.
                        return Err(Error::gap(format!(
                            "the history went back to {}, but the log was read up to {}",
                            claim.position, prepared.from
                        )));
                    }
                    if prepared.to <= claim.position {
                        return Ok(claim);
                    }
                    // This fails if the pipeline issues no more permits. The worker then continues
                    // without one.
                    *turn = shared.commits.acquire().await.ok();
                    prepared = Arc::new(rest(&prepared, &claim, shared.clock.now()));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Hands the entries to the followers, and shows the new position.
    fn hand_on(&self, prepared: &CommitBatch, committed: &[Committed]) {
        let shared = &self.assignment.shared;
        for one in committed {
            for feed in &shared.feeds {
                feed.offer(&one.entry);
            }
        }
        shared.status.send_modify(|status| {
            for one in committed {
                status.counts += one.counts;
            }
            let status = status.partitions.entry(prepared.partition).or_default();
            status.position = prepared.to;
            status.go_on(PartitionState::Running);
        });
    }

    /// Claims the partition again after another process claimed it. Fails if that process is the
    /// owner now.
    async fn reclaim(&self, why: &Error) -> Result<Claim> {
        let partition = self.assignment.place.partition;
        self.assignment.trouble(why);
        let mut waits = self.assignment.shared.config.backoff.waits();
        loop {
            waits.sleep().await;
            match self.assignment.still_held().await? {
                Ok(true) => return self.assignment.claim().await,
                Ok(false) => {
                    return Err(Error::fenced(format!(
                        "another process owns partition {partition} now: {why}"
                    )));
                }
                Err(error) => self.assignment.trouble(&error),
            }
        }
    }

    /// Decodes the records of a batch into a batch to commit.
    async fn prepare(&self, claim: &Claim, batch: Batch) -> CommitBatch {
        let Assignment { shared, place, .. } = &self.assignment;
        let mut events = Vec::with_capacity(batch.records.len());
        let mut rejected = Vec::new();
        for run in batch.records.chunks(DECODE_RUN) {
            for record in run.iter().filter(|record| record.offset >= claim.position) {
                match shared.codec.decode(place, record) {
                    Ok(event) => events.push(LoggedEvent { offset: record.offset, event }),
                    Err(fault) => rejected.push(Rejected::new(record, fault)),
                }
            }
            tokio::task::yield_now().await;
        }
        CommitBatch {
            partition: batch.partition,
            epoch: claim.epoch,
            log: place.log,
            from: claim.position.max(batch.from),
            to: batch.to,
            at_end: batch.at_end,
            events,
            rejected,
            last: batch.records.last().map(Record::mark),
            now: shared.clock.now(),
        }
    }
}
