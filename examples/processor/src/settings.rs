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
    /// Settings of every command.
    pub struct GeneralSection in "" {
        /// The address that serves `/health/live`, `/health/ready` and `/metrics`. With port 0, the
        /// system picks a free port.
        listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 9464)),
        /// What to log to standard error: `error`, `warn`, `info`, `debug`, or a filter such as
        /// `feedkit_core=debug,warn`.
        log: String = "info".to_owned(),
        /// The format of a log line: `text` or `json`.
        log_format: logs::Format = logs::Format::Text,
        /// How long a stop may take in total. The next start resumes unfinished work.
        shutdown_deadline: Duration = Duration::from_secs(15),
    }
}

choice! {
    /// How processors divide the partitions.
    pub enum Protocol {
        /// The classic cooperative protocol.
        Cooperative = "cooperative",
        /// KIP-848, for brokers from 4.0 on.
        Consumer = "consumer",
    }
}

settings! {
    /// How the log is read.
    pub struct GroupSection in "group" as "group_" {
        /// The consumer group. All processors of a history use the same one.
        name as "group": String = "feedkit".to_owned(),
        /// How the members of the group divide the partitions: `cooperative` (the classic protocol)
        /// or `consumer` (KIP-848, for brokers from 4.0 on).
        protocol: Protocol = Protocol::Cooperative,
        /// How long a processor may be silent before the group takes its partitions away. With
        /// `consumer`, the broker decides.
        session_timeout: Duration = Duration::from_secs(10),
        /// How often a processor sends a heartbeat. With `consumer`, the broker decides.
        heartbeat_interval: Duration = Duration::from_secs(1),
        /// Maximum number of records in one commit. A larger value makes catching up a little
        /// faster, but takes about 1 KB of memory per record for each partition.
        max_batch: usize = 12_000,
        /// Maximum number of commits at the same time, over all partitions. More commits than
        /// PostgreSQL can run in parallel only cost memory.
        max_commits: usize = 4,
    }
}

settings! {
    /// The alerts, which one processor at a time runs.
    pub struct AlertsSection in "alerts" as "alerts_" {
        /// How long the lease of the processor that runs the alerts lasts without renewal. If that
        /// processor dies, the alerts pause for this time.
        lease: Duration = Duration::from_secs(10),
    }
}

/// All sections, in the order of the reference.
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

/// Minimum lease. A lease is renewed once a second at most.
const MIN_LEASE: Duration = Duration::from_secs(2);

/// Tables in which any key is allowed.
pub const OPEN_TABLES: [&str; 1] = [KAFKA_PROPERTIES];

/// All settings, complete and checked.
#[derive(Debug)]
pub struct Settings {
    pub general: GeneralSection,
    pub group: GroupSection,
    pub alerts: AlertsSection,
    pub services: Services,
    pub pipeline: PipelineSettings,
}

impl Settings {
    /// The settings in effect.
    ///
    /// # Errors
    ///
    /// Names the wrong key and where its value comes from.
    pub fn load(layers: &Layers) -> Result<Settings, Failure> {
        let (general, kafka, group, postgres, redis, _, _, alerts, ..) = AllSections::load(layers)?;
        if group.max_batch == 0 {
            return Err(layers.fault::<AllSections>("group.max_batch", "is 0, the minimum is 1"));
        }
        if group.max_commits == 0 {
            return Err(layers.fault::<AllSections>("group.max_commits", "is 0, the minimum is 1"));
        }
        if alerts.lease < MIN_LEASE {
            return Err(layers
                .fault::<AllSections>("alerts.lease", format!("is less than the minimum, {MIN_LEASE:?}")));
        }
        Ok(Settings {
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
        // The partition's worker makes large batches from small ones. Large batches here would only
        // take memory.
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
