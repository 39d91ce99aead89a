//! The sink, which sends records and waits for their acknowledgements.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use feedkit_core::sink::NewRecord;
use feedkit_core::{Error, EventSink, Position, Result};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::producer::{BaseRecord, Producer as _};
use tokio::time::Instant;

use super::delivery::{Deliveries, Send, SinkStats};
use super::producer::{Producer, Producers};
use crate::config::SinkOptions;
use crate::failure::{breaks_producer, failed, undelivered};
use crate::kafka::Kafka;

/// How long to wait for librdkafka's report after its own time-out.
const GRACE: Duration = Duration::from_secs(5);
/// How long to wait before checking a full queue again, even if no delivery was reported.
const FULL_QUEUE_POLL: Duration = Duration::from_millis(20);
/// Maximum number of records to enqueue before other tasks get a turn.
const ENQUEUE_RUN: usize = 512;

/// How long the brokers may take to answer how many partitions there are.
const PATIENCE: Duration = Duration::from_secs(5);

/// Appends to a topic.
///
/// The producer is idempotent, waits for all in-sync replicas, and compresses with lz4. It chooses
/// the same partition for a key as Java's default partitioner. Concurrent sends share requests.
/// [Flush](EventSink::flush) a sink before you drop it: dropping gives up records that are not
/// acknowledged yet, and takes up to a second.
pub struct KafkaSink {
    topic: String,
    options: SinkOptions,
    deliveries: Arc<Deliveries>,
    producers: Producers,
}

impl KafkaSink {
    pub(crate) fn new(kafka: Kafka, options: SinkOptions) -> Result<Self> {
        let deliveries = Arc::new(Deliveries::default());
        let producers = Producers::new(kafka.producer_config(&options), Arc::clone(&deliveries))?;
        Ok(KafkaSink { topic: kafka.topic, options, deliveries, producers })
    }

    /// How many partitions the topic has now. The query uses the connection that records are sent
    /// on.
    ///
    /// It also makes new partitions known to the sink, which may not look for them by itself. So
    /// call it now and then.
    ///
    /// # Errors
    ///
    /// [`Retriable`](feedkit_core::ErrorKind::Retriable): the brokers cannot be reached, or the
    /// topic does not exist.
    pub async fn partitions(&self) -> Result<u32> {
        let (producer, topic) = (self.producers.current(), self.topic.clone());
        let asking = tokio::task::spawn_blocking(move || {
            let metadata = producer.client().fetch_metadata(Some(&topic), PATIENCE);
            let metadata = metadata.map_err(|error| failed(format_args!("topic {topic}"), error))?;
            let count = metadata.topics().first().map_or(0, |found| found.partitions().len());
            match u32::try_from(count) {
                Ok(0) => Err(Error::retriable(format!("topic {topic} does not exist"))),
                count => Ok(count.unwrap_or(u32::MAX)),
            }
        });
        asking
            .await
            .map_err(|e| Error::retriable("the query about the topic was cancelled").with_source(e))?
    }

    /// What the sink has done so far.
    pub fn stats(&self) -> SinkStats {
        let under_way = self.producers.current().in_flight_count();
        self.deliveries.stats(usize::try_from(under_way).unwrap_or(0))
    }
}

#[async_trait]
impl EventSink for KafkaSink {
    async fn send(&self, batch: Vec<NewRecord>) -> Vec<Result<Position>> {
        if batch.is_empty() {
            return Vec::new();
        }
        let deadline = Instant::now() + self.options.delivery_timeout;
        let send = self.deliveries.begin(batch.len());
        self.enqueue(&send, &batch, deadline).await;
        drop(batch);
        // librdkafka's time-out for a record starts when the record is enqueued: at the deadline in
        // the worst case.
        let last = deadline + self.options.delivery_timeout + GRACE;
        while !send.is_done() {
            if tokio::time::timeout_at(last, send.done.notified()).await.is_err() {
                self.deliveries.end(&send);
                break;
            }
        }
        send.take(|| Error::uncertain("Kafka did not report in time whether it took the record"))
    }

    async fn flush(&self) -> Result<()> {
        let end = Instant::now() + 2 * self.options.delivery_timeout + GRACE;
        loop {
            let mut settled = std::pin::pin!(self.deliveries.settled.notified());
            settled.as_mut().enable();
            let open = self.deliveries.under_way();
            if open == 0 {
                return Ok(());
            }
            if tokio::time::timeout_at(end, settled).await.is_err() {
                return Err(Error::retriable(format!("{open} sends to {} have no outcome yet", self.topic)));
            }
        }
    }
}

impl KafkaSink {
    /// Hands the records to librdkafka, in order.
    async fn enqueue(&self, send: &Arc<Send>, batch: &[NewRecord], deadline: Instant) {
        // If this future is dropped, only the records that were enqueued will still get an outcome.
        let mut handed = Handed { deliveries: &self.deliveries, send, next: 0 };
        let mut producer = self.producers.current();
        for (place, record) in batch.iter().enumerate() {
            handed.next = place;
            if place % ENQUEUE_RUN == ENQUEUE_RUN - 1 {
                tokio::task::yield_now().await;
            }
            while let Err(code) = self.hand_over(&producer, send.tag(place), record) {
                let outcome = match code {
                    Code::QueueFull if Instant::now() < deadline => {
                        self.wait_for_room(deadline).await;
                        continue;
                    }
                    code if breaks_producer(code) => match self.producers.replace(&producer) {
                        Ok(new) => {
                            producer = new;
                            continue;
                        }
                        Err(error) => error,
                    },
                    code => undelivered(code),
                };
                self.deliveries.settle(send, place, Err(outcome));
                break;
            }
        }
        handed.next = batch.len();
    }

    fn hand_over(&self, producer: &Producer, tag: usize, record: &NewRecord) -> Result<(), Code> {
        let mut message = BaseRecord::with_opaque_to(&self.topic, tag).payload(&record.value[..]);
        message.key = record.key.as_deref();
        producer.send(message).map_err(|(error, _)| error.rdkafka_error_code().unwrap_or(Code::Unknown))
    }

    async fn wait_for_room(&self, deadline: Instant) {
        let look_again = deadline.min(Instant::now() + FULL_QUEUE_POLL);
        let _ = tokio::time::timeout_at(look_again, self.deliveries.room.notified()).await;
    }
}

struct Handed<'a> {
    deliveries: &'a Deliveries,
    send: &'a Arc<Send>,
    /// The first record that may not be enqueued.
    next: usize,
}

impl Drop for Handed<'_> {
    fn drop(&mut self) {
        self.deliveries.abandon(self.send, self.next);
    }
}

impl fmt::Debug for KafkaSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSink").field("topic", &self.topic).field("options", &self.options).finish()
    }
}
