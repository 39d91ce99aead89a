//! The thread that polls librdkafka.

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

use super::context::{Callbacks, Said, give_back};
use super::group::Revoking;
use super::held::join;
use super::meeting::Meeting;
use super::stats::Counters;
use crate::config::SourceOptions;
use crate::failure::failed;
use crate::kafka::Kafka;
use crate::probe::{Probe, number};

/// How long what the source asks for may wait while nothing comes from Kafka.
const POLL: Duration = Duration::from_millis(10);
/// While records come without a pause, everything else gets its turn after so many.
const RUN: u32 = 256;
/// A question to the brokers that failed is asked again after so long.
pub(super) const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Everything the thread works with.
pub(super) struct Consumer {
    pub(super) topic: String,
    pub(super) options: SourceOptions,
    pub(super) client: Arc<BaseConsumer<Callbacks>>,
    pub(super) probe: Arc<Probe>,
    pub(super) meeting: Arc<Meeting>,
    /// `false`: a broadcast reader.
    pub(super) member: bool,
    /// Ours, but not told of yet: the log's incarnation has to be asked for.
    pub(super) new: BTreeSet<Partition>,
    /// Read by librdkafka.
    pub(super) read: BTreeSet<Partition>,
    /// Paused in librdkafka, which keeps that over a change of the assignment.
    pub(super) paused: RefCell<BTreeSet<Partition>>,
    /// Taken away, and held until their guards are dropped.
    pub(super) revoking: Vec<Revoking>,
    pub(super) max_poll_interval: Duration,
    /// Not before then is the probe asked again, after it failed.
    pub(super) ask_again: Instant,
    /// librdkafka has stopped reading some partition, because the log does not hold what is to be read of it.
    pub(super) out_of_range: bool,
    /// When ends were last compared.
    pub(super) measured: Instant,
    /// When the ends of what is held back were last asked for.
    pub(super) held_measured: Instant,
    /// When partitions of a broadcast reader were last looked for.
    pub(super) refreshed: Option<Instant>,
    pub(super) committed: Instant,
    /// Questions that the group's coordinator is being asked.
    pub(super) asking: Vec<JoinHandle<()>>,
}
impl Consumer {
    /// `group`: the group to be a member of; without one, a broadcast reader.
    pub(super) fn new(
        kafka: &Kafka,
        group: Option<&str>,
        options: SourceOptions,
        probe: Arc<Probe>,
        meeting: Arc<Meeting>,
    ) -> feedkit_core::Result<Self> {
        let topic = kafka.topic.clone();
        let debug = kafka.properties.contains_key("debug");
        let callbacks = Callbacks::new(topic.clone(), Arc::clone(&meeting), debug);
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
            meeting,
            member: group.is_some(),
            new: BTreeSet::new(),
            read: BTreeSet::new(),
            paused: RefCell::default(),
            revoking: Vec::new(),
            max_poll_interval: kafka.max_poll_interval(),
            ask_again: now,
            out_of_range: false,
            measured: now,
            held_measured: now,
            refreshed: None,
            committed: now,
            asking: Vec::new(),
        })
    }
    /// Until the source is gone; then leaves the group.
    pub(super) fn run(mut self) {
        let mut since = 0;
        loop {
            if self.meeting.lock().closing {
                break;
            }
            if since == 0 || since >= RUN {
                self.keep_house();
                since = 0;
            }
            // librdkafka's messages borrow the client.
            let client = &self.client;
            let polled = match client.poll(self.poll_time()) {
                None => Polled::Nothing,
                Some(Ok(message)) => match self.receive(&message) {
                    None => Polled::Record,
                    Some(partition) => Polled::Foreign(partition, message.offset()),
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
                    self.stands(partition, end);
                }
                Polled::Foreign(partition, offset) => self.is_another(partition, offset),
                Polled::Error(error) => {
                    self.failed(error);
                    since = 0;
                }
            }
        }
        self.client.context().closing.store(true, Ordering::Relaxed);
        self.commit();
        for revoking in std::mem::take(&mut self.revoking) {
            self.let_go(&revoking.partitions);
        }
        // What the group has said and nobody acted on.
        while let Some(said) = self.client.context().take() {
            match said {
                Said::Assigned(_) => give_back(&self.client, None),
                Said::Revoked { partitions, .. } => self.let_go(&partitions),
                Said::Id(_) => {}
            }
        }
        if !self.asking.is_empty() {
            // Ends the waits for a coordinator that does not answer.
            if self.client.close_queue().is_ok() {
                while !self.client.closed() {
                    let _ = self.client.poll(Duration::from_millis(100));
                }
            }
            join(std::mem::take(&mut self.asking));
        }
        // Dropping the client leaves the group.
    }

    /// With something to be compared with the end, only what is there already is taken before that.
    fn poll_time(&self) -> Duration {
        match self.unmeasured() {
            true => Duration::ZERO,
            false => POLL,
        }
    }

    /// Puts a record into its lane. A partition: the record is not the one that must lie there.
    fn receive(&self, message: &BorrowedMessage<'_>) -> Option<Partition> {
        let partition = Partition(u32::try_from(message.partition()).ok()?);
        let offset = Offset::try_from(message.offset()).ok()?;
        let time = Timestamp::from_millis(message.timestamp().to_millis().unwrap_or(0));
        let mut inner = self.meeting.lock();
        let (records, bytes) = (self.options.max_records, self.options.max_bytes);
        let lane = inner.lanes.get(&partition).filter(|lane| lane.is_reading())?;
        if lane.is_full(records, bytes) && !lane.held_back {
            inner = self.wait_for_room(inner, partition);
        }
        let lane = inner.lanes.get_mut(&partition).filter(|lane| lane.is_reading())?;
        if lane.push(offset, time, message.key(), message.payload().unwrap_or_default()).is_err() {
            return Some(partition);
        }
        // A full lane need not be compared with the end: more will come.
        if lane.is_full(records / 2, bytes / 2) && !lane.ready {
            lane.ready = true;
            let told = lane.has_something();
            drop(inner);
            if told {
                self.meeting.tell();
            }
        }
        None
    }
    /// Everything besides records.
    fn keep_house(&mut self) {
        while let Some(said) = self.client.context().take() {
            match said {
                Said::Assigned(partitions) => {
                    Counters::one(&self.meeting.counters.rebalances);
                    give_back(&self.client, None);
                    self.new.extend(partitions);
                }
                Said::Revoked { partitions, lost } => self.revoke(partitions, lost),
                Said::Id(id) => self.is_now(&id),
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
    pub(super) fn cannot_ask(&mut self, error: Error) {
        self.ask_again = Instant::now() + ASK_AGAIN;
        Counters::one(&self.meeting.counters.errors);
        let mut inner = self.meeting.lock();
        match error.is_retriable() {
            true => inner.trouble(error),
            false => inner.end(error.to_string()),
        }
        drop(inner);
        self.meeting.tell();
    }
    fn failed(&mut self, error: KafkaError) {
        match &error {
            KafkaError::MessageConsumption(Code::AutoOffsetReset) => {
                self.out_of_range = true;
                return;
            }
            // Connections come back; SourceStats tells.
            KafkaError::MessageConsumption(
                Code::AllBrokersDown | Code::BrokerTransportFailure | Code::OperationTimedOut | Code::Resolve,
            ) => return,
            _ => {}
        }
        let fatal = matches!(error, KafkaError::MessageConsumptionFatal(_));
        let error = failed(format_args!("topic {}", self.topic), error);
        let mut inner = self.meeting.lock();
        match fatal {
            true => inner.end(error.to_string()),
            false => inner.trouble(error),
        }
        drop(inner);
        self.meeting.tell();
    }
    pub(super) fn list(
        &self,
        partitions: impl IntoIterator<Item = (Partition, Place)>,
    ) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for (partition, at) in partitions {
            let added = list.add_partition_offset(&self.topic, number(partition), at);
            debug_assert!(added.is_ok(), "every place used here has a number");
        }
        list
    }
}
enum Polled {
    Record,
    Nothing,
    End(i32),
    Foreign(Partition, i64),
    Error(KafkaError),
}
pub(super) fn place(offset: Offset) -> Place {
    Place::Offset(i64::try_from(offset).unwrap_or(i64::MAX))
}
