//! The thread that polls librdkafka.
//!
//! This file has the loop. The files beside it add what the thread does between polls.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use feedkit_core::{Error, Offset, Partition, Timestamp};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset as Place, TopicPartitionList};

use super::context::{Callbacks, Notice, answer_rebalance};
use super::group::Revoking;
use super::held::join;
use super::shared::Shared;
use super::stats::Counters;
use crate::config::SourceOptions;
use crate::failure::failed;
use crate::kafka::Kafka;
use crate::probe::{Probe, number};

/// How long one poll waits for a record. Requests of the source wait as long at most.
const POLL: Duration = Duration::from_millis(10);
/// Maximum number of records between two rounds of [`Consumer::housekeeping`].
const RUN: u32 = 256;
/// How long to wait before a failed request to the brokers is repeated.
pub(super) const QUERY_AGAIN: Duration = Duration::from_millis(500);

/// The state of the thread.
pub(super) struct Consumer {
    pub(super) topic: String,
    pub(super) options: SourceOptions,
    pub(super) client: Arc<BaseConsumer<Callbacks>>,
    pub(super) probe: Arc<Probe>,
    pub(super) shared: Arc<Shared>,
    /// Whether this is a member of a group. A broadcast reader is not.
    pub(super) member: bool,
    /// Partitions that are assigned to us, but not announced to the reader yet: the incarnation of
    /// the log has to be queried first.
    pub(super) new: BTreeSet<Partition>,
    /// The partitions that librdkafka reads.
    pub(super) read: BTreeSet<Partition>,
    /// The partitions that are paused in librdkafka. They stay paused when the assignment changes.
    pub(super) paused: RefCell<BTreeSet<Partition>>,
    /// Partitions that were revoked, and that we hold until their guards are dropped.
    pub(super) revoking: Vec<Revoking>,
    pub(super) max_poll_interval: Duration,
    /// When the probe may be asked again after a failure.
    pub(super) query_again_at: Instant,
    /// librdkafka has stopped reading some partition, because the log does not have the offset to
    /// read next.
    pub(super) out_of_range: bool,
    /// When the ends of partitions were last queried.
    pub(super) measured: Instant,
    /// When the ends of paused partitions were last queried.
    pub(super) held_measured: Instant,
    /// When a broadcast reader last looked for new partitions.
    pub(super) refreshed: Option<Instant>,
    pub(super) committed: Instant,
    /// The threads that are waiting for an answer of the group's coordinator.
    pub(super) asking: Vec<JoinHandle<()>>,
}
impl Consumer {
    /// Creates a member of `group`, or a broadcast reader if there is no group.
    pub(super) fn new(
        kafka: &Kafka,
        group: Option<&str>,
        options: SourceOptions,
        probe: Arc<Probe>,
        shared: Arc<Shared>,
    ) -> feedkit_core::Result<Self> {
        let topic = kafka.topic.clone();
        let debug = kafka.properties.contains_key("debug");
        let callbacks = Callbacks::new(topic.clone(), Arc::clone(&shared), debug);
        let config = kafka.consumer_config(group, &options);
        let client = BaseConsumer::from_config_and_context(&config, callbacks)
            .map_err(|error| failed("the consumer", error))?;
        if group.is_some() {
            client.subscribe(&[&topic]).map_err(|error| failed("the consumer", error))?;
        }
        let now = Instant::now();
        Ok(Consumer {
            topic,
            options,
            client: Arc::new(client),
            probe,
            shared,
            member: group.is_some(),
            new: BTreeSet::new(),
            read: BTreeSet::new(),
            paused: RefCell::default(),
            revoking: Vec::new(),
            max_poll_interval: kafka.max_poll_interval(),
            query_again_at: now,
            out_of_range: false,
            measured: now,
            held_measured: now,
            refreshed: None,
            committed: now,
            asking: Vec::new(),
        })
    }
    /// Runs until the source is dropped, then leaves the group.
    pub(super) fn run(mut self) {
        let mut since = 0;
        loop {
            if self.shared.lock().closing {
                break;
            }
            if since == 0 || since >= RUN {
                self.housekeeping();
                since = 0;
            }
            // librdkafka's messages borrow the client.
            let client = &self.client;
            let polled = match client.poll(self.poll_time()) {
                None => Polled::Nothing,
                Some(Ok(message)) => match self.receive(&message) {
                    None => Polled::Record,
                    Some(partition) => Polled::Differs(partition, message.offset()),
                },
                Some(Err(KafkaError::PartitionEOF(partition))) => Polled::End(partition),
                Some(Err(error)) => Polled::Error(error),
            };
            match polled {
                Polled::Record => since += 1,
                Polled::Nothing => {
                    self.drained();
                    since = 0;
                }
                Polled::End(partition) => {
                    since += 1;
                    let end = self.client.context().take_end();
                    self.reached_end(partition, end);
                }
                Polled::Differs(partition, offset) => self.record_differs(partition, offset),
                Polled::Error(error) => {
                    self.failed(error);
                    since = 0;
                }
            }
        }
        self.client.context().closing.store(true, Ordering::Relaxed);
        self.commit();
        for revoking in std::mem::take(&mut self.revoking) {
            self.give_up(&revoking.partitions);
        }
        // Rebalances that nobody has acted on yet.
        while let Some(notice) = self.client.context().take() {
            match notice {
                Notice::Assigned(_) => answer_rebalance(&self.client, None),
                Notice::Revoked { partitions, .. } => self.give_up(&partitions),
                Notice::Id(_) => {}
            }
        }
        if !self.asking.is_empty() {
            // This ends the waiting for a coordinator that does not answer.
            if self.client.close_queue().is_ok() {
                while !self.client.closed() {
                    let _ = self.client.poll(Duration::from_millis(100));
                }
            }
            join(std::mem::take(&mut self.asking));
        }
        // Dropping the client leaves the group.
    }

