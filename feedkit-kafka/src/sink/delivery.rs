//! Turns librdkafka's delivery reports into the outcomes of sends.
//!
//! Each record carries one number through librdkafka. The number says which send the record belongs
//! to, and which record of that send it is. So a delivery costs two short locks and no allocation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use feedkit_core::{Error, Partition, Position, Result};
use hashbrown::HashMap;
use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::ProducerContext;
use tokio::sync::Notify;

use crate::failure::{breaks_producer, undelivered};
use crate::librdkafka;

/// The number that a record carries consists of two numbers of 32 bits.
const _: () = assert!(usize::BITS == 64);

/// The sends under way. They outlive a producer that breaks.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    sends: Mutex<Sends>,
    /// Notified when a record was delivered, so that the queue has room.
    pub(crate) room: Notify,
    /// Notified when a send has all its outcomes.
    pub(crate) settled: Notify,
    acknowledged: AtomicU64,
    retriable: AtomicU64,
    uncertain: AtomicU64,
    refused: AtomicU64,
    pub(crate) producers_broken: AtomicU64,
}

#[derive(Debug, Default)]
struct Sends {
    by_number: HashMap<u32, Arc<Send>>,
    next: u32,
    /// The send of the last report. Consecutive reports usually belong to the same send.
    last: Option<(u32, Arc<Send>)>,
}

/// The outcomes of one send.
#[derive(Debug)]
pub(crate) struct Send {
    number: u32,
    outcomes: Mutex<Outcomes>,
    pub(crate) done: Notify,
}

#[derive(Debug)]
struct Outcomes {
    by_record: Vec<Option<Result<Position>>>,
    open: usize,
}

/// What a sink has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SinkStats {
    /// Records acknowledged.
    pub acknowledged: u64,
    /// Records that were not taken and can be sent again.
    pub retriable: u64,
    /// Records that may or may not have been taken.
    pub uncertain: u64,
    /// Records that Kafka will never take as they are, or from this user.
    pub refused: u64,
    /// Producers that were replaced because the broker had fenced or forgotten them.
    pub producers_broken: u64,
    /// Sends under way.
    pub sends_under_way: usize,
    /// Records in librdkafka that are not acknowledged yet.
    pub records_under_way: usize,
}

impl Deliveries {
    /// Starts a send of this many records.
    pub(crate) fn begin(&self, records: usize) -> Arc<Send> {
        let mut sends = self.sends.lock();
        while sends.by_number.contains_key(&sends.next) {
            sends.next = sends.next.wrapping_add(1);
        }
        let mut by_record = Vec::new();
        by_record.resize_with(records, || None);
        let outcomes = Mutex::new(Outcomes { by_record, open: records });
        let send = Arc::new(Send { number: sends.next, outcomes, done: Notify::new() });
        sends.by_number.insert(send.number, Arc::clone(&send));
        sends.next = sends.next.wrapping_add(1);
        send
    }

    /// Stores the outcome of one record of a send.
    pub(crate) fn settle(&self, send: &Arc<Send>, record: usize, outcome: Result<Position>) {
        self.count(&outcome);
        let mut outcomes = send.outcomes.lock();
        if let Some(slot @ None) = outcomes.by_record.get_mut(record) {
            *slot = Some(outcome);
            outcomes.open -= 1;
        }
        let open = outcomes.open;
        drop(outcomes);
        if open == 0 {
            self.end(send);
        }
    }

    /// The records from this one on were never enqueued, because the sender has gone.
    pub(crate) fn abandon(&self, send: &Arc<Send>, from: usize) {
        let mut outcomes = send.outcomes.lock();
        if from >= outcomes.by_record.len() {
            return;
        }
        for slot in outcomes.by_record.iter_mut().skip(from).filter(|slot| slot.is_none()) {
            *slot = Some(Err(Error::retriable("the record was not sent")));
        }
        outcomes.open = outcomes.by_record.iter().filter(|slot| slot.is_none()).count();
        let open = outcomes.open;
        drop(outcomes);
        if open == 0 {
            self.end(send);
        }
    }

