//! The gateway's settings.

use std::time::Duration;

use feedkit_core::EventPolicy;
use feedkit_kafka::SinkOptions;
use feedkit_server::gateway::{FrontSection, GatewaySection, JwtSection, LiveSection};
use feedkit_server::pipeline::{EventsSection, RetentionSection, event_policy};
use feedkit_server::services::{KAFKA_PROPERTIES, KafkaSection, PostgresSection, RedisSection, Services};
use feedkit_server::settings::{ByteSize, Layers, Sections};
use feedkit_server::{Failure, logs, settings};

settings! {
    /// Logging to standard error.
    pub struct LogSection in "" {
        /// What to log: `error`, `warn`, `info`, `debug`, or a filter such as
        /// `feedkit_core=debug,warn`.
        log: String = "info".to_owned(),
        /// The format of a log line: `text` or `json`.
        log_format: logs::Format = logs::Format::Text,
    }
}

settings! {
    /// Limits that all gateways share.
    pub struct LimitSection in "" {
        /// Whether each gateway applies the limits by itself while Redis, which stores the shared
        /// limits, is unavailable. If not, writes get status 503 meanwhile.
        limit_locally: bool = true,
    }
}

settings! {
    /// How events are sent to Kafka.
    pub struct SinkSection in "kafka" as "kafka_" {
        /// How long an event may wait for further events, so that one request to the broker carries
        /// all of them.
        linger: Duration = Duration::from_millis(1),
        /// How long to wait for the acknowledgement of an event. After that the client gets a 503.
        delivery_timeout: Duration = Duration::from_secs(4),
        /// Maximum size of all events that Kafka has not acknowledged yet. Beyond it, writes get
        /// status 503.
        queue_bytes: ByteSize = ByteSize::mib(32),
    }
}

/// All sections, in the order of the reference.
pub type AllSections = (
    LogSection,
    FrontSection,
    LimitSection,
    GatewaySection,
    LiveSection,
    JwtSection,
    KafkaSection,
    SinkSection,
    PostgresSection,
    RedisSection,
    RetentionSection,
    EventsSection,
);

/// Tables in which any key is allowed.
pub const OPEN_TABLES: [&str; 1] = [KAFKA_PROPERTIES];

/// All settings, complete and checked.
#[derive(Debug)]
pub struct Settings {
    pub log: LogSection,
    pub front: FrontSection,
    pub limit_locally: bool,
    pub gateway: GatewaySection,
    pub live: LiveSection,
    pub jwt: JwtSection,
    pub services: Services,
    pub events: EventPolicy,
    sink: SinkSection,
}

impl Settings {
    /// The settings in effect.
    ///
    /// # Errors
    ///
    /// Names the wrong key and where its value comes from.
    pub fn load(layers: &Layers) -> Result<Settings, Failure> {
        let (log, front, limit, gateway, live, jwt, kafka, sink, postgres, redis, retention, events) =
            AllSections::load(layers)?;
        let events = event_policy::<AllSections>(&retention, &events, layers)?;
        if sink.delivery_timeout >= gateway.answer_timeout {
            let fault = format!(
                "is {:?}, which must be less than gateway.answer_timeout: Kafka could still take an event after its 503",
                sink.delivery_timeout
            );
            return Err(layers.fault::<AllSections>("kafka.delivery_timeout", fault));
        }
        let services = Services::new(layers, (kafka, postgres, redis));
        Ok(Settings {
            log,
            front,
            limit_locally: limit.limit_locally,
            gateway,
            live,
            jwt,
            services,
            events,
            sink,
        })
    }

    /// How events are sent to Kafka.
    pub fn sink(&self) -> SinkOptions {
        let mut options = SinkOptions::default();
        options.linger = self.sink.linger;
        options.delivery_timeout = self.sink.delivery_timeout;
        options.queue_bytes = self.sink.queue_bytes.as_usize();
        options
    }
}
