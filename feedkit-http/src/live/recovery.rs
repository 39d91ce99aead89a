//! Reads missed notifications from the log, when memory does not reach back far enough.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{OnceCell, Semaphore};

use super::tail::Entry;
use feedkit_core::notification::Notification;
use feedkit_core::source::{Gap, OpenSource, Record, Resume, SourceEvent};
use feedkit_core::{Error, Partition, Positions, Result};

/// Maximum number of concurrent reads of the log.
const AT_ONCE: usize = 4;

/// How many offsets may be read per recoverable notification. A log that is further ahead is not
/// read.
const SCANNED_FOR_ONE: u64 = 100;

/// The part of a log to read.
pub(super) struct Range<'a> {
    /// The start.
    pub(super) from: &'a Positions,
    /// The end.
    pub(super) to: &'a Positions,
    /// The log's incarnation that both belong to.
    pub(super) log: Option<u128>,
    /// Maximum number of entries, and of their bytes.
    pub(super) most: (usize, usize),
    /// Whether partitions that cannot be read from `from` are skipped.
    pub(super) over_gaps: bool,
}

/// The result of a read.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) entries: Vec<Arc<Entry>>,
    /// The gaps of the skipped partitions.
    pub(super) gaps: Vec<Gap>,
}

impl Range<'_> {
    /// Reads the wanted entries. An error says why some could not be read.
    pub(super) async fn read(&self, log: &dyn OpenSource, wanted: impl Fn(&Entry) -> bool) -> Result<Read> {
        let mut waiting: HashSet<Partition> =
            self.to.iter().filter(|(p, to)| self.from.of(*p) < *to).map(|(p, _)| p).collect();
        let mut read = Read::default();
        if waiting.is_empty() {
            return Ok(read);
        }
        let (mut ids, mut bytes) = (HashSet::new(), 0);
        let mut source = log.open().await?;
        while !waiting.is_empty() {
            match source.next().await? {
                SourceEvent::Assigned(assigned) if self.log.is_some_and(|log| log != assigned.log) => {
                    return Err(Error::gap("the log is another one"));
                }
                SourceEvent::Assigned(assigned) if waiting.contains(&assigned.partition) => {
                    let offset = self.from.of(assigned.partition);
                    assigned.resume(Resume { offset, log: self.log, last: None });
                }
                // Without an answer, the partition is not read.
                SourceEvent::Assigned(_) => {}
                SourceEvent::Batch(batch) => {
                    let to = self.to.of(batch.partition);
                    for record in batch.records.iter().take_while(|r| r.offset < to) {
                        let Some(entry) = decode(batch.partition, record).filter(|e| wanted(e)) else {
                            continue;
                        };
                        if !ids.insert(entry.id.clone()) {
                            continue;
                        }
                        bytes += entry.body.len();
                        if read.entries.len() >= self.most.0 || bytes > self.most.1 {
                            return Err(Error::invalid("too much was missed"));
                        }
                        read.entries.push(Arc::new(entry));
                    }
                    if batch.to >= to {
                        source.pause(batch.partition);
                        waiting.remove(&batch.partition);
                    }
                }
                SourceEvent::Gap(gap) if self.over_gaps => {
                    waiting.remove(&gap.partition);
                    read.gaps.push(gap);
                }
                SourceEvent::Gap(gap) => return Err(gap.into()),
                SourceEvent::Revoked(_) | SourceEvent::Lost(_) => {
                    return Err(Error::retriable("the log's reader was told to stop"));
                }
            }
        }
        Ok(read)
    }
}

/// The notification in a record, or `None` if it is not one.
pub(super) fn decode(partition: Partition, record: &Record) -> Option<Entry> {
    let notification: Notification = serde_json::from_slice(&record.value)
        .map_err(|error| {
            tracing::warn!(%partition, offset = record.offset, %error, "a record in the notifications topic is not a notification")
        })
        .ok()?;
    let body = serde_json::to_string(&notification).ok()?;
    let Notification { audience, id, .. } = notification;
    Some(Entry { partition, offset: record.offset, audience, id, body })
}

/// Recoveries from the log. A few run at a time, and equal ones share a read.
#[derive(Debug)]
pub(super) struct Recoveries {
    slots: Semaphore,
    flights: Mutex<HashMap<Key, Flight>>,
    max: usize,
    max_bytes: usize,
}

/// The cursor and the channels, as text. Clients with equal keys miss the same notifications.
pub(super) type Key = (String, Vec<String>);

type Flight = Arc<OnceCell<Outcome>>;

/// The missed notifications and their end; `None` when they are not available.
type Outcome = Option<Arc<Recovered>>;

/// The start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// The log's incarnation.
    pub(super) log: u128,
    pub(super) next: &'a Positions,
}

