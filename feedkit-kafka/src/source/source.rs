//! Reading a topic.

use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;

use async_trait::async_trait;
use feedkit_core::source::SourceEvent;
use feedkit_core::{Error, EventSource, Partition, Positions, Result};
use tokio::sync::oneshot;

use super::consumer::Consumer;
use super::meeting::{Meeting, Question};
use super::stats::SourceHandle;
use crate::config::SourceOptions;
use crate::kafka::Kafka;
use crate::probe::Probe;

/// Reads a topic, as a member of a group or beside all others.
///
/// Reading begins where the reader says, never at an offset that Kafka keeps. Records of transactions that were
/// given up are passed over; that moves the position too. After a [`Gap`](SourceEvent::Gap) nothing more of the
/// partition is yielded before it is assigned again, by the group or by a new source.
///
/// Dropping a source leaves the group, and waits for that: some milliseconds while the brokers are there.
pub struct KafkaSource {
    topic: String,
    meeting: Arc<Meeting>,
    probe: Arc<Probe>,
    thread: Option<JoinHandle<()>>,
}

impl KafkaSource {
    pub(crate) fn new(kafka: Kafka, group: Option<&str>, options: SourceOptions) -> Result<Self> {
        let meeting = Arc::new(Meeting::default());
        let probe = Arc::new(Probe::new(&kafka)?);
        let consumer = Consumer::new(&kafka, group, options, Arc::clone(&probe), Arc::clone(&meeting))?;
        let thread = std::thread::Builder::new()
            .name("feedkit-kafka".to_owned())
            .spawn(move || consumer.run())
            .map_err(|error| {
                Error::retriable("the consumer's thread cannot be started").with_source(error)
            })?;
        Ok(KafkaSource { topic: kafka.topic, meeting, probe, thread: Some(thread) })
    }

    /// A view of its state, to be kept while the source is away in a pipeline.
    pub fn handle(&self) -> SourceHandle {
        SourceHandle { meeting: Arc::clone(&self.meeting) }
    }
}

#[async_trait]
impl EventSource for KafkaSource {
    async fn next(&mut self) -> Result<SourceEvent> {
        self.meeting.next().await
    }

    fn pause(&mut self, partition: Partition) {
        let mut inner = self.meeting.lock();
        if let Some(lane) = inner.lanes.get_mut(&partition)
            && lane.told
        {
            lane.paused = true;
        }
    }

    fn resume(&mut self, partition: Partition) {
        if let Some(lane) = self.meeting.lock().lanes.get_mut(&partition) {
            lane.paused = false;
        }
        self.meeting.tell();
    }

    async fn ends(&mut self) -> Result<Positions> {
        Probe::ends_async(Arc::clone(&self.probe)).await
    }

    async fn still_held(&mut self, partition: Partition) -> Result<bool> {
        let (reply, answer) = oneshot::channel();
        self.meeting.lock().questions.push(Question { partition, reply });
        self.meeting.call();
        answer.await.map_err(|_| Error::fatal("the consumer's thread has ended"))?
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        self.meeting.lock().closing = true;
        self.meeting.call();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(topic = self.topic, "the consumer's thread has panicked");
        }
    }
}

impl fmt::Debug for KafkaSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSource").field("topic", &self.topic).finish_non_exhaustive()
    }
}
