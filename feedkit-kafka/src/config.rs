//! How a sink sends, and how a source reads.

use std::time::Duration;

/// How a sink sends.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SinkOptions {
    /// A record that is not acknowledged so long after it found room is given up: it is not sent again behind the
    /// back of a caller that has been told so. Becomes `message.timeout.ms`. A record may wait as long for room.
    pub delivery_timeout: Duration,
    /// So long a record may wait for others to share a request with. Becomes `linger.ms`.
    pub linger: Duration,
    /// Most bytes of records not yet acknowledged; sends wait beyond. Becomes `queue.buffering.max.kbytes`.
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
    /// Most records of a batch.
    pub max_records: usize,
    /// Bytes of keys and values from which a batch takes no more records. One batch of each partition is read
    /// ahead, so a source holds at most about so much a partition, and once more for the one being worked on,
    /// besides the few MiB that librdkafka reads ahead for all partitions together.
    pub max_bytes: usize,
    /// How the members of a group share partitions out.
    pub protocol: GroupProtocol,
    /// How often a broadcast reader looks for new partitions.
    pub partition_refresh: Duration,
    /// How often the offsets handed over are written to Kafka, for lag tools to see. They are never read back.
    pub commit_interval: Duration,
    /// How often ends, lag and connections are measured for [`SourceStats`](crate::SourceStats); zero: never.
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

/// How the members of a group share partitions out. All members of one group must use the same, or be changed
/// from one to the other one at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupProtocol {
    /// The classic protocol with the cooperative-sticky assignor: partitions that stay are not interrupted.
    Cooperative {
        /// A member not heard of for so long has its partitions taken away. The broker sets the least: 6 seconds,
        /// unless configured otherwise.
        session_timeout: Duration,
        /// How often a member is heard of; a third of the session time-out at most.
        heartbeat_interval: Duration,
    },
    /// KIP-848, brokers from 4.0 on: the broker assigns, and its configuration says how often it wants to hear of
    /// members (`group.consumer.session.timeout.ms`, `group.consumer.heartbeat.interval.ms`).
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
