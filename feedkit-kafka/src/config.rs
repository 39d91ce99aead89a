//! Options: how a sink sends and how a source reads.

use std::time::Duration;

/// How a sink sends.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SinkOptions {
    /// How long to wait for the acknowledgement of a record. After that the sink gives the record
    /// up and never sends it again by itself. Becomes `message.timeout.ms`. A record may wait as
    /// long again for room in the queue.
    pub delivery_timeout: Duration,
    /// How long a record may wait for others, to share a request with them. Becomes `linger.ms`.
    pub linger: Duration,
    /// Maximum size of all records that are not acknowledged yet, in bytes. A send waits when the
    /// queue is full. Becomes `queue.buffering.max.kbytes`.
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
    /// Maximum number of records in a batch.
    pub max_records: usize,
    /// Size of keys and values, in bytes, from which a batch takes no more records.
    ///
    /// The source reads one batch of each partition ahead. So it holds about this much for each
    /// partition, once more for the batch that the reader works on, and the few MiB that librdkafka
    /// reads ahead for all partitions.
    pub max_bytes: usize,
    /// How the members of a group divide the partitions among themselves.
    pub protocol: GroupProtocol,
    /// How often a broadcast reader looks for new partitions.
    pub partition_refresh: Duration,
    /// How often offsets are committed to Kafka. Only lag tools read them; the source never does.
    pub commit_interval: Duration,
    /// How often ends, lag and connections are measured for [`SourceStats`](crate::SourceStats).
    /// Zero means never.
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

/// How the members of a group divide the partitions among themselves.
///
/// All members of a group must use the same protocol. To change it, restart the members one at a
/// time.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupProtocol {
    /// The classic protocol with the cooperative-sticky assignor. A rebalance does not interrupt
    /// partitions that stay.
    Cooperative {
        /// How long a member may be silent before its partitions are taken away. The broker has a
        /// minimum for this, 6 seconds by default.
        session_timeout: Duration,
        /// How often a member sends a heartbeat. At most a third of the session time-out.
        heartbeat_interval: Duration,
    },
    /// The protocol of KIP-848, for brokers from 4.0 on. The broker assigns the partitions. Its
    /// configuration sets the time-outs (`group.consumer.session.timeout.ms`,
    /// `group.consumer.heartbeat.interval.ms`).
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
