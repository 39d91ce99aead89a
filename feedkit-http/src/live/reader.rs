//! Follows the notifications topic for all clients.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::channel::channel_of;
use super::cursor::Cursor;
use super::frame::Frame;
use super::hub::Hub;
use super::recovery::{Range, Read, decode};
use super::registry::Delivery;
use super::tail::{Entry, Tail};
use super::tolerance::Tolerance;
use feedkit_core::pipeline::Backoff;
use feedkit_core::source::{Assigned, Batch, EventSource, Gap, GapReason, RecordMark, Resume, SourceEvent};
use feedkit_core::{Error, Partition, Positions, Result};

/// How long a source may be silent after a failure before the reader checks it. On a quiet log
/// nothing else would show that it is readable again.
const QUIET: Duration = Duration::from_secs(1);

/// How many notifications are delivered before other tasks may take the lock.
const CHUNK: usize = 64;

/// Reads until `shutdown`.
pub(super) async fn follow(hub: &Hub, shutdown: &CancellationToken) {
    let mut tolerance = Tolerance::new(Backoff::default(), |trouble| hub.reader_trouble(trouble));
    let mut reader = None;
    let reading = async {
        loop {
            let Err(error) = read(hub, &mut reader, &mut tolerance).await;
            tracing::warn!(%error, "the notifications' log cannot be read; trying again");
            sleep(tolerance.failed(&error)).await;
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = reading => {}
    }
}

/// Reads from the position of `reader` until an error occurs.
async fn read(
    hub: &Hub,
    reader: &mut Option<Reader>,
    tolerance: &mut Tolerance<impl Fn(Option<String>)>,
) -> Result<Infallible> {
    let mut source = hub.parts.notifications.open().await?;
    let ends = source.ends().await?;
    let reader = match reader {
        Some(reader) => reader,
        None => reader.insert(Reader::at_end(hub, &ends).await),
    };
    if let Some(starting) = &mut reader.starting {
        starting.missing = ends.iter().map(|(partition, _)| partition).collect();
    }
    let mut troubled = false;
    loop {
        let event = match troubled {
            true => tokio::time::timeout(QUIET, source.next()).await.ok(),
            false => Some(source.next().await),
        };
        let outcome = match event {
            Some(Ok(event)) => reader.take(hub, event).await,
            Some(Err(error)) if error.is_retriable() => {
                troubled = true;
                sleep(tolerance.failed(&error)).await;
                continue;
            }
            Some(Err(error)) => Err(error),
            None if source.ends().await.is_ok() => Ok(()),
            None => continue,
        };
        outcome?;
        troubled = false;
        tolerance.succeeded();
    }
}

/// The position of the reader.
struct Reader {
    log: Option<u128>,
    next: Positions,
    /// The last record of each partition, to detect a log that was replaced.
    last: BTreeMap<Partition, RecordMark>,
    /// Set until every partition has been assigned. Until then no client listens.
    starting: Option<Starting>,
}

struct Starting {
    /// Partitions that have not been assigned yet.
    missing: BTreeSet<Partition>,
    /// The notifications that will be in memory.
    tail: Tail,
}

impl Reader {
    /// Starts at the log's end, with the last notifications in memory.
    async fn at_end(hub: &Hub, ends: &Positions) -> Self {
        let read = tokio::time::timeout(hub.options.answer_timeout, read_before(hub, ends)).await;
        let tail = match read {
            Ok(Ok(tail)) => tail,
            // Without the tail, clients that reconnect are served from the log.
            Ok(Err(error)) => {
                tracing::warn!(%error, "the last notifications cannot be read");
                empty(hub, ends)
            }
            Err(_) => empty(hub, ends),
        };
        let starting = Some(Starting { missing: BTreeSet::new(), tail });
        Reader { log: None, next: ends.clone(), last: BTreeMap::new(), starting }
    }

    /// Starts again at `next` after a loss. Clients are closed, and their cursors show the loss.
    /// Clients that still wait for the reader to start may stay.
    fn begin_again(&mut self, hub: &Hub, next: Positions) {
        if self.starting.is_none() {
            hub.registry().stop();
            hub.send_away();
        }
        self.starting = Some(Starting { missing: BTreeSet::new(), tail: empty(hub, &next) });
        self.next = next;
    }

    async fn take(&mut self, hub: &Hub, event: SourceEvent) -> Result<()> {
        match event {
            SourceEvent::Assigned(assigned) => self.assigned(hub, assigned),
            SourceEvent::Batch(batch) => {
                self.batch(hub, batch).await;
                Ok(())
            }
            SourceEvent::Gap(gap) => Err(self.gap(hub, gap)),
            // The source assigns these partitions again.
            SourceEvent::Revoked(_) | SourceEvent::Lost(_) => Ok(()),
        }
    }

    fn assigned(&mut self, hub: &Hub, assigned: Assigned) -> Result<()> {
        let (partition, log) = (assigned.partition, assigned.log);
        if self.log.replace(log).is_some_and(|known| known != log) {
            tracing::error!("the notifications' log was made anew; all clients are sent away");
            self.last.clear();
            self.begin_again(hub, Positions::new());
            return Err(Error::gap("the log was made anew"));
        }
        let is_new = self.next.iter().all(|(known, _)| known != partition);
        let offset = self.next.of(partition);
        self.next.set(partition, offset);
        match &mut self.starting {
            Some(starting) => {
                starting.missing.remove(&partition);
                if is_new {
                    starting.tail.begin(partition, offset);
                }
            }
            None if is_new => hub.registry().add(partition, offset),
            None => {}
        }
        assigned.resume(Resume { offset, log: Some(log), last: self.last.get(&partition).copied() });
        if let Some(Starting { tail, .. }) = self.starting.take_if(|starting| starting.missing.is_empty()) {
            hub.registry().begin(log, self.next.clone(), tail);
            hub.has_moved();
        }
        Ok(())
    }

    async fn batch(&mut self, hub: &Hub, batch: Batch) {
        let Batch { partition, to, records, .. } = batch;
        if let Some(record) = records.last() {
            self.last.insert(partition, record.mark());
            let age = hub.parts.clock.now().since(record.time);
            hub.metrics.lag_seconds.set(age.as_secs_f64());
        }
        let entries: Vec<_> = records.iter().filter_map(|r| decode(partition, r)).map(Arc::new).collect();
        let mut rest = &entries[..];
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(CHUNK.min(rest.len()));
            rest = after;
            let to = after.first().map_or(to, |next| next.offset);
            self.deliver(hub, chunk, partition, to);
            tokio::task::yield_now().await;
        }
        self.deliver(hub, &[], partition, to);
        hub.has_moved();
    }

    fn deliver(&mut self, hub: &Hub, entries: &[Arc<Entry>], partition: Partition, to: u64) {
        if let Some(starting) = &mut self.starting {
            for entry in entries {
                starting.tail.push(Arc::clone(entry));
            }
            return self.next.advance(partition, to);
        }
        let log = self.log.unwrap_or_default();
        let deliveries: Vec<_> = entries
            .iter()
            .map(|entry| {
                self.next.advance(partition, entry.offset + 1);
                let cursor = Cursor::encode(log, &self.next).into();
                let frame = Frame::notification(&channel_of(&entry.audience), cursor, &entry.body);
                Delivery { entry: Arc::clone(entry), frame: Arc::new(frame) }
            })
            .collect();
        self.next.advance(partition, to);
        let pushed = hub.registry().deliver(&deliveries, partition, to);
        hub.metrics.delivered.inc_by(pushed);
    }

    /// Continues after the lost notifications.
    fn gap(&mut self, hub: &Hub, gap: Gap) -> Error {
        tracing::error!(%gap, "notifications are lost; all clients are sent away");
        let mut next = std::mem::take(&mut self.next);
        next.set(gap.partition, if gap.reason == GapReason::Expired { gap.start } else { gap.end });
        self.last.remove(&gap.partition);
        self.begin_again(hub, next);
        gap.into()
    }
}