/// The notifications that were missed before `to`.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) missed: Vec<Arc<Entry>>,
    pub(super) to: Positions,
}

impl Recoveries {
    /// Recoveries of at most `max` notifications and `max_bytes` bytes.
    pub(super) fn new(max: usize, max_bytes: usize) -> Self {
        Recoveries { slots: Semaphore::new(AT_ONCE), flights: Mutex::default(), max, max_bytes }
    }

    /// The wanted notifications from `place` up to the value of `to` when the read starts.
    ///
    /// It has no deadline of its own. If it is dropped, the other clients that wait continue the
    /// read.
    pub(super) async fn read(
        &self,
        key: Key,
        place: Place<'_>,
        to: impl FnOnce() -> Positions,
        source: &dyn OpenSource,
        wanted: impl Fn(&Entry) -> bool,
    ) -> Outcome {
        let flight = Arc::clone(self.flights().entry(key.clone()).or_default());
        let landing = Landing { all: self, key: &key, flight: &flight };
        let outcome = flight
            .get_or_init(|| async { self.read_alone(place, to, source, wanted).await.map(Arc::new) })
            .await
            .clone();
        drop(landing);
        outcome
    }

    /// The same, without sharing the read.
    pub(super) async fn read_alone(
        &self,
        place: Place<'_>,
        to: impl FnOnce() -> Positions,
        source: &dyn OpenSource,
        wanted: impl Fn(&Entry) -> bool,
    ) -> Option<Recovered> {
        let _slot = self.slots.acquire().await.ok()?;
        let to = to();
        let ahead: u64 = to.iter().map(|(p, to)| to.saturating_sub(place.next.of(p))).sum();
        if ahead > SCANNED_FOR_ONE.saturating_mul(self.max as u64) {
            return None;
        }
        let most = (self.max, self.max_bytes);
        let range = Range { from: place.next, to: &to, log: Some(place.log), most, over_gaps: false };
        match range.read(source, wanted).await {
            Ok(read) => Some(Recovered { missed: read.entries, to }),
            Err(error) => {
                tracing::debug!(%error, "a client's cursor cannot be recovered");
                None
            }
        }
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<Key, Flight>> {
        self.flights.lock()
    }
}

/// Removes a flight that has ended, or that no client waits for.
struct Landing<'a> {
    all: &'a Recoveries,
    key: &'a Key,
    flight: &'a Flight,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        let mut flights = self.all.flights();
        let same = flights.get(self.key).is_some_and(|flight| Arc::ptr_eq(flight, self.flight));
        // Two references are left: the map's and this one.
        if same && (self.flight.initialized() || Arc::strong_count(self.flight) <= 2) {
            flights.remove(self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use futures_util::future::join_all;

    use super::*;
    use feedkit_core::EventSource;
    use feedkit_core::memory::MemoryLog;

    /// Opens readers only when it is let.
    struct Gate {
        log: MemoryLog,
        asked: AtomicUsize,
        open: Semaphore,
    }

    #[async_trait]
    impl OpenSource for Gate {
        async fn open(&self) -> Result<Box<dyn EventSource>> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            self.open.acquire().await.unwrap().forget();
            Ok(Box::new(self.log.broadcast()))
        }
    }

    /// Ten recoveries at once; how often the log was asked for while none went on, and in all.
    async fn ten(key: impl Fn(usize) -> String) -> (usize, usize) {
        let log = MemoryLog::new(1, feedkit_core::SystemClock);
        log.append(Partition(0), feedkit_core::Timestamp::EPOCH, None, "no notification".into());
        let gate = Gate { log: log.clone(), asked: AtomicUsize::new(0), open: Semaphore::new(0) };
        let recoveries = Recoveries::new(10, 1000);
        let (from, to) = (Positions::new(), log.ends());
        let place = Place { log: log.incarnation(), next: &from };
        let all = (0..10).map(|i| recoveries.read((key(i), vec![]), place, || to.clone(), &gate, |_| true));
        let let_go = async {
            let at_once = gate.asked.load(Ordering::SeqCst);
            gate.open.add_permits(10);
            at_once
        };
        let (outcomes, at_once) = tokio::join!(join_all(all), let_go);
        assert!(outcomes.iter().all(|outcome| outcome.as_ref().is_some_and(|r| r.to == to)));
        assert!(recoveries.flights().is_empty());
        (at_once, gate.asked.load(Ordering::SeqCst))
    }

    #[tokio::test]
    async fn equal_recoveries_read_the_log_once_and_others_few_at_a_time() {
        assert_eq!(ten(|_| "same".to_owned()).await, (1, 1));
        assert_eq!(ten(|i| i.to_string()).await, (AT_ONCE, 10));
    }
}
