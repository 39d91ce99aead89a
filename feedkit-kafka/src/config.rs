//! What a sink and a source are made from.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use feedkit_core::{Error, Offset, Partition, Positions, Result, Timestamp};
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

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

/// How a sink sends.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SinkOptions {
    /// A record that is not acknowledged so long after it found room is given up: it is not sent again behind the
    /// back of a caller that has been told so. Becomes `message.timeout.ms`. A record may wait as long for room.
    pub delivery_timeout: Duration,
    /// So long a record may wait for others to share a request with. Becomes `linger.ms`.
    pub linger: Duration,
    /// Most bytes of records not yet acknowledged; sends wait beyond. Becomes `queue.buffering.max.kbytes`.
    pub queue_bytes: usize,
}

impl Default for SinkOptions {
    /// 10 seconds, 2 milliseconds, 32 MiB.
    fn default() -> Self {
        SinkOptions {
            delivery_timeout: Duration::from_secs(10),
            linger: Duration::from_millis(2),
            queue_bytes: 32 << 20,
        }
    }
}

/// How a source reads.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceOptions {
    /// Most records of a batch.
    pub max_records: usize,
    /// Bytes of keys and values from which a batch takes no more records. One batch of each partition is read
    /// ahead, so a source holds at most about so much a partition, and once more for the one being worked on,
    /// besides the few MiB that librdkafka reads ahead for all partitions together.
    pub max_bytes: usize,
    /// How the members of a group share partitions out.
    pub protocol: GroupProtocol,
    /// How often a broadcast reader looks for new partitions.
    pub partition_refresh: Duration,
    /// How often the offsets handed over are written to Kafka, for lag tools to see. They are never read back.
    pub commit_interval: Duration,
    /// How often ends, lag and connections are measured for [`SourceStats`](crate::SourceStats); zero: never.
    pub statistics_interval: Duration,
}

impl Default for SourceOptions {
    /// 20,000 records or 4 MiB; cooperative; 10 s, 5 s and 5 s.
    fn default() -> Self {
        SourceOptions {
            max_records: 20_000,
            max_bytes: 4 << 20,
            protocol: GroupProtocol::default(),
            partition_refresh: Duration::from_secs(10),
            commit_interval: Duration::from_secs(5),
            statistics_interval: Duration::from_secs(5),
        }
    }
}

/// How the members of a group share partitions out. All members of one group must use the same, or be changed
/// from one to the other one at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupProtocol {
    /// The classic protocol with the cooperative-sticky assignor: partitions that stay are not interrupted.
    Cooperative {
        /// A member not heard of for so long has its partitions taken away. The broker sets the least: 6 seconds,
        /// unless configured otherwise.
        session_timeout: Duration,
        /// How often a member is heard of; a third of the session time-out at most.
        heartbeat_interval: Duration,
    },
    /// KIP-848, brokers from 4.0 on: the broker assigns, and its configuration says how often it wants to hear of
    /// members (`group.consumer.session.timeout.ms`, `group.consumer.heartbeat.interval.ms`).
    Consumer,
}

impl Default for GroupProtocol {
    /// Cooperative, 10 seconds and 1 second.
    fn default() -> Self {
        GroupProtocol::Cooperative {
            session_timeout: Duration::from_secs(10),
            heartbeat_interval: Duration::from_secs(1),
        }
    }
}

/// Keys that are not the user's to set, and what is said of them.
const RESERVED: [(&str, &str); 21] = [
    ("bootstrap.servers", "the brokers are named by `bootstrap`"),
    ("metadata.broker.list", "the brokers are named by `bootstrap`"),
    ("group.id", "the group is given where the source is made"),
    ("group.protocol", "it is SourceOptions::protocol"),
    ("partition.assignment.strategy", "it is SourceOptions::protocol"),
    ("session.timeout.ms", "it is SourceOptions::protocol"),
    ("heartbeat.interval.ms", "it is SourceOptions::protocol"),
    ("enable.idempotence", "without it a retry can write a record twice"),
    ("acks", "an acknowledgement stands for all in-sync replicas"),
    ("request.required.acks", "an acknowledgement stands for all in-sync replicas"),
    ("transactional.id", "records are written outside of transactions"),
    ("message.timeout.ms", "it is SinkOptions::delivery_timeout"),
    ("delivery.timeout.ms", "it is SinkOptions::delivery_timeout"),
    ("linger.ms", "it is SinkOptions::linger"),
    ("queue.buffering.max.ms", "it is SinkOptions::linger"),
    ("enable.auto.commit", "positions are kept with what was made of the records"),
    ("enable.auto.offset.store", "positions are kept with what was made of the records"),
    ("auto.offset.reset", "a position that the log does not hold is a gap, and never passed over"),
    ("isolation.level", "records of transactions that were given up are not read"),
    ("enable.partition.eof", "the ends of partitions are told to who reads"),
    ("statistics.interval.ms", "it is SourceOptions::statistics_interval"),
];

