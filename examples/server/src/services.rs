//! Kafka, PostgreSQL and Redis: their settings, and how they are opened.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use feedkit_core::{Error, Result, SystemClock};
use feedkit_kafka::Kafka;
use feedkit_store::postgres::{Postgres, PostgresOptions, TlsMode, TlsOptions};
use feedkit_store::redis::{Redis, RedisOptions};

use crate::settings::{Layers, Secret, choice};

crate::settings! {
    /// The log. Below `[kafka.properties]` any property of librdkafka can be set, such as `security.protocol`; those
    /// that exactness rests on are refused.
    pub struct KafkaSection in "kafka" as "kafka_" {
        /// Some of the brokers: HOST:PORT, separated by commas.
        brokers as "kafka": String = "127.0.0.1:9092".to_owned(),
        /// The topic of events.
        topic as "topic": String = "user-actions".to_owned(),
        /// The topic of notifications.
        notifications as "notifications": String = "notifications".to_owned(),
        /// The password of SASL, `sasl.password` of librdkafka.
        sasl_password: Option<Secret> = None,
    }
}

choice! {
    /// Whether connections to PostgreSQL are encrypted.
    pub enum Tls {
        /// Never.
        Off = "off",
        /// If the server offers it.
        Prefer = "prefer",
        /// Always, and the server is checked.
        Require = "require",
    }
}

crate::settings! {
    /// The history.
    pub struct PostgresSection in "postgres" as "postgres_" {
        /// `postgres://USER@HOST:PORT/DATABASE`.
        url as "postgres": String = "postgres://feedkit@127.0.0.1:5432/feedkit".to_owned(),
        /// The password, instead of one in the URL.
        password: Option<Secret> = None,
        /// Most connections at a time.
        pool_size: usize = 16,
        /// How long a call waits for a free connection.
        pool_wait: Duration = Duration::from_secs(5),
        /// How long connecting may take.
        connect_timeout: Duration = Duration::from_secs(5),
        /// How long one statement may take; recounts and rebuilds may take longer.
        statement_timeout: Duration = Duration::from_secs(30),
        /// Whether connections are encrypted: `off`, `prefer` or `require`.
        tls: Tls = Tls::Off,
        /// The file with the certificates, PEM, that vouch for the server's.
        ca_file: Option<PathBuf> = None,
        /// Whether a start brings the schema up to date. Without it the schema is only checked.
        migrate: bool = true,
    }
}

crate::settings! {
    /// The counters.
    pub struct RedisSection in "redis" as "redis_" {
        /// `redis://USER@HOST:PORT/DATABASE`, or `rediss://…` for TLS; of a cluster some of the nodes.
        url as "redis": Vec<String> = vec!["redis://127.0.0.1:6379".to_owned()],
        /// Whether this is a Redis Cluster.
        cluster: bool = false,
        /// The password, instead of one in the URL.
        password: Option<Secret> = None,
        /// The file with the certificates, PEM, that vouch for the server's; without it those of the system do.
        ca_file: Option<PathBuf> = None,
        /// How long an answer may take.
        response_timeout: Duration = Duration::from_secs(1),
        /// How long connecting may take.
        connect_timeout: Duration = Duration::from_secs(2),
    }
}

/// The services' settings.
pub type ServiceSections = (KafkaSection, PostgresSection, RedisSection);

/// The table of the file in which everything is a property of librdkafka.
pub const KAFKA_PROPERTIES: &str = "kafka.properties";

/// The services, as configured; nothing is reached yet.
#[derive(Debug, Clone)]
pub struct Services {
    kafka: KafkaSection,
    properties: BTreeMap<String, String>,
    postgres: PostgresSection,
    redis: RedisSection,
}

impl Services {
    /// As the layers have it.
    pub fn new(layers: &Layers, (kafka, postgres, redis): ServiceSections) -> Self {
        Services { kafka, properties: layers.file().open_table(KAFKA_PROPERTIES), postgres, redis }
    }

