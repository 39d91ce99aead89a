//! A client beside producer and consumer that queries the topic: its partitions, their ends, and
//! its id.
//!
//! On the consumer's own connection a query would wait behind the fetch that waits for records.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use feedkit_core::{Error, Offset, Partition, Positions, Result, Timestamp};
use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset as Place, TopicPartitionList};
use xxhash_rust::xxh3::xxh3_128;

use crate::failure::failed;
use crate::kafka::Kafka;
use crate::librdkafka;

/// Maximum time that a query may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait for log lines of librdkafka.
const LINES: Duration = Duration::from_millis(20);

pub(crate) struct Probe {
    topic: String,
    client: BaseConsumer<Ids>,
}

/// Remembers the topic's id when librdkafka logs it.
struct Ids {
    topic: String,
    id: Mutex<Option<String>>,
}

impl ClientContext for Ids {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        if let Some(id) = librdkafka::topic_id(text, &self.topic) {
            *self.id.lock() = Some(id.to_owned());
        }
        // Debug lines are switched on only for the line above.
        if !matches!(level, RDKafkaLogLevel::Debug) {
            librdkafka::line(level, facility, text);
        }
    }
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "{reason}");
    }
    fn stats_raw(&self, _: &[u8]) {}
}
impl ConsumerContext for Ids {}

impl Probe {
    pub(crate) fn new(kafka: &Kafka) -> Result<Self> {
        Self::with(&kafka.topic, &kafka.probe_config())
    }

    /// A probe with a configuration of its own.
    pub(crate) fn with(topic: &str, config: &ClientConfig) -> Result<Self> {
        let context = Ids { topic: topic.to_owned(), id: Mutex::default() };
        let client = BaseConsumer::from_config_and_context(config, context)
            .map_err(|error| failed("the client that queries the topic", error))?;
        Ok(Probe { topic: topic.to_owned(), client })
    }

    /// Runs a query on a thread that may block.
    pub(crate) async fn blocking<T: Send + 'static>(
        probe: Arc<Probe>,
        ask: impl FnOnce(&Probe) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        tokio::task::spawn_blocking(move || ask(&probe))
            .await
            .map_err(|error| Error::retriable("the query about the topic was cancelled").with_source(error))?
    }

    pub(crate) async fn ends_async(probe: Arc<Probe>) -> Result<Positions> {
        Self::blocking(probe, |probe| probe.ends(&probe.partitions()?, PATIENCE)).await
    }

    /// The partitions of the topic.
    pub(crate) fn partitions(&self) -> Result<Vec<Partition>> {
        let metadata = self
            .client
            .fetch_metadata(Some(&self.topic), PATIENCE)
            .map_err(|error| failed(format_args!("topic {}", self.topic), error))?;
        let found = metadata.topics().first();
        if let Some(code) = found.and_then(|topic| topic.error()) {
            let code = rdkafka::error::RDKafkaErrorCode::from(code);
            return Err(failed(format_args!("topic {}", self.topic), KafkaError::MetadataFetch(code)));
        }
        let ids = found.into_iter().flat_map(|topic| topic.partitions()).map(|partition| partition.id());
        let mut partitions: Vec<_> = ids.filter_map(|id| u32::try_from(id).ok()).map(Partition).collect();
        if partitions.is_empty() {
            return Err(Error::retriable(format!("topic {} does not exist", self.topic)));
        }
        partitions.sort();
        Ok(partitions)
    }

    /// A hash of the cluster, the topic's name and the topic's id. It changes when the topic is
    /// recreated. Brokers before 2.8 have no topic ids; then the hash is of cluster and name only.
    pub(crate) fn incarnation(&self) -> Result<u128> {
        // Makes librdkafka log the id, if it differs from the one that the client knew.
        self.partitions()?;
        // Log lines wait in a queue. Polling for some time handles all of them.
        let _ = self.client.poll(LINES);
        let id = self.client.context().id.lock().clone();
        if id.is_none() {
            tracing::warn!(
                topic = self.topic,
                "the broker has no topic ids: a topic that is recreated is detected only by its records"
            );
        }
        self.incarnation_of(&id.unwrap_or_default())
    }

    /// The incarnation of the topic if it has this id.
    pub(crate) fn incarnation_of(&self, id: &str) -> Result<u128> {
        let cluster = self
            .client
            .client()
            .fetch_cluster_id(PATIENCE)
            .ok_or_else(|| Error::retriable("the cluster does not report its id"))?;
        Ok(xxh3_128(format!("{cluster}\0{}\0{id}", self.topic).as_bytes()))
    }

    /// The ends of the partitions, if the brokers answer within `patience`.
    pub(crate) fn ends(&self, partitions: &[Partition], patience: Duration) -> Result<Positions> {
        let ends = partitions.iter().map(|partition| (*partition, Place::End));
        Ok(self.places(ends, patience)?.into_iter().collect())
    }

    /// The range of offsets that the log has of each partition.
    pub(crate) fn held(&self, partitions: &[Partition]) -> Result<BTreeMap<Partition, Range<Offset>>> {
        let starts =
            self.places(partitions.iter().map(|partition| (*partition, Place::Beginning)), PATIENCE)?;
        let ends = self.places(partitions.iter().map(|partition| (*partition, Place::End)), PATIENCE)?;
        Ok(starts
            .into_iter()
            .filter_map(|(partition, start)| Some((partition, start..*ends.get(&partition)?)))
            .collect())
    }

    pub(crate) fn positions_at(&self, time: Timestamp) -> Result<Positions> {
        let partitions = self.partitions()?;
        let mut positions = self.ends(&partitions, PATIENCE)?;
        let wanted = partitions.iter().map(|p| (*p, Place::Offset(time.as_millis().max(0))));
        for (partition, offset) in self.places(wanted, PATIENCE)? {
            positions.set(partition, offset);
        }
        Ok(positions)
    }

    /// Translates places (the beginning, the end, a time in milliseconds) into offsets, in one
    /// query. The client reads committed records only, so an open transaction lies after the end.
    fn places(
        &self,
        wanted: impl Iterator<Item = (Partition, Place)>,
        patience: Duration,
    ) -> Result<BTreeMap<Partition, Offset>> {
        let place = |error| failed(format_args!("topic {}: querying offsets", self.topic), error);
        let mut list = TopicPartitionList::new();
        for (partition, at) in wanted {
            list.add_partition_offset(&self.topic, number(partition), at).map_err(place)?;
        }
        let found = self.client.offsets_for_times(list, patience).map_err(place)?;
        self.serve();
        let mut offsets = BTreeMap::new();
        for element in found.elements() {
            element.error().map_err(place)?;
            if let (Ok(partition), Place::Offset(offset)) =
                (u32::try_from(element.partition()), element.offset())
                && let Ok(offset) = Offset::try_from(offset)
            {
                offsets.insert(Partition(partition), offset);
            }
        }
        Ok(offsets)
    }

    /// Handles the client's log lines: a few more than one query produces.
    fn serve(&self) {
        for _ in 0..16 {
            let _ = self.client.poll(Duration::ZERO);
        }
    }
}

/// A partition's number in Kafka's type.
pub(crate) fn number(partition: Partition) -> i32 {
    i32::try_from(partition.0).unwrap_or(i32::MAX)
}
