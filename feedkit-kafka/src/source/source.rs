//! The source that a pipeline reads from.

use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;

use async_trait::async_trait;
use feedkit_core::source::SourceEvent;
use feedkit_core::{Error, EventSource, Partition, Positions, Result};
use tokio::sync::oneshot;

use super::consumer::Consumer;
use super::shared::{Question, Shared};
use super::stats::SourceHandle;
use crate::config::SourceOptions;
use crate::kafka::Kafka;
use crate::probe::Probe;

/// Reads a topic, either as a member of a group or as a broadcast reader of all partitions.
///
/// Reading starts where the reader says, never at an offset that is committed in Kafka. Records of
/// aborted transactions are skipped; the position moves past them. After a
/// [`Gap`](SourceEvent::Gap), the source yields nothing more of that partition until the partition
/// is assigned again, by the group or by a new source.
///
/// Dropping a source leaves the group and waits until that is done. This takes some milliseconds
/// while the brokers can be reached.
pub struct KafkaSource {
    topic: String,
    shared: Arc<Shared>,
    probe: Arc<Probe>,
    thread: Option<JoinHandle<()>>,
}

impl KafkaSource {
    pub(crate) fn new(kafka: Kafka, group: Option<&str>, options: SourceOptions) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let probe = Arc::new(Probe::new(&kafka)?);
        let consumer = Consumer::new(&kafka, group, options, Arc::clone(&probe), Arc::clone(&shared))?;
        let thread = std::thread::Builder::new()
            .name("feedkit-kafka".to_owned())
            .spawn(move || consumer.run())
            .map_err(|error| Error::retriable("could not start the consumer's thread").with_source(error))?;
        Ok(KafkaSource { topic: kafka.topic, shared, probe, thread: Some(thread) })
    }

    /// A view of the source's state, which stays with the caller while a pipeline owns the source.
    pub fn handle(&self) -> SourceHandle {
        SourceHandle { shared: Arc::clone(&self.shared) }
    }
}

#[async_trait]
impl EventSource for KafkaSource {
    async fn next(&mut self) -> Result<SourceEvent> {
        self.shared.next().await
    }

    fn pause(&mut self, partition: Partition) {
        let mut inner = self.shared.lock();
        if let Some(lane) = inner.lanes.get_mut(&partition)
            && lane.announced
        {
            lane.paused = true;
        }
    }

    fn resume(&mut self, partition: Partition) {
        if let Some(lane) = self.shared.lock().lanes.get_mut(&partition) {
            lane.paused = false;
        }
        self.shared.wake_reader();
    }

    async fn ends(&mut self) -> Result<Positions> {
        Probe::ends_async(Arc::clone(&self.probe)).await
    }

    async fn still_held(&mut self, partition: Partition) -> Result<bool> {
        let (reply, answer) = oneshot::channel();
        self.shared.lock().questions.push(Question { partition, reply });
        self.shared.wake_consumer();
        answer.await.map_err(|_| Error::fatal("the consumer's thread has ended"))?
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.wake_consumer();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(topic = self.topic, "the consumer's thread panicked");
        }
    }
}

impl fmt::Debug for KafkaSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSource").field("topic", &self.topic).finish_non_exhaustive()
    }
}