    /// Ends a send: it gets no more outcomes.
    pub(crate) fn end(&self, send: &Arc<Send>) {
        let mut sends = self.sends.lock();
        sends.by_number.remove(&send.number);
        if sends.last.as_ref().is_some_and(|(number, _)| *number == send.number) {
            sends.last = None;
        }
        drop(sends);
        send.done.notify_one();
        self.settled.notify_waiters();
    }

    /// How many sends are under way.
    pub(crate) fn under_way(&self) -> usize {
        self.sends.lock().by_number.len()
    }

    fn of(&self, number: u32) -> Option<Arc<Send>> {
        let mut sends = self.sends.lock();
        if let Some((last, send)) = &sends.last
            && *last == number
        {
            return Some(Arc::clone(send));
        }
        let send = Arc::clone(sends.by_number.get(&number)?);
        sends.last = Some((number, Arc::clone(&send)));
        Some(send)
    }

    fn count(&self, outcome: &Result<Position>) {
        use feedkit_core::ErrorKind::{Retriable, Uncertain};
        let counter = match outcome.as_ref().map_err(Error::kind) {
            Ok(_) => &self.acknowledged,
            Err(Retriable) => &self.retriable,
            Err(Uncertain) => &self.uncertain,
            Err(_) => &self.refused,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(crate) fn stats(&self, records_under_way: usize) -> SinkStats {
        SinkStats {
            acknowledged: self.acknowledged.load(Relaxed),
            retriable: self.retriable.load(Relaxed),
            uncertain: self.uncertain.load(Relaxed),
            refused: self.refused.load(Relaxed),
            producers_broken: self.producers_broken.load(Relaxed),
            sends_under_way: self.under_way(),
            records_under_way,
        }
    }
}

impl Send {
    /// The number that a record carries.
    pub(crate) fn tag(&self, record: usize) -> usize {
        (self.number as usize) << 32 | record
    }

    pub(crate) fn is_done(&self) -> bool {
        self.outcomes.lock().open == 0
    }

    /// The outcomes. A record without one gets the error `missing`.
    pub(crate) fn take(&self, missing: impl Fn() -> Error) -> Vec<Result<Position>> {
        let by_record = std::mem::take(&mut self.outcomes.lock().by_record);
        by_record.into_iter().map(|outcome| outcome.unwrap_or_else(|| Err(missing()))).collect()
    }
}

/// The callbacks for librdkafka's reports.
#[derive(Debug)]
pub(crate) struct Reports(pub(crate) Arc<Deliveries>);

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        librdkafka::line(level, facility, text);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(target: "librdkafka", %error, "{reason}");
    }
    fn stats_raw(&self, _: &[u8]) {}
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, tag: usize) {
        let outcome = match result {
            Ok(message) => position(message.partition(), message.offset()),
            Err((error, _)) => {
                let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
                if breaks_producer(code) {
                    // The record may have been written before the sequence broke.
                    Err(Error::uncertain(format!("Kafka did not acknowledge the record: {code}")))
                } else {
                    Err(undelivered(code))
                }
            }
        };
        // The send may have been dropped or timed out.
        if let Some(send) = self.0.of((tag >> 32) as u32) {
            self.0.settle(&send, tag & 0xffff_ffff, outcome);
        }
        self.0.room.notify_waiters();
    }
}

/// The position just after a record.
fn position(partition: i32, offset: i64) -> Result<Position> {
    match (u32::try_from(partition), u64::try_from(offset)) {
        (Ok(partition), Ok(offset)) => Ok(Position { partition: Partition(partition), offset: offset + 1 }),
        _ => Err(Error::uncertain(format!(
            "Kafka acknowledged the record without a position: partition {partition}, offset {offset}"
        ))),
    }
}