    /// Does not wait while some lane must be compared with the end of its partition: then only
    /// those records are taken first that librdkafka has already.
    fn poll_time(&self) -> Duration {
        match self.unmeasured() {
            true => Duration::ZERO,
            false => POLL,
        }
    }

    /// Puts a record into its lane. Returns the partition if the record differs from the one that
    /// the reader knows.
    fn receive(&self, message: &BorrowedMessage<'_>) -> Option<Partition> {
        let partition = Partition(u32::try_from(message.partition()).ok()?);
        let offset = Offset::try_from(message.offset()).ok()?;
        let time = Timestamp::from_millis(message.timestamp().to_millis().unwrap_or(0));
        let mut inner = self.shared.lock();
        let (records, bytes) = (self.options.max_records, self.options.max_bytes);
        let lane = inner.lanes.get(&partition).filter(|lane| lane.is_reading())?;
        if lane.is_full(records, bytes) && !lane.held_back {
            inner = self.wait_for_room(inner, partition);
        }
        let lane = inner.lanes.get_mut(&partition).filter(|lane| lane.is_reading())?;
        if lane.push(offset, time, message.key(), message.payload().unwrap_or_default()).is_err() {
            return Some(partition);
        }
        // A lane that is half full need not be compared with the end: more records are likely to
        // follow.
        if lane.is_full(records / 2, bytes / 2) && !lane.ready {
            lane.ready = true;
            let has_something = lane.has_something();
            drop(inner);
            if has_something {
                self.shared.wake_reader();
            }
        }
        None
    }
    /// Everything that the thread does besides receiving records.
    fn housekeeping(&mut self) {
        while let Some(notice) = self.client.context().take() {
            match notice {
                Notice::Assigned(partitions) => {
                    Counters::one(&self.shared.counters.rebalances);
                    answer_rebalance(&self.client, None);
                    self.new.extend(partitions);
                }
                Notice::Revoked { partitions, lost } => self.revoke(partitions, lost),
                Notice::Id(id) => self.topic_id_is(&id),
            }
        }
        self.release();
        if !self.member {
            self.look_for_partitions();
        }
        self.announce();
        self.take_answers();
        self.look_for_gaps();
        self.resume_lanes();
        self.measure_held_back();
        self.ask();
        if self.committed.elapsed() >= self.options.commit_interval {
            self.commit();
        }
    }
    pub(super) fn query_failed(&mut self, error: Error) {
        self.query_again_at = Instant::now() + QUERY_AGAIN;
        Counters::one(&self.shared.counters.errors);
        let mut inner = self.shared.lock();
        match error.is_retriable() {
            true => inner.push_error(error),
            false => inner.end(error.to_string()),
        }
        drop(inner);
        self.shared.wake_reader();
    }
    fn failed(&mut self, error: KafkaError) {
        match &error {
            KafkaError::MessageConsumption(Code::AutoOffsetReset) => {
                self.out_of_range = true;
                return;
            }
            // librdkafka connects again by itself. SourceStats shows the state.
            KafkaError::MessageConsumption(
                Code::AllBrokersDown | Code::BrokerTransportFailure | Code::OperationTimedOut | Code::Resolve,
            ) => return,
            _ => {}
        }
        let fatal = matches!(error, KafkaError::MessageConsumptionFatal(_));
        let error = failed(format_args!("topic {}", self.topic), error);
        let mut inner = self.shared.lock();
        match fatal {
            true => inner.end(error.to_string()),
            false => inner.push_error(error),
        }
        drop(inner);
        self.shared.wake_reader();
    }
    pub(super) fn list(
        &self,
        partitions: impl IntoIterator<Item = (Partition, Place)>,
    ) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for (partition, at) in partitions {
            let added = list.add_partition_offset(&self.topic, number(partition), at);
            debug_assert!(added.is_ok(), "every position used here has a number");
        }
        list
    }
}
enum Polled {
    Record,
    Nothing,
    End(i32),
    Differs(Partition, i64),
    Error(KafkaError),
}
pub(super) fn place(offset: Offset) -> Place {
    Place::Offset(i64::try_from(offset).unwrap_or(i64::MAX))
}
