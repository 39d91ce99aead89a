use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::Bytes;
use feedkit_core::failpoint::{self, stage};
use feedkit_core::lease::Lease;
use feedkit_core::outbox::OutboxRow;
use feedkit_core::sink::NewRecord;
use feedkit_core::source::{OpenSource, Resume, SourceEvent};
use feedkit_core::{Epoch, Error, ErrorKind, EventSink, Outbox, Positions, Result};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::options::Signals;

/// Rows published at once.
const ROWS: usize = 100;
/// How often the outbox is looked at without being told.
const POLL: Duration = Duration::from_secs(1);
/// How often the outbox is looked at by those who wait until it is empty.
const IDLE_POLL: Duration = Duration::from_millis(5);
/// How long reading the notifications back may take without any progress.
const READ_BACK: Duration = Duration::from_secs(30);

/// Publishes an [`Outbox`] to the notifications' log, while this process holds the alert lease.
///
/// Rows are published in their order, keyed by audience, each as the JSON of its
/// [`Notification`](feedkit_core::notification::Notification), and then marked. Whoever takes over first reads the
/// notifications back from the last mark, and does not publish again what is out already. A process that lost the
/// lease without noticing yet may still publish what another does too; those who receive notifications drop
/// repeats by id.
pub struct Relay<O, S> {
    outbox: O,
    sink: S,
    open: Box<dyn OpenSource>,
    signals: Signals,
    /// The lease's epoch as of which `published` and `out` are right.
    since: Option<Epoch>,
    published: Positions,
    /// Ids that are published and perhaps not marked. Bounded by what is read back after a takeover.
    out: HashSet<String>,
}

/// What one turn of the relay did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relayed {
    /// Another process holds the lease.
    Standby,
    /// So many rows were marked as published, of which so many were out already.
    Rows {
        /// Rows marked.
        marked: usize,
        /// Of these, rows that had been published before.
        skipped: usize,
    },
}

impl<O: Outbox, S: EventSink> Relay<O, S> {
    /// A relay beside the follower whose signals these are. `open` opens a reader of the log that `sink` writes.
    pub fn new(outbox: O, sink: S, open: impl OpenSource, signals: Signals) -> Self {
        let (published, out) = (Positions::new(), HashSet::new());
        Relay { outbox, sink, open: Box::new(open), signals, since: None, published, out }
    }

    /// Publishes until `shutdown`: whenever alerts were written, and once a second. Errors that pass are waited
    /// for, ever longer up to half a minute; what is not published stays in the outbox.
    ///
    /// # Errors
    ///
    /// Those that do not pass.
    pub async fn run(&mut self, shutdown: CancellationToken) -> Result<()> {
        let policy = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(50))
            .with_max_delay(POLL * 30)
            .without_max_times()
            .with_jitter();
        let mut backoff = policy.build();
        loop {
            let turn = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                turn = self.run_once() => turn,
            };
            let wait = match turn {
                Ok(Relayed::Rows { marked: ROWS.., .. }) => continue,
                Ok(_) => {
                    backoff = policy.build();
                    POLL
                }
                Err(e) if e.kind().may_pass() || e.kind() == ErrorKind::Fenced => {
                    tracing::warn!(error = %e, "notifications could not be published yet");
                    backoff.next().unwrap_or(POLL)
                }
                Err(e) => return Err(e),
            };
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = self.signals.written() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Waits until nothing is left to publish: the outbox is empty, or another process holds the lease.
    ///
    /// The future borrows nothing. Hand it to [`Part::stop_after`](feedkit_core::supervisor::Part::stop_after) of the
    /// pipeline, so that a shutdown publishes what was raised: when the pipeline ends it gives the lease back.
    ///
    /// # Errors
    ///
    /// When the outbox cannot be read.
    pub fn idle(&self) -> impl Future<Output = Result<()>> + Send + use<O, S>
    where
        O: Clone,
    {
        let (outbox, signals) = (self.outbox.clone(), self.signals.clone());
        async move {
            while signals.lease().is_some() && !outbox.outbox(1).await?.is_empty() {
                tokio::time::sleep(IDLE_POLL).await;
            }
            Ok(())
        }
    }

    /// Publishes until the outbox is empty, or another process holds the lease; how many rows were marked.
    ///
    /// # Errors
    ///
    /// As they come; nothing is tried again.
    pub async fn drain(&mut self) -> Result<usize> {
        let mut all = 0;
        while let Relayed::Rows { marked: marked @ 1.., .. } = self.run_once().await? {
            all += marked;
        }
        Ok(all)
    }