/// A tail without notifications before `next`.
fn empty(hub: &Hub, next: &Positions) -> Tail {
    let mut tail = Tail::new(hub.options.live.tail);
    next.iter().for_each(|(partition, offset)| tail.begin(partition, offset));
    tail
}

/// The notifications just before `end`, an equal share of each partition.
async fn read_before(hub: &Hub, end: &Positions) -> Result<Tail> {
    let count = end.iter().count().max(1);
    let share = (hub.options.live.tail / count) as u64;
    let mut from: Positions = end.iter().map(|(p, to)| (p, to.saturating_sub(share))).collect();
    let log = &*hub.parts.notifications;
    let most = (usize::MAX, usize::MAX);
    let range = Range { from: &from, to: end, log: None, most, over_gaps: true };
    let Read { mut entries, gaps } = range.read(log, |_| true).await?;
    if !gaps.is_empty() {
        // The log begins later in these partitions. They are read once more, from their beginning.
        let mut again = end.clone();
        for gap in &gaps {
            let start = if gap.reason == GapReason::Expired { gap.start } else { end.of(gap.partition) };
            again.set(gap.partition, start.min(end.of(gap.partition)));
            from.set(gap.partition, again.of(gap.partition));
        }
        let more =
            Range { from: &again, to: end, log: None, most, over_gaps: true }.read(log, |_| true).await?;
        more.gaps.iter().for_each(|gap| from.set(gap.partition, end.of(gap.partition)));
        entries.extend(more.entries);
    }
    let mut tail = empty(hub, &from);
    for entry in entries {
        tail.push(entry);
    }
    Ok(tail)
}
