//! Making topics, and looking whether they are there.

use std::sync::Arc;
use std::time::Duration;

use feedkit_core::{Error, Result};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::failure::failed;
use crate::kafka::Kafka;
use crate::librdkafka;
use crate::probe::Probe;

/// A topic to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicSettings {
    /// Its name.
    pub name: String,
    /// How many partitions. More can be added later; the keys then move.
    pub partitions: u32,
    /// How many brokers hold each partition; `None`: as the brokers are configured.
    pub replicas: Option<u16>,
    /// Below so many brokers in sync nothing is acknowledged (`min.insync.replicas`); `None`: as the brokers are
    /// configured. With 3 replicas, 2 survives the loss of one.
    pub min_in_sync: Option<u16>,
    /// Records are dropped when they are so old (`retention.ms`).
    pub retention: Duration,
    /// More settings, by Kafka's names.
    pub settings: Vec<(String, String)>,
}

impl TopicSettings {
    /// Four partitions, seven days, the rest as the brokers are configured.
    pub fn new(name: impl Into<String>) -> Self {
        TopicSettings {
            name: name.into(),
            partitions: 4,
            replicas: None,
            min_in_sync: None,
            retention: Duration::from_secs(7 * 24 * 3600),
            settings: Vec::new(),
        }
    }

    /// With so many partitions.
    pub fn partitions(mut self, partitions: u32) -> Self {
        self.partitions = partitions;
        self
    }

    /// With one more setting, by Kafka's name.
    pub fn set(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((key.into(), value.into()));
        self
    }
}

/// What became of a topic to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Its name.
    pub name: String,
    /// Whether it was made; `false`: it was there, and was left as it is.
    pub made: bool,
}

/// Makes the topics that are not there yet. The cluster is the one that `kafka` names; its topic does not matter.
///
/// # Errors
///
/// [`Retriable`](feedkit_core::ErrorKind::Retriable): the brokers cannot be reached.
/// [`Invalid`](feedkit_core::ErrorKind::Invalid): a setting is refused. Topics named before it may be made already.
pub async fn create_topics(kafka: &Kafka, topics: &[TopicSettings]) -> Result<Vec<Made>> {
    kafka.check()?;
    let admin = AdminClient::from_config_and_context(&kafka.admin_config(), Quiet)
        .map_err(|error| failed("the client that makes topics", error))?;
    let options = AdminOptions::new()
        .request_timeout(Some(Duration::from_secs(10)))
        .operation_timeout(Some(Duration::from_secs(10)));
    let mut made = Vec::new();
    for topic in topics {
        let results = admin.create_topics(&[topic.to_kafka()?.borrow()], &options).await;
        let results = results.map_err(|error| failed(format_args!("making topic {}", topic.name), error))?;
        let mut is_new = true;
        for result in results {
            match result {
                Ok(_) => {}
                Err((_, Code::TopicAlreadyExists)) => is_new = false,
                Err((name, code)) => return Err(refused(&name, code)),
            }
        }
        made.push(Made { name: topic.name.clone(), made: is_new });
    }
    Ok(made)
}

/// How many partitions the topic has.
///
/// # Errors
///
/// [`Retriable`](feedkit_core::ErrorKind::Retriable): the topic is not there, or the brokers cannot be reached.
pub async fn partitions(kafka: &Kafka) -> Result<u32> {
    kafka.check()?;
    let probe = Arc::new(Probe::new(kafka)?);
    Probe::blocking(probe, |probe| Ok(u32::try_from(probe.partitions()?.len()).unwrap_or(u32::MAX))).await
}

/// Whether the topic is there.
///
/// # Errors
///
/// [`Retriable`](feedkit_core::ErrorKind::Retriable): the brokers cannot be reached.
pub async fn exists(kafka: &Kafka) -> Result<bool> {
    match partitions(kafka).await {
        Ok(_) => Ok(true),
        Err(error) if is_unknown(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_unknown(error: &Error) -> bool {
    use std::error::Error as _;
    let cause = error.source().and_then(|cause| cause.downcast_ref::<KafkaError>());
    let code = cause.and_then(KafkaError::rdkafka_error_code);
    matches!(code, Some(Code::UnknownTopicOrPartition | Code::UnknownTopic))
}

/// Looks whether these topics of the cluster are there; how many partitions each has.
///
/// # Errors
///
/// As for [`partitions`], of the first that is missing.
pub async fn check_topics(kafka: &Kafka, names: &[&str]) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for name in names {
        found.push(partitions(&kafka.with_topic(*name)).await?);
    }
    Ok(found)
}

fn refused(name: &str, code: Code) -> Error {
    let error = KafkaError::AdminOp(code);
    let what = format!("making topic {name}");
    match code {
        Code::InvalidPartitions
        | Code::InvalidReplicationFactor
        | Code::InvalidConfig
        | Code::InvalidTopic
        | Code::PolicyViolation
        | Code::InvalidRequest => Error::invalid(format!("{what}: {code}")).with_source(error),
        _ => failed(what, error),
    }
}

/// A topic in librdkafka's terms, which borrow.
struct Owned {
    name: String,
    partitions: i32,
    replicas: i32,
    settings: Vec<(String, String)>,
}

impl TopicSettings {
    fn to_kafka(&self) -> Result<Owned> {
        let partitions = i32::try_from(self.partitions).ok().filter(|partitions| *partitions > 0);
        let partitions = partitions.ok_or_else(|| {
            Error::invalid(format!("topic {} cannot have {} partitions", self.name, self.partitions))
        })?;
        let mut settings = vec![("retention.ms".to_owned(), self.retention.as_millis().to_string())];
        settings.extend(self.min_in_sync.map(|n| ("min.insync.replicas".to_owned(), n.to_string())));
        settings.extend(self.settings.iter().cloned());
        // -1: as the brokers are configured.
        let replicas = self.replicas.map_or(-1, i32::from);
        Ok(Owned { name: self.name.clone(), partitions, replicas, settings })
    }
}

impl Owned {
    fn borrow(&self) -> NewTopic<'_> {
        let replication = TopicReplication::Fixed(self.replicas);
        let topic = NewTopic::new(&self.name, self.partitions, replication);
        self.settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
    }
}

struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        librdkafka::line(level, facility, text);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "{reason}");
    }
    fn stats_raw(&self, _: &[u8]) {}
}
