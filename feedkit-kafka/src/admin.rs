//! Creates topics, and checks whether topics exist.

use std::sync::Arc;
use std::time::Duration;

use feedkit_core::{Error, Result};
use rdkafka::admin::{
    AdminClient, AdminOptions, NewTopic as KafkaTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::failure::failed;
use crate::kafka::Kafka;
use crate::librdkafka;
use crate::probe::Probe;

/// How long the brokers may take for one request.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// A topic to create.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewTopic {
    /// The topic's name.
    pub name: String,
    /// How many partitions. More can be added later, but then keys move to other partitions.
    pub partitions: u32,
    /// How many replicas each partition has. `None` is the brokers' default.
    pub replicas: Option<u16>,
    /// How many replicas must be in sync before a record is acknowledged (`min.insync.replicas`).
    /// `None` is the brokers' default. With 3 replicas, 2 survives the loss of one.
    pub min_in_sync: Option<u16>,
    /// How long records are kept (`retention.ms`).
    pub retention: Duration,
    /// More configuration of the topic, by Kafka's names.
    pub config: Vec<(String, String)>,
}

impl NewTopic {
    /// A topic with four partitions and a retention of seven days. All else is the brokers'
    /// default.
    pub fn new(name: impl Into<String>) -> Self {
        NewTopic {
            name: name.into(),
            partitions: 4,
            replicas: None,
            min_in_sync: None,
            retention: Duration::from_secs(7 * 24 * 3600),
            config: Vec::new(),
        }
    }

    /// Sets the number of partitions.
    #[must_use]
    pub fn partitions(mut self, partitions: u32) -> Self {
        self.partitions = partitions;
        self
    }

    /// Sets one more configuration of the topic, by Kafka's name.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.config.push((key.into(), value.into()));
        self
    }
}

/// The outcome of creating a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CreatedTopic {
    /// The topic's name.
    pub name: String,
    /// Whether the topic is new. Otherwise it existed before, and was not changed.
    pub is_new: bool,
    /// How a topic that existed before differs from what was asked for, one sentence for each
    /// difference.
    pub differences: Vec<String>,
}

/// Creates the topics that do not exist yet, in the cluster of `kafka`. The topic of `kafka` does
/// not matter.
///
/// # Errors
///
/// [`Retriable`](feedkit_core::ErrorKind::Retriable): the brokers cannot be reached.
/// [`Invalid`](feedkit_core::ErrorKind::Invalid): a value is refused. The topics before it may have
/// been created.
pub async fn create_topics(kafka: &Kafka, topics: &[NewTopic]) -> Result<Vec<CreatedTopic>> {
    kafka.check()?;
    let admin = AdminClient::from_config_and_context(&kafka.admin_config(), Quiet)
        .map_err(|error| failed("the client that creates topics", error))?;
    let admin = Arc::new(admin);
    let options =
        AdminOptions::new().request_timeout(Some(ANSWERED_WITHIN)).operation_timeout(Some(ANSWERED_WITHIN));
    let mut created = Vec::new();
    for topic in topics {
        let results = admin.create_topics(&[topic.to_kafka()?.borrow()], &options).await;
        let results =
            results.map_err(|error| failed(format_args!("creating topic {}", topic.name), error))?;
        let mut is_new = true;
        for result in results {
            match result {
                Ok(_) => {}
                Err((_, Code::TopicAlreadyExists)) => is_new = false,
                Err((name, code)) => return Err(refused(&name, code)),
            }
        }
        let differences = if is_new { Vec::new() } else { differences(&admin, &options, topic).await? };
        created.push(CreatedTopic { name: topic.name.clone(), is_new, differences });
    }
    Ok(created)
}

/// Compares an existing topic with what was asked for.
async fn differences(
    admin: &Arc<AdminClient<Quiet>>,
    options: &AdminOptions,
    asked: &NewTopic,
) -> Result<Vec<String>> {
    let what = || format!("comparing topic {}", asked.name);
    let (client, name) = (Arc::clone(admin), asked.name.clone());
    let looking = move || {
        let metadata = client.inner().fetch_metadata(Some(&name), ANSWERED_WITHIN)?;
        let partitions = metadata.topics().first().map_or(&[][..], |topic| topic.partitions());
        Ok((partitions.len(), partitions.iter().map(|p| p.replicas().len()).min().unwrap_or_default()))
    };
    let looked = tokio::task::spawn_blocking(looking).await;
    let looked = looked.map_err(|e| Error::retriable(format!("{} was cancelled", what())).with_source(e))?;
    let (partitions, replicas) = looked.map_err(|error| failed(what(), error))?;
    let mut differences = Vec::new();
    let mut compare = |name: &str, found: &str, asked: &str| {
        if found != asked {
            differences.push(format!("{name} is {found}, not {asked}"));
        }
    };
    compare("the number of partitions", &partitions.to_string(), &asked.partitions.to_string());
    if let Some(asked) = asked.replicas {
        compare("the number of replicas", &replicas.to_string(), &asked.to_string());
    }
    let described = admin.describe_configs(&[ResourceSpecifier::Topic(&asked.name)], options).await;
    for described in described.map_err(|error| failed(what(), error))? {
        let described = described.map_err(|code| failed(what(), KafkaError::AdminOp(code)))?;
        for (key, value) in asked.to_kafka()?.config {
            let found = described.get(&key).and_then(|entry| entry.value.as_deref()).unwrap_or("not set");
            compare(&key, found, &value);
        }
    }
    Ok(differences)
}

/// How many partitions the topic has.
///
/// # Errors
///
/// [`Retriable`](feedkit_core::ErrorKind::Retriable): the topic does not exist, or the brokers
/// cannot be reached.
pub async fn partitions(kafka: &Kafka) -> Result<u32> {
    kafka.check()?;
    let probe = Arc::new(Probe::new(kafka)?);
    Probe::blocking(probe, |probe| Ok(u32::try_from(probe.partitions()?.len()).unwrap_or(u32::MAX))).await
}

/// Whether the topic exists.
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

/// Checks that these topics exist. Returns how many partitions each has.
///
/// # Errors
///
/// As for [`partitions`], for the first topic that is missing.
pub async fn check_topics(kafka: &Kafka, names: &[&str]) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for name in names {
        found.push(partitions(&kafka.with_topic(*name)).await?);
    }
    Ok(found)
}

fn refused(name: &str, code: Code) -> Error {
    let error = KafkaError::AdminOp(code);
    let what = format!("creating topic {name}");
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

/// The values that librdkafka's own `NewTopic` borrows.
struct Owned {
    name: String,
    partitions: i32,
    replicas: i32,
    config: Vec<(String, String)>,
}

impl NewTopic {
    fn to_kafka(&self) -> Result<Owned> {
        let partitions = i32::try_from(self.partitions).ok().filter(|partitions| *partitions > 0);
        let partitions = partitions.ok_or_else(|| {
            Error::invalid(format!("topic {} cannot have {} partitions", self.name, self.partitions))
        })?;
        let mut config = vec![("retention.ms".to_owned(), self.retention.as_millis().to_string())];
        config.extend(self.min_in_sync.map(|n| ("min.insync.replicas".to_owned(), n.to_string())));
        config.extend(self.config.iter().cloned());
        // -1 is the brokers' default.
        let replicas = self.replicas.map_or(-1, i32::from);
        Ok(Owned { name: self.name.clone(), partitions, replicas, config })
    }
}

impl Owned {
    fn borrow(&self) -> KafkaTopic<'_> {
        let replication = TopicReplication::Fixed(self.replicas);
        let topic = KafkaTopic::new(&self.name, self.partitions, replication);
        self.config.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
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
