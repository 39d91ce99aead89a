//! The properties of librdkafka that options become, and those that a user may not set.

use std::time::Duration;

use feedkit_core::{Error, Result};
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use crate::config::{GroupProtocol, SinkOptions, SourceOptions};
use crate::kafka::Kafka;

/// Keys that a user may not set, and why.
const RESERVED: [(&str, &str); 21] = [
    ("bootstrap.servers", "use `bootstrap`"),
    ("metadata.broker.list", "use `bootstrap`"),
    ("group.id", "pass the group to Kafka::member"),
    ("group.protocol", "use SourceOptions::protocol"),
    ("partition.assignment.strategy", "use SourceOptions::protocol"),
    ("session.timeout.ms", "use SourceOptions::protocol"),
    ("heartbeat.interval.ms", "use SourceOptions::protocol"),
    ("enable.idempotence", "without idempotence a retry can write a record twice"),
    ("acks", "an acknowledgement must come from all in-sync replicas"),
    ("request.required.acks", "an acknowledgement must come from all in-sync replicas"),
    ("transactional.id", "the sink does not use transactions"),
    ("message.timeout.ms", "use SinkOptions::delivery_timeout"),
    ("delivery.timeout.ms", "use SinkOptions::delivery_timeout"),
    ("linger.ms", "use SinkOptions::linger"),
    ("queue.buffering.max.ms", "use SinkOptions::linger"),
    ("enable.auto.commit", "the reader stores positions together with its results"),
    ("enable.auto.offset.store", "the reader stores positions together with its results"),
    ("auto.offset.reset", "a position that is not in the log must be reported as a gap"),
    ("isolation.level", "records of aborted transactions must not be read"),
    ("enable.partition.eof", "the reader must learn where partitions end"),
    ("statistics.interval.ms", "use SourceOptions::statistics_interval"),
];
impl Kafka {
    /// Checks the configuration without contacting the brokers.
    ///
    /// # Errors
    ///
    /// [`Invalid`](feedkit_core::ErrorKind::Invalid): the brokers or the topic are missing,
    /// librdkafka does not know a property or refuses its value, or a property must not be set
    /// because exactness depends on it.
    pub fn check(&self) -> Result<()> {
        if self.bootstrap.trim().is_empty() {
            return Err(Error::invalid("no Kafka broker is given"));
        }
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if self.topic.is_empty() || self.topic.len() > 249 || !self.topic.chars().all(named) {
            return Err(Error::invalid(format!("{:?} is not a valid name of a Kafka topic", self.topic)));
        }
        for key in self.properties.keys() {
            if let Some((_, why)) = RESERVED.iter().find(|(reserved, _)| reserved == key) {
                return Err(Error::invalid(format!("the Kafka property {key} cannot be set: {why}")));
            }
        }
        let config = self.client(&[]);
        config.create_native_config().map(drop).map_err(|error| {
            // librdkafka's text names the key. The value is left out, because it may be a secret.
            let text = match error {
                rdkafka::error::KafkaError::ClientConfig(_, text, key, _) => format!("{key}: {text}"),
                other => other.to_string(),
            };
            Error::invalid(format!("librdkafka refuses a property: {text}"))
        })
    }
    /// The configuration that all clients share: `defaults`, then the user's own properties.
    fn client(&self, defaults: &[(&str, String)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config.set("client.id", "feedkit");
        // A broker would create a topic with one partition, and a key would move when it gets more.
        config.set("allow.auto.create.topics", "false");
        // So that a broker that returns is found soon.
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

    /// The configuration of a client that queries the topic. librdkafka shows the topic's id only
    /// in a debug line.
    pub(crate) fn probe_config(&self) -> ClientConfig {
        let mut config = self.client(&[]);
        config.set("isolation.level", "read_committed");
        with_topic_ids(&mut config);
        config
    }

    pub(crate) fn producer_config(&self, options: &SinkOptions) -> ClientConfig {
        let mut config = self.client(&[
            ("compression.type", "lz4".to_owned()),
            // Java's partitioner, so that all producers send a user's records to the same
            // partition.
            ("partitioner", "murmur2_random".to_owned()),
            ("queue.buffering.max.kbytes", (options.queue_bytes / 1024).max(1).to_string()),
            ("queue.buffering.max.messages", "1000000".to_owned()),
            ("batch.size", (1 << 20).to_string()),
            ("statistics.interval.ms", "0".to_owned()),
            // So that new partitions are used soon.
            ("topic.metadata.refresh.interval.ms", "30000".to_owned()),
        ]);
        config.set("enable.idempotence", "true");
        config.set("acks", "all");
        config.set("message.timeout.ms", millis(options.delivery_timeout.max(Duration::from_millis(1))));
        config.set("linger.ms", fractional_millis(options.linger));
        config
    }

    pub(crate) fn consumer_config(&self, group: Option<&str>, options: &SourceOptions) -> ClientConfig {
        // librdkafka requires that it can fetch the largest record that it may send.
        let largest = self.properties.get("message.max.bytes").and_then(|bytes| bytes.parse().ok());
        let mut config = self.client(&[
            // librdkafka reads only a little ahead, because the source has its own bounded buffers.
            // It needs some hundred bytes for each record besides the record itself, so the number
            // of records is limited too. A fetch can bring this many bytes of every partition.
            ("queued.min.messages", "2000".to_owned()),
            ("queued.max.messages.kbytes", "4096".to_owned()),
            ("fetch.message.max.bytes", (256 << 10).to_string()),
            ("fetch.max.bytes", largest.unwrap_or(0).max(4_u64 << 20).to_string()),
            ("fetch.queue.backoff.ms", "5".to_owned()),
            // A new partition has to wait for the fetch that is under way.
            ("fetch.wait.max.ms", "100".to_owned()),
            ("topic.metadata.refresh.interval.ms", "30000".to_owned()),
        ]);
        config.set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false");
        config.set("auto.offset.reset", "error");
        config.set("isolation.level", "read_committed");
        config.set("enable.partition.eof", "true");
        config.set("statistics.interval.ms", millis(options.statistics_interval));
        // A broadcast reader has to name a group too, but commits nothing.
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

    /// How long a member may take to give up revoked partitions.
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

/// librdkafka accepts fractions of a millisecond for this property.
fn fractional_millis(duration: Duration) -> String {
    format!("{}", duration.as_secs_f64() * 1000.0)
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
    fn no_client_creates_topics_unless_the_user_says_so() {
        let all = |kafka: &Kafka| {
            let (sink, source) = (SinkOptions::default(), SourceOptions::default());
            let configs = [
                kafka.admin_config(),
                kafka.probe_config(),
                kafka.producer_config(&sink),
                kafka.consumer_config(None, &source),
                kafka.consumer_config(Some("g"), &source),
            ];
            configs.map(|config| config.get("allow.auto.create.topics").map(str::to_owned))
        };
        assert!(all(&Kafka::new("127.0.0.1:1", "t")).iter().all(|value| value.as_deref() == Some("false")));
        let wanted = kafka("allow.auto.create.topics", "true");
        assert!(all(&wanted).iter().all(|value| value.as_deref() == Some("true")));
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