    /// Publishes and marks up to 100 rows.
    ///
    /// # Cancellation
    ///
    /// When dropped, the next turn reads the notifications back first.
    pub async fn run_once(&mut self) -> Result<Relayed> {
        let Some(lease) = self.signals.lease() else { return Ok(Relayed::Standby) };
        if self.since != Some(lease.epoch) {
            self.read_back().await?;
        }
        // Unless this turn ends well, it is not known what is out.
        self.since = None;
        let rows = self.outbox.outbox(ROWS).await?;
        let relayed = match rows.is_empty() {
            // What is out and in no row may come again: a restored log raises it anew.
            true => Ok(Relayed::Rows { marked: 0, skipped: 0 }),
            false => self.publish(&lease, &rows).await,
        };
        if relayed.as_ref().map_or_else(Error::is_retriable, |_| true) {
            self.since = Some(lease.epoch);
        }
        relayed
    }

    async fn publish(&mut self, lease: &Lease, rows: &[OutboxRow]) -> Result<Relayed> {
        let fresh: Vec<_> = rows.iter().filter(|row| !self.out.contains(&row.notification.id)).collect();
        let records = fresh.iter().map(|row| record(row)).collect::<Result<Vec<_>>>()?;
        let outcomes = self.sink.send(records).await;
        let mut failed: Option<Error> = None;
        for (row, outcome) in fresh.iter().zip(outcomes) {
            match outcome {
                Ok(position) => {
                    self.published.advance(position.partition, position.offset);
                    self.out.insert(row.notification.id.clone());
                }
                Err(e) if e.kind().must_set_aside() => {
                    // It will never go out; the others shall.
                    tracing::error!(id = row.notification.id, error = %e, "a notification cannot be published");
                    self.out.insert(row.notification.id.clone());
                }
                // What may have gone out weighs more than what did not: it has to be read back.
                Err(e) if failed.as_ref().is_none_or(Error::is_retriable) => failed = Some(e),
                Err(_) => {}
            }
        }
        let marked = rows.iter().take_while(|row| self.out.contains(&row.notification.id)).count();
        if let Some(last) = rows[..marked].last() {
            failpoint::reach(stage::RELAY);
            self.outbox.mark_published(lease, last.seq, &self.published).await?;
            for row in &rows[..marked] {
                self.out.remove(&row.notification.id);
            }
        }
        match failed {
            Some(e) => Err(e.context("publishing notifications")),
            None => Ok(Relayed::Rows { marked, skipped: rows.len() - fresh.len() }),
        }
    }

    /// Reads the notifications from the last mark to their end: what is out and not marked.
    async fn read_back(&mut self) -> Result<()> {
        self.published = self.outbox.published().await?;
        self.out.clear();
        let mut from = self.published.clone();
        let mut source = self.open.open().await?;
        let ends = source.ends().await?;
        let mut open: BTreeSet<_> =
            ends.iter().filter(|(p, end)| from.of(*p) < *end).map(|(partition, _)| partition).collect();
        while !open.is_empty() {
            let next = tokio::time::timeout(READ_BACK, source.next()).await;
            match next.map_err(|_| Error::retriable("the notifications cannot be read back in time"))?? {
                SourceEvent::Assigned(assigned) => {
                    let offset = from.of(assigned.partition).min(ends.of(assigned.partition));
                    assigned.resume(Resume { offset, ..Resume::default() });
                }
                SourceEvent::Batch(batch) => {
                    self.out.extend(batch.records.iter().filter_map(|r| id(&r.value)));
                    if batch.at_end || batch.to >= ends.of(batch.partition) {
                        open.remove(&batch.partition);
                    }
                }
                SourceEvent::Gap(gap) => {
                    // What is gone from the log was published long ago, or the log is another one.
                    tracing::warn!(%gap, "notifications are read back from where their log begins");
                    from.set(gap.partition, gap.start);
                    if gap.start >= gap.end {
                        open.remove(&gap.partition);
                    }
                    source = self.open.open().await?;
                }
                _ => {}
            }
        }
        self.since = self.signals.lease().map(|lease| lease.epoch);
        Ok(())
    }
}

fn record(row: &OutboxRow) -> Result<NewRecord> {
    let value = serde_json::to_vec(&row.notification)
        .map_err(|e| Error::fatal(format!("notification {}: {e}", row.notification.id)).with_source(e))?;
    Ok(NewRecord::keyed(row.notification.audience.key(), Bytes::from(value)))
}

fn id(value: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Id {
        id: String,
    }
    serde_json::from_slice::<Id>(value).ok().map(|n| n.id)
}
