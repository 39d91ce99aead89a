//! The properties that librdkafka's clients are made from.

use std::time::Duration;

use feedkit_core::{Error, Result};
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use crate::config::{GroupProtocol, SinkOptions, SourceOptions};
use crate::kafka::Kafka;

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
