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
    /// The log. `[kafka.properties]` can set any property of librdkafka, such as
    /// `security.protocol`, except for those on which exactness depends.
    pub struct KafkaSection in "kafka" as "kafka_" {
        /// Addresses of some brokers: HOST:PORT, separated by commas.
        brokers as "kafka": String = "127.0.0.1:9092".to_owned(),
        /// The topic of events.
        topic as "topic": String = "user-actions".to_owned(),
        /// The topic of notifications.
        notifications as "notifications": String = "notifications".to_owned(),
        /// The password for SASL: librdkafka's `sasl.password`.
        sasl_password: Option<Secret> = None,
    }
}

choice! {
    /// Whether connections to PostgreSQL are encrypted.
    pub enum Tls {
        /// Never.
        Off = "off",
        /// If the server supports it.
        Prefer = "prefer",
        /// Always, and the server's certificate is checked.
        Require = "require",
    }
}

crate::settings! {
    /// The history in PostgreSQL.
    pub struct PostgresSection in "postgres" as "postgres_" {
        /// The address of PostgreSQL, `postgres://USER@HOST:PORT/DATABASE`.
        url as "postgres": String = "postgres://feedkit@127.0.0.1:5432/feedkit".to_owned(),
        /// The password, used instead of one in the URL.
        password: Option<Secret> = None,
        /// Maximum number of open connections per process.
        pool_size: usize = 16,
        /// How long a call may wait for a free connection.
        pool_wait: Duration = Duration::from_secs(5),
        /// How long opening a connection may take.
        connect_timeout: Duration = Duration::from_secs(5),
        /// How long one statement may take. Recounts and rebuilds may take longer.
        statement_timeout: Duration = Duration::from_secs(30),
        /// Whether connections are encrypted: `off`, `prefer` or `require`.
        tls: Tls = Tls::Off,
        /// The file with the certificates of the authorities that may sign the server's
        /// certificate, in PEM format.
        ca_file: Option<PathBuf> = None,
        /// Whether the program updates the schema when it starts. Otherwise it only checks the
        /// schema.
        migrate: bool = true,
    }
}

crate::settings! {
    /// The counters in Redis.
    pub struct RedisSection in "redis" as "redis_" {
        /// The address of Redis, `redis://USER@HOST:PORT/DATABASE`, or `rediss://…` for TLS. For a
        /// cluster, the addresses of some nodes.
        url as "redis": Vec<String> = vec!["redis://127.0.0.1:6379".to_owned()],
        /// Whether this is a Redis Cluster.
        cluster: bool = false,
        /// The password, used instead of one in the URL.
        password: Option<Secret> = None,
        /// The file with the certificates of the authorities that may sign the server's
        /// certificate, in PEM format. By default, those of the system are used.
        ca_file: Option<PathBuf> = None,
        /// How long Redis may take to answer.
        response_timeout: Duration = Duration::from_secs(1),
        /// How long opening a connection may take.
        connect_timeout: Duration = Duration::from_secs(2),
    }
}

/// The services' settings.
pub type ServiceSections = (KafkaSection, PostgresSection, RedisSection);

/// The table in the file whose keys are properties of librdkafka.
pub const KAFKA_PROPERTIES: &str = "kafka.properties";

/// The services as configured. No connection is open yet.
#[derive(Debug, Clone)]
pub struct Services {
    kafka: KafkaSection,
    properties: BTreeMap<String, String>,
    postgres: PostgresSection,
    redis: RedisSection,
}

impl Services {
    /// Loads the settings.
    pub fn new(layers: &Layers, (kafka, postgres, redis): ServiceSections) -> Self {
        Services { kafka, properties: layers.file().open_table(KAFKA_PROPERTIES), postgres, redis }
    }

    /// The topic of events.
    ///
    /// # Errors
    ///
    /// [`Invalid`](feedkit_core::ErrorKind::Invalid) if a name or a property is not allowed.
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

    /// Connects to PostgreSQL as the program `name`, and updates or checks the schema.
    ///
    /// # Errors
    ///
    /// [`Retriable`](feedkit_core::ErrorKind::Retriable) while it is away.
    pub async fn postgres(&self, name: &str) -> Result<Postgres> {
        Postgres::connect(self.postgres_settings(name)?, Arc::new(SystemClock)).await
    }

    /// PostgreSQL for program `name`. The first call connects, and updates the schema or checks it.
    ///
    /// # Errors
    ///
    /// [`Invalid`](feedkit_core::ErrorKind::Invalid) if a setting is not valid.
    pub fn lazy_postgres(&self, name: &str) -> Result<Postgres> {
        Postgres::lazy(self.postgres_settings(name)?, Arc::new(SystemClock))
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

    /// Redis. The first call connects.
    ///
    /// # Errors
    ///
    /// [`Invalid`](feedkit_core::ErrorKind::Invalid) if an address is not valid.
    pub fn redis(&self) -> Result<Redis> {
        let section = &self.redis;
        let mut settings = match (section.cluster, section.url.as_slice()) {
            (false, [url]) => RedisOptions::single(url),
            (false, urls) => {
                return Err(Error::invalid(format!(
                    "redis.url names {} servers, but only a cluster (redis.cluster = true) has more than one",
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

    /// Logs a warning about passwords that other users of the machine can see.
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
                    "{path} was set by a flag and contains a password, which other users of this machine can see"
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
