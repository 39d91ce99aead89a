//! The processor's settings.

use std::net::SocketAddr;
use std::time::Duration;

use feedkit_core::Result;
use feedkit_kafka::{GroupProtocol, SourceOptions};
use feedkit_server::pipeline::{
    EventsSection, MilestoneSection, PipelineSettings, RetentionSection, SpikeSection, UserRateSection,
};
use feedkit_server::services::{KAFKA_PROPERTIES, KafkaSection, PostgresSection, RedisSection, Services};
use feedkit_server::settings::{Layers, Sections, choice};
use feedkit_server::{Failure, logs, settings};

settings! {
    /// What every command takes.
    pub struct GeneralSection in "" {
        /// Where `/health/live`, `/health/ready` and `/metrics` are answered. Port 0 takes any that is free.
        listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 9464)),
        /// What to log to standard error: error, warn, info, debug, or a filter as `feedkit_core=debug,warn`.
        log: String = "info".to_owned(),
        /// How a line of the log looks: `text` or `json`.
        log_format: logs::Format = logs::Format::Text,
        /// How long a stop may take in all. What was not finished is gone on with at the next start.
        shutdown_deadline: Duration = Duration::from_secs(15),
    }
}

choice! {
    /// How processors share partitions out.
    pub enum Protocol {
        /// The classic protocol, cooperative.
        Cooperative = "cooperative",
        /// KIP-848, for brokers from 4.0 on.
        Consumer = "consumer",
    }
}

settings! {
    /// How the log is read.
    pub struct GroupSection in "group" as "group_" {
        /// The consumer group, one for all processors of a history.
        name as "group": String = "feedkit".to_owned(),
        /// How its members share partitions out: `cooperative` (the classic protocol) or `consumer` (KIP-848, brokers
        /// from 4.0 on).
        protocol: Protocol = Protocol::Cooperative,
        /// A processor not heard of for so long has its partitions taken away (with `consumer` the broker decides).
        session_timeout: Duration = Duration::from_secs(10),
        /// How often a processor is heard of.
        heartbeat_interval: Duration = Duration::from_secs(1),
        /// Most records in one commit. More is a little faster where much is to be caught up with, and takes memory: about
        /// 1 KB a record, for each partition.
        max_batch: usize = 12_000,
        /// Commits under way at once, over all partitions. More than PostgreSQL can work on side by side only take memory.
        max_commits: usize = 4,
    }
}

settings! {
    /// The alerts, which one processor at a time runs.
    pub struct AlertsSection in "alerts" as "alerts_" {
        /// How long the lease of the processor that runs them lasts without being renewed: how long they stand still
        /// when it dies.
        lease: Duration = Duration::from_secs(10),
    }
}

/// All there is, in the order of the reference.
pub type AllSections = (
    GeneralSection,
    KafkaSection,
    GroupSection,
    PostgresSection,
    RedisSection,
    RetentionSection,
    EventsSection,
    AlertsSection,
    MilestoneSection,
    SpikeSection,
    UserRateSection,
);

/// A lease is renewed once a second at most.
const LEAST_LEASE: Duration = Duration::from_secs(2);

/// Tables in which any key is allowed.
pub const OPEN_TABLES: [&str; 1] = [KAFKA_PROPERTIES];

/// All settings, complete and checked.
#[derive(Debug)]
pub struct Config {
    pub general: GeneralSection,
    pub group: GroupSection,
    pub alerts: AlertsSection,
    pub services: Services,
    pub pipeline: PipelineSettings,
}

impl Config {
    /// The settings in effect.
    ///
    /// # Errors
    ///
    /// Names the key at fault, and where its value comes from.
    pub fn load(layers: &Layers) -> Result<Config, Failure> {
        let (general, kafka, group, postgres, redis, _, _, alerts, ..) = AllSections::load(layers)?;
        if group.max_batch == 0 {
            return Err(layers.fault::<AllSections>("group.max_batch", "is 0, the least is 1"));
        }
        if group.max_commits == 0 {
            return Err(layers.fault::<AllSections>("group.max_commits", "is 0, the least is 1"));
        }
        if alerts.lease < LEAST_LEASE {
            return Err(layers.fault::<AllSections>("alerts.lease", format!("is less than {LEAST_LEASE:?}")));
        }
        Ok(Config {
            general,
            group,
            alerts,
            services: Services::new(layers, (kafka, postgres, redis)),
            pipeline: PipelineSettings::load::<AllSections>(layers)?,
        })
    }

    /// How the source reads.
    pub fn source(&self) -> SourceOptions {
        let mut options = SourceOptions::default();
        // What is read waits with the partition's worker, which makes large batches of what came; here it only takes memory.
        options.max_records = self.group.max_batch.div_ceil(16);
        options.protocol = match self.group.protocol {
            Protocol::Consumer => GroupProtocol::Consumer,
            Protocol::Cooperative => GroupProtocol::Cooperative {
                session_timeout: self.group.session_timeout,
                heartbeat_interval: self.group.heartbeat_interval,
            },
        };
        options
    }
}
