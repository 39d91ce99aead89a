//! The facade of this crate: one topic of a cluster, from which sinks and sources are made.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use feedkit_core::{Error, Offset, Partition, Positions, Result, Timestamp};

use crate::config::{SinkOptions, SourceOptions};
use crate::probe::Probe;
use crate::sink::KafkaSink;
use crate::source::KafkaSource;

/// One topic of a Kafka cluster, and how to reach it.
///
/// ```
/// use feedkit_kafka::{Kafka, SinkOptions};
///
/// # fn main() -> feedkit_core::Result<()> {
/// let kafka = Kafka::new("127.0.0.1:9092", "user-actions")
///     .with_property("security.protocol", "plaintext");
/// let sink = kafka.sink(SinkOptions::default())?;
/// # drop(sink);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Kafka {
    /// Some of the brokers, as `HOST:PORT`, separated by commas.
    pub bootstrap: String,
    /// The topic's name.
    pub topic: String,
    /// Properties of librdkafka, for every client that this crate makes. They override this crate's
    /// defaults. TLS and SASL are set here. A few keys are [refused](Kafka::check), because
    /// exactness depends on their values.
    pub properties: BTreeMap<String, String>,
}
impl Kafka {
    /// A topic of the cluster that these brokers belong to. Brokers are `HOST:PORT`, separated by
    /// commas.
    pub fn new(bootstrap: impl Into<String>, topic: impl Into<String>) -> Self {
        Kafka { bootstrap: bootstrap.into(), topic: topic.into(), properties: BTreeMap::new() }
    }

    /// Another topic of the same cluster.
    pub fn with_topic(&self, topic: impl Into<String>) -> Self {
        Kafka { topic: topic.into(), ..self.clone() }
    }

    /// Sets a property of librdkafka.
    #[must_use]
    pub fn with_property(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.insert(key.into(), value.into());
        self
    }
    /// A sink that appends to the topic. It connects in the background, so it is no error if the
    /// brokers are away.
    ///
    /// # Errors
    ///
    /// [`Invalid`](feedkit_core::ErrorKind::Invalid), as for [`check`](Kafka::check).
    pub fn sink(&self, options: SinkOptions) -> Result<KafkaSink> {
        self.check()?;
        KafkaSink::new(self.clone(), options)
    }

    /// A source that reads as a member of `group`. The members divide the partitions among
    /// themselves. It connects in the background.
    ///
    /// # Errors
    ///
    /// [`Invalid`](feedkit_core::ErrorKind::Invalid), as for [`check`](Kafka::check).
    pub fn member(&self, group: &str, options: SourceOptions) -> Result<KafkaSource> {
        self.check()?;
        if group.is_empty() {
            return Err(Error::invalid("a consumer group needs a name"));
        }
        KafkaSource::new(self.clone(), Some(group), options)
    }

    /// A source that reads every partition, including those that are added later, whatever other
    /// readers do. To start at some time, resume from [`positions_at`](Kafka::positions_at).
    ///
    /// # Errors
    ///
    /// [`Invalid`](feedkit_core::ErrorKind::Invalid), as for [`check`](Kafka::check).
    pub fn broadcast(&self, options: SourceOptions) -> Result<KafkaSource> {
        self.check()?;
        KafkaSource::new(self.clone(), None, options)
    }

    /// The current end of each partition: the next offset that a consumer of committed records can
    /// read.
    ///
    /// # Errors
    ///
    /// [`Retriable`](feedkit_core::ErrorKind::Retriable): the brokers cannot be reached, or the
    /// topic does not exist.
    pub async fn ends(&self) -> Result<Positions> {
        self.check()?;
        let probe = Arc::new(Probe::new(self)?);
        Probe::ends_async(probe).await
    }

    /// As [`ends`](Kafka::ends), but after the records of open transactions too. No acknowledged
    /// position lies beyond.
    ///
    /// # Errors
    ///
    /// As for [`ends`](Kafka::ends).
    pub async fn written(&self) -> Result<Positions> {
        self.check()?;
        let mut config = self.probe_config();
        config.set("isolation.level", "read_uncommitted");
        Probe::ends_async(Arc::new(Probe::with(&self.topic, &config)?)).await
    }

    /// The incarnation of the log, and the range of offsets that each partition has now. A source
    /// compares these with the position to resume from.
    ///
    /// # Errors
    ///
    /// As for [`ends`](Kafka::ends).
    pub async fn held(&self) -> Result<(u128, BTreeMap<Partition, Range<Offset>>)> {
        self.check()?;
        let probe = Arc::new(Probe::new(self)?);
        let ask = |probe: &Probe| Ok((probe.incarnation()?, probe.held(&probe.partitions()?)?));
        Probe::blocking(probe, ask).await
    }

    /// For each partition the offset of the first record of `time` or later, or the end if there is
    /// no such record.
    ///
    /// # Errors
    ///
    /// As for [`ends`](Kafka::ends).
    pub async fn positions_at(&self, time: Timestamp) -> Result<Positions> {
        self.check()?;
        let probe = Arc::new(Probe::new(self)?);
        Probe::blocking(probe, move |probe| probe.positions_at(time)).await
    }
}

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values may be secrets, so only the keys are shown.
        f.debug_struct("Kafka")
            .field("bootstrap", &self.bootstrap)
            .field("topic", &self.topic)
            .field("properties", &self.properties.keys())
            .finish()
    }
}