impl Kafka {
    /// The topic of this name, of the cluster that these brokers (`HOST:PORT`, separated by commas) belong to.
    pub fn new(bootstrap: impl Into<String>, topic: impl Into<String>) -> Self {
        Kafka { bootstrap: bootstrap.into(), topic: topic.into(), properties: BTreeMap::new() }
    }

    /// Another topic of the same cluster.
    pub fn with_topic(&self, topic: impl Into<String>) -> Self {
        Kafka { topic: topic.into(), ..self.clone() }
    }

    /// Looks at the configuration, without reaching for the brokers.
    ///
    /// # Errors
    ///
    /// [`Invalid`](feedkit_core::ErrorKind::Invalid): no broker or topic is named, librdkafka does not know a
    /// property or refuses its value, or the property is one that exactness rests on.
    pub fn check(&self) -> Result<()> {
        if self.bootstrap.trim().is_empty() {
            return Err(Error::invalid("no Kafka broker is named"));
        }
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if self.topic.is_empty() || self.topic.len() > 249 || !self.topic.chars().all(named) {
            return Err(Error::invalid(format!("{:?} is no name of a Kafka topic", self.topic)));
        }
        for key in self.properties.keys() {
            if let Some((_, why)) = RESERVED.iter().find(|(reserved, _)| reserved == key) {
                return Err(Error::invalid(format!("the Kafka property {key} cannot be set: {why}")));
            }
        }
        let config = self.client(&[]);
        config.create_native_config().map(drop).map_err(|error| {
            // librdkafka's text names the key; the value may be a secret.
            let text = match error {
                rdkafka::error::KafkaError::ClientConfig(_, text, key, _) => format!("{key}: {text}"),
                other => other.to_string(),
            };
            Error::invalid(format!("a Kafka property is refused: {text}"))
        })
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

    /// What every client has in common: `defaults`, then the user's own.
    fn client(&self, defaults: &[(&str, String)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config.set("client.id", "feedkit");
        // A broker that is back is found again soon.
        config.set("reconnect.backoff.max.ms", "1000");
        for (key, value) in defaults {
            config.set(*key, value);
        }
        for (key, value) in &self.properties {
            config.set(key, value);
        }
        config
    }

    pub(crate) fn admin_config(&self) -> ClientConfig {
        self.client(&[])
    }

    /// A client that asks about the topic. The topic's id stands in a debug line and nowhere else.
    pub(crate) fn probe_config(&self) -> ClientConfig {
        let mut config = self.client(&[]);
        config.set("isolation.level", "read_committed");
        with_topic_ids(&mut config);
        config
    }

    pub(crate) fn producer_config(&self, options: &SinkOptions) -> ClientConfig {
        let mut config = self.client(&[
            ("compression.type", "lz4".to_owned()),
            // Java's: other producers send a user's records to the same partition.
            ("partitioner", "murmur2_random".to_owned()),
            ("queue.buffering.max.kbytes", (options.queue_bytes / 1024).max(1).to_string()),
            ("queue.buffering.max.messages", "1000000".to_owned()),
            ("batch.size", (1 << 20).to_string()),
            ("statistics.interval.ms", "0".to_owned()),
            // Partitions that were added are written to before long.
            ("topic.metadata.refresh.interval.ms", "30000".to_owned()),
        ]);
        config.set("enable.idempotence", "true");
        config.set("acks", "all");
        config.set("message.timeout.ms", millis(options.delivery_timeout.max(Duration::from_millis(1))));
        config.set("linger.ms", fractional_millis(options.linger));
        config
    }

    pub(crate) fn consumer_config(&self, group: Option<&str>, options: &SourceOptions) -> ClientConfig {
        // librdkafka wants to be able to fetch the largest record that it would send.
        let largest = self.properties.get("message.max.bytes").and_then(|bytes| bytes.parse().ok());
        let mut config = self.client(&[
            // Little is read ahead: what is ready lies in the source's own bounded buffers.
            // librdkafka keeps some hundred bytes for each record besides the record itself, so small ones count by
            // their number; a fetch brings what one request asks for of every partition.
            ("queued.min.messages", "2000".to_owned()),
            ("queued.max.messages.kbytes", "4096".to_owned()),
            ("fetch.message.max.bytes", (256 << 10).to_string()),
            ("fetch.max.bytes", largest.unwrap_or(0).max(4_u64 << 20).to_string()),
            ("fetch.queue.backoff.ms", "5".to_owned()),
            // A partition just assigned waits for the fetch under way.
            ("fetch.wait.max.ms", "100".to_owned()),
            ("topic.metadata.refresh.interval.ms", "30000".to_owned()),
        ]);
        config.set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false");
        config.set("auto.offset.reset", "error");
        config.set("isolation.level", "read_committed");
        config.set("enable.partition.eof", "true");
        config.set("statistics.interval.ms", millis(options.statistics_interval));
        // Even a reader that is in no group has to name one; nothing is written under it.
        config.set("group.id", group.unwrap_or("feedkit-broadcast"));
        match &options.protocol {
            GroupProtocol::Cooperative { session_timeout, heartbeat_interval } => {
                config.set("partition.assignment.strategy", "cooperative-sticky");
                config.set("session.timeout.ms", millis(*session_timeout));
                config.set("heartbeat.interval.ms", millis(*heartbeat_interval));
            }
            GroupProtocol::Consumer if group.is_some() => {
                config.set("group.protocol", "consumer");
            }
            GroupProtocol::Consumer => {}
        }
        with_topic_ids(&mut config);
        config
    }

    /// How long a member may take to hand partitions over.
    pub(crate) fn max_poll_interval(&self) -> Duration {
        let set = self.properties.get("max.poll.interval.ms").and_then(|value| value.parse().ok());
        Duration::from_millis(set.unwrap_or(300_000))
    }
}

fn with_topic_ids(config: &mut ClientConfig) {
    let debug = match config.get("debug") {
        Some(own) => format!("{own},metadata"),
        None => "metadata".to_owned(),
    };
    config.set("debug", debug);
    config.set_log_level(RDKafkaLogLevel::Debug);
}

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

/// librdkafka takes fractions of a millisecond here.
fn fractional_millis(duration: Duration) -> String {
    format!("{}", duration.as_secs_f64() * 1000.0)
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

#[cfg(test)]
mod tests {
    use feedkit_core::ErrorKind;

    use super::*;

    fn kafka(key: &str, value: &str) -> Kafka {
        let mut kafka = Kafka::new("127.0.0.1:1", "t");
        kafka.properties.insert(key.to_owned(), value.to_owned());
        kafka
    }

    #[test]
    fn properties_are_checked_and_secrets_are_not_shown() {
        assert!(kafka("socket.timeout.ms", "1000").check().is_ok());
        for (key, value, said) in [
            ("no.such.key", "1", "no.such.key"),
            ("socket.timeout.ms", "much", "socket.timeout.ms"),
            ("acks", "1", "all in-sync replicas"),
            ("auto.offset.reset", "latest", "gap"),
        ] {
            let error = kafka(key, value).check().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(said), "{error}");
        }
        assert!(!format!("{:?}", kafka("sasl.password", "hunter2")).contains("hunter2"));
        assert!(Kafka::new("127.0.0.1:1", "a topic").check().is_err());
        assert!(Kafka::new("", "t").check().is_err());
    }

    #[test]
    fn the_users_properties_win_over_defaults() {
        let kafka = kafka("compression.type", "zstd");
        assert_eq!(kafka.producer_config(&SinkOptions::default()).get("compression.type"), Some("zstd"));
        let consumer = kafka.consumer_config(Some("g"), &SourceOptions::default());
        assert_eq!(consumer.get("auto.offset.reset"), Some("error"));
    }
}
