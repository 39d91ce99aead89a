//! One topic of a cluster: sinks and sources are made from it, and it answers where the log begins and ends.

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
/// let mut kafka = Kafka::new("127.0.0.1:9092", "user-actions");
/// kafka.properties.insert("security.protocol".into(), "plaintext".into());
/// let sink = kafka.sink(SinkOptions::default())?;
/// # drop(sink);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Kafka {
    /// Some of the brokers: `HOST:PORT`, separated by commas.
    pub bootstrap: String,
    /// The topic's name.
    pub topic: String,
    /// Handed to librdkafka as they are, for the sink, the source and the client that makes topics; they win over
    /// this crate's defaults. TLS and SASL are set here. The few keys that exactness rests on are
    /// [refused](Kafka::check).
    pub properties: BTreeMap<String, String>,
}
impl Kafka {
    /// The topic of this name, of the cluster that these brokers (`HOST:PORT`, separated by commas) belong to.
    pub fn new(bootstrap: impl Into<String>, topic: impl Into<String>) -> Self {
        Kafka { bootstrap: bootstrap.into(), topic: topic.into(), properties: BTreeMap::new() }
    }

    /// Another topic of the same cluster.
    pub fn with_topic(&self, topic: impl Into<String>) -> Self {
        Kafka { topic: topic.into(), ..self.clone() }
    }
    /// Where records go in. Connects in the background: brokers that are away are no error here.
    ///
    /// # Errors
    ///
    /// [`Invalid`](feedkit_core::ErrorKind::Invalid), as for [`check`](Kafka::check).
    pub fn sink(&self, options: SinkOptions) -> Result<KafkaSink> {
        self.check()?;
        KafkaSink::new(self.clone(), options)
    }

    /// Reads as a member of `group`; its members share the partitions out among themselves. Connects in the
    /// background.
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

    /// Reads beside all others: each broadcast reader is assigned every partition, also those added later.
    /// [`positions_at`](Kafka::positions_at) tells where to resume to begin at some time.
    ///
    /// # Errors
    ///
    /// [`Invalid`](feedkit_core::ErrorKind::Invalid), as for [`check`](Kafka::check).
    pub fn broadcast(&self, options: SourceOptions) -> Result<KafkaSource> {
        self.check()?;
        KafkaSource::new(self.clone(), None, options)
    }

    /// The next offset to be written of every partition, as of now.
    ///
    /// # Errors
    ///
    /// [`Retriable`](feedkit_core::ErrorKind::Retriable): the brokers cannot be asked, or the topic is not there.
    pub async fn ends(&self) -> Result<Positions> {
        self.check()?;
        let probe = Arc::new(Probe::new(self)?);
        Probe::ends_async(probe).await
    }

    /// As [`ends`](Kafka::ends), with records of transactions that are under way: no position lies beyond.
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

    /// The log's incarnation, and what it holds of every partition, as of now: what a source compares with where it
    /// is to resume.
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

    /// Of every partition the offset of the first record held of `time` or later; where there is none, the next
    /// offset to be written.
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
        // Values may be secrets.
        f.debug_struct("Kafka")
            .field("bootstrap", &self.bootstrap)
            .field("topic", &self.topic)
            .field("properties", &self.properties.keys())
            .finish()
    }
}