    /// The topic of events.
    ///
    /// # Errors
    ///
    /// [`Invalid`](feedkit_core::ErrorKind::Invalid): a name or a property that cannot be.
    pub fn events(&self) -> Result<Kafka> {
        let mut kafka = Kafka::new(&self.kafka.brokers, &self.kafka.topic);
        kafka.properties.clone_from(&self.properties);
        if let Some(password) = &self.kafka.sasl_password {
            kafka.properties.insert("sasl.password".to_owned(), text("kafka.sasl_password", password)?);
        }
        kafka.check()?;
        Ok(kafka)
    }

    /// The topic of notifications.
    ///
    /// # Errors
    ///
    /// As for [`events`](Services::events).
    pub fn notifications(&self) -> Result<Kafka> {
        let kafka = self.events()?.with_topic(&self.kafka.notifications);
        kafka.check()?;
        Ok(kafka)
    }

    /// Connects to PostgreSQL, as program `name`, and brings the schema up to date or checks it.
    ///
    /// # Errors
    ///
    /// [`Retriable`](feedkit_core::ErrorKind::Retriable) while it is away.
    pub async fn postgres(&self, name: &str) -> Result<Postgres> {
        Postgres::connect(self.postgres_settings(name)?, Arc::new(SystemClock)).await
    }

    fn postgres_settings(&self, name: &str) -> Result<PostgresOptions> {
        let section = &self.postgres;
        let mut settings = PostgresOptions::new(&section.url);
        settings.application_name = name.to_owned();
        if let Some(password) = &section.password {
            settings.password = Some(text("postgres.password", password)?);
        }
        settings.pool_size = section.pool_size;
        settings.pool_wait = section.pool_wait;
        settings.connect_timeout = section.connect_timeout;
        settings.statement_timeout = section.statement_timeout;
        settings.migrate = section.migrate;
        settings.tls = TlsOptions {
            mode: match section.tls {
                Tls::Off => TlsMode::Off,
                Tls::Prefer => TlsMode::Prefer,
                Tls::Require => TlsMode::Require,
            },
            ca: section.ca_file.as_deref().map(|path| read("postgres.ca_file", path)).transpose()?,
        };
        Ok(settings)
    }

    /// Redis; the first call connects.
    ///
    /// # Errors
    ///
    /// [`Invalid`](feedkit_core::ErrorKind::Invalid): an address that cannot be.
    pub fn redis(&self) -> Result<Redis> {
        let section = &self.redis;
        let mut settings = match (section.cluster, section.url.as_slice()) {
            (false, [url]) => RedisOptions::single(url),
            (false, urls) => {
                return Err(Error::invalid(format!(
                    "redis.url names {} servers: a single Redis is one, of a cluster (redis.cluster = true) any",
                    urls.len()
                )));
            }
            (true, urls) => RedisOptions::cluster(urls),
        };
        if let Some(password) = &section.password {
            settings.password = Some(text("redis.password", password)?);
        }
        settings.tls_ca = section.ca_file.as_deref().map(|path| read("redis.ca_file", path)).transpose()?;
        settings.response_timeout = section.response_timeout;
        settings.connect_timeout = section.connect_timeout;
        Redis::lazy(settings)
    }

    /// Says once what others on the machine can see.
    pub fn warn_of_passwords(&self, layers: &Layers) {
        use crate::settings::{Origin, Sections};
        let with_password = |url: &String| {
            let authority =
                url.split_once("://").map_or("", |(_, rest)| rest.split('/').next().unwrap_or(""));
            authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
        };
        for (path, urls) in
            [("postgres.url", vec![&self.postgres.url]), ("redis.url", self.redis.url.iter().collect())]
        {
            let key = ServiceSections::keys().into_iter().find(|key| key.path() == path);
            let by_flag = key.is_some_and(|key| matches!(layers.origin(&key), Origin::Flag(_)));
            if by_flag && urls.into_iter().any(with_password) {
                tracing::warn!(
                    "{path} is given by a flag and holds a password, which other users of this machine can see"
                );
            }
        }
    }
}

fn read(key: &str, path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Error::invalid(format!("{key}: {}: {e}", path.display())))
}

fn text(key: &str, secret: &Secret) -> Result<String> {
    String::from_utf8(secret.bytes().to_vec()).map_err(|_| Error::invalid(format!("{key} is not UTF-8")))
}
