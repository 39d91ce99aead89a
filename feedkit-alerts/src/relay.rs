//! The relay publishes stored alerts to the notifications topic.

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

use crate::signals::Signals;

/// Maximum number of rows to publish at once.
const ROWS: usize = 100;
/// How often the relay reads the outbox if the follower does not signal new alerts.
const POLL: Duration = Duration::from_secs(1);
/// How often [`Relay::idle`] reads the outbox.
const IDLE_POLL: Duration = Duration::from_millis(5);
/// How long reading the notifications back may take without progress.
const READ_BACK: Duration = Duration::from_secs(30);

/// Publishes an [`Outbox`] to the notifications topic, while this process holds the alert lease.
///
/// The relay publishes rows in their order, and then marks them as published. The key of a record
/// is the audience, and its value is the JSON of the
/// [`Notification`](feedkit_core::notification::Notification).
///
/// A relay that takes over first reads the notifications topic from the last mark on. It does not
/// publish a notification again that it finds there. For a moment, a process that does not know yet
/// that it lost the lease may publish the same notifications as its successor. So consumers must
/// ignore notifications with an id that they know.
pub struct Relay<O, S> {
    outbox: O,
    sink: S,
    open: Box<dyn OpenSource>,
    signals: Signals,
    /// The epoch of the lease for which `published` and `out` are correct.
    since: Option<Epoch>,
    published: Positions,
    /// Ids that are published and perhaps not marked yet. There are at most as many as the relay
    /// read back after a takeover, plus one turn's rows.
    out: HashSet<String>,
}

/// The result of one turn of the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relayed {
    /// Another process holds the lease.
    Standby,
    /// Rows were marked as published.
    Rows {
        /// Number of marked rows.
        marked: usize,
        /// Number of rows that the relay did not publish, because an earlier turn had.
        skipped: usize,
    },
}

impl<O: Outbox, S: EventSink> Relay<O, S> {
    /// Makes a relay for the follower that gave these signals. `open` opens a reader of the topic
    /// to which `sink` writes.
    pub fn new(outbox: O, sink: S, open: impl OpenSource, signals: Signals) -> Self {
        let (published, out) = (Positions::new(), HashSet::new());
        Relay { outbox, sink, open: Box::new(open), signals, since: None, published, out }
    }

    /// Publishes until `shutdown`: each time the follower has written alerts, and once a second.
    ///
    /// After an error that may pass, it tries again after a wait, which grows up to half a minute.
    /// Rows that are not published stay in the outbox.
    ///
    /// # Errors
    ///
    /// Returns the first error that cannot pass.
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
                    tracing::warn!(error = %e, "could not publish notifications; trying again");
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

    /// Waits until nothing is left to publish: the outbox is empty, or another process holds the
    /// lease.
    ///
    /// The future borrows nothing. Give it to the pipeline's
    /// [`Part::stop_after`](feedkit_core::supervisor::Part::stop_after), so that a shutdown
    /// publishes all alerts before the pipeline ends and gives the lease back.
    ///
    /// # Errors
    ///
    /// Fails if the outbox cannot be read.
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

    /// Publishes until the outbox is empty or another process holds the lease. Returns the number
    /// of marked rows.
    ///
    /// # Errors
    ///
    /// Returns the first error, and does not try again.
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
    /// After a call is dropped, the next one reads the notifications back first.
    pub async fn run_once(&mut self) -> Result<Relayed> {
        let Some(lease) = self.signals.lease() else { return Ok(Relayed::Standby) };
        if self.since != Some(lease.epoch) {
            self.read_back().await?;
        }
        // Until this turn ends well, the relay does not know which rows are published.
        self.since = None;
        let rows = self.outbox.outbox(ROWS).await?;
        let relayed = match rows.is_empty() {
            // Ids that are in no row are kept. A restored alert log may raise them again.
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
                    // It can never be published. The others can.
                    tracing::error!(id = row.notification.id, error = %e, "cannot publish a notification; leaving it out");
                    self.out.insert(row.notification.id.clone());
                }
                // An uncertain outcome outweighs a definite failure: the topic must be read back.
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
            Some(e) => Err(e.context("could not publish notifications")),
            None => Ok(Relayed::Rows { marked, skipped: rows.len() - fresh.len() }),
        }
    }

    /// Reads the notifications topic from the last mark to its end, to learn which rows are
    /// published and not marked.
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
            match next.map_err(|_| {
                Error::retriable(format!(
                    "no notification could be read back within {} s",
                    READ_BACK.as_secs()
                ))
            })?? {
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
                    // Records that are gone were published long ago, or the topic was created
                    // again.
                    tracing::warn!(%gap, "reading notifications back from the beginning of their topic");
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
    let value = serde_json::to_vec(&row.notification).map_err(|e| {
        Error::fatal(format!("notification {} cannot be serialized: {e}", row.notification.id)).with_source(e)
    })?;
    Ok(NewRecord::keyed(row.notification.audience.key(), Bytes::from(value)))
}

fn id(value: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Id {
        id: String,
    }
    serde_json::from_slice::<Id>(value).ok().map(|n| n.id)
}
