//! The thread that polls librdkafka.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use feedkit_core::source::{Gap, GapReason, RevokeGuard, Revoked};
use feedkit_core::{Error, Offset, Partition, Timestamp};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset as Place, TopicPartitionList};
use tokio::sync::mpsc;

use super::context::{Callbacks, Said, give_back};
use super::lane::PATIENCE;
use super::meeting::{Meeting, Question};
use super::stats::Counters;
use crate::config::{Kafka, SourceOptions};
use crate::failure::failed;
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
    member: bool,
    /// Ours, but not told of yet: the log's incarnation has to be asked for.
    new: BTreeSet<Partition>,
    /// Read by librdkafka.
    pub(super) read: BTreeSet<Partition>,
    /// Paused in librdkafka, which keeps that over a change of the assignment.
    paused: RefCell<BTreeSet<Partition>>,
    /// Taken away, and held until their guards are dropped.
    revoking: Vec<Revoking>,
    max_poll_interval: Duration,
    /// Not before then is the probe asked again, after it failed.
    pub(super) ask_again: Instant,
    /// librdkafka has stopped reading some partition, because the log does not hold what is to be read of it.
    pub(super) out_of_range: bool,
    /// When ends were last compared.
    pub(super) measured: Instant,
    /// When the ends of what is held back were last asked for.
    pub(super) held_measured: Instant,
    /// When partitions of a broadcast reader were last looked for.
    refreshed: Option<Instant>,
    committed: Instant,
    /// Questions that the group's coordinator is being asked.
    asking: Vec<JoinHandle<()>>,
}

struct Revoking {
    partitions: Vec<Partition>,
    guard: mpsc::Receiver<()>,
    until: Instant,
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

    /// Waits for the reader first. Pausing throws away what was fetched, so it comes last.
    fn wait_for_room<'m>(
        &'m self,
        mut inner: std::sync::MutexGuard<'m, super::meeting::Inner>,
        partition: Partition,
    ) -> std::sync::MutexGuard<'m, super::meeting::Inner> {
        let (records, bytes) = (self.options.max_records, self.options.max_bytes);
        if let Some(lane) = inner.lanes.get_mut(&partition) {
            // There is another record at hand.
            (lane.ready, lane.unmeasured, lane.at_end) = (true, false, false);
        }
        self.meeting.tell();
        let start = Instant::now();
        while !inner.closing
            && let Some(lane) = inner.lanes.get_mut(&partition)
            && lane.is_full(records, bytes)
        {
            let left = lane.patience.saturating_sub(start.elapsed());
            if left.is_zero() {
                lane.patience /= 4;
                lane.held_back = true;
                Counters::one(&self.meeting.counters.held_back);
                self.pause(partition);
                return inner;
            }
            inner = self.meeting.wait(inner, left);
        }
        if let Some(lane) = inner.lanes.get_mut(&partition) {
            lane.patience = (lane.patience * 2 + Duration::from_millis(5)).min(PATIENCE);
        }
        inner
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

    /// Tells of partitions that are ours, once it is known of which log.
    fn announce(&mut self) {
        if self.new.is_empty() || Instant::now() < self.ask_again {
            return;
        }
        match self.probe.incarnation() {
            Ok(log) => {
                let mut inner = self.meeting.lock();
                for partition in std::mem::take(&mut self.new) {
                    if !inner.lanes.contains_key(&partition) {
                        inner.assign(partition, log);
                    }
                }
                drop(inner);
                self.meeting.tell();
            }
            Err(error) => self.cannot_ask(error),
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

    fn revoke(&mut self, partitions: Vec<Partition>, lost: bool) {
        Counters::one(&self.meeting.counters.rebalances);
        self.new.retain(|partition| !partitions.contains(partition));
        let mut inner = self.meeting.lock();
        let known = inner.remove(&partitions);
        if known.is_empty() {
            drop(inner);
            self.let_go(&partitions);
            return;
        }
        if lost {
            inner.lose(known);
            drop(inner);
            self.let_go(&partitions);
        } else {
            let (guard, dropped): (RevokeGuard, _) = RevokeGuard::new();
            inner.revoke(Revoked { partitions: known, guard });
            drop(inner);
            let until = Instant::now() + self.max_poll_interval;
            self.revoking.push(Revoking { partitions, guard: dropped, until });
        }
        self.meeting.tell();
    }

    /// Gives back what nobody holds any more. The broker waits no longer than the interval either.
    fn release(&mut self) {
        let now = Instant::now();
        let mut done = Vec::new();
        self.revoking.retain_mut(|revoking| {
            let dropped = matches!(revoking.guard.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
            if dropped || now >= revoking.until {
                done.push(std::mem::take(&mut revoking.partitions));
            }
            !(dropped || now >= revoking.until)
        });
        for partitions in done {
            self.let_go(&partitions);
        }
    }

    fn let_go(&mut self, partitions: &[Partition]) {
        self.resume(partitions);
        give_back(&self.client, Some(&self.list(partitions.iter().map(|p| (*p, Place::Invalid)))));
        for partition in partitions {
            self.read.remove(partition);
        }
    }

    /// Resumes what was paused for want of room, once half of it is free.
    fn resume_lanes(&self) {
        let mut inner = self.meeting.lock();
        let (records, bytes) = (self.options.max_records / 2, self.options.max_bytes / 2);
        let mut roomy = Vec::new();
        for (partition, lane) in &mut inner.lanes {
            if lane.held_back && !lane.is_full(records.max(1), bytes.max(1)) {
                lane.held_back = false;
                roomy.push(*partition);
            }
        }
        drop(inner);
        self.resume(&roomy);
    }

    fn pause(&self, partition: Partition) {
        match self.client.pause(&self.list([(partition, Place::Invalid)])) {
            Ok(()) => drop(self.paused.borrow_mut().insert(partition)),
            Err(error) => tracing::debug!(partition = partition.0, %error, "pausing a partition failed"),
        }
    }

    /// Resumes those of the partitions that are paused.
    fn resume(&self, partitions: &[Partition]) {
        let mut paused = self.paused.borrow_mut();
        let resumed = self.list(partitions.iter().filter(|p| paused.remove(p)).map(|p| (*p, Place::Invalid)));
        if resumed.count() > 0
            && let Err(error) = self.client.resume(&resumed)
        {
            tracing::debug!(%error, "resuming partitions failed");
        }
    }

    /// A broadcast reader is assigned what the topic has.
    fn look_for_partitions(&mut self) {
        let now = Instant::now();
        let due = self.refreshed.is_none_or(|at| now - at >= self.options.partition_refresh);
        if !due || now < self.ask_again {
            return;
        }
        match self.probe.partitions() {
            Ok(partitions) => {
                self.refreshed = Some(now);
                let inner = self.meeting.lock();
                self.new.extend(partitions.into_iter().filter(|p| !inner.lanes.contains_key(p)));
            }
            Err(error) => self.cannot_ask(error),
        }
    }

    /// Writes how far partitions were handed over, for lag tools.
    fn commit(&mut self) {
        self.committed = Instant::now();
        if !self.member {
            return;
        }
        let inner = self.meeting.lock();
        let reading = inner.lanes.iter().filter(|(_, lane)| lane.is_reading());
        let list = self.list(reading.map(|(p, lane)| (*p, place(lane.from))));
        drop(inner);
        if list.count() > 0
            && let Err(error) = self.client.commit(&list, CommitMode::Async)
        {
            tracing::debug!(%error, "offsets for lag tools cannot be written");
        }
    }

    /// Answers what the reader asks. The group's coordinator refuses a commit to a member that it has given up.
    fn ask(&mut self) {
        let questions = std::mem::take(&mut self.meeting.lock().questions);
        for Question { partition, reply } in questions {
            let from = self.meeting.lock().lanes.get(&partition).map(|lane| lane.from);
            // A manual assignment is nobody else's; what is not read yet was assigned a moment ago.
            let asks = from.filter(|_| self.member && self.read.contains(&partition));
            let Some(from) = asks else {
                drop(reply.send(Ok(from.is_some())));
                continue;
            };
            let list = self.list([(partition, place(from))]);
            let (client, meeting) = (Arc::clone(&self.client), Arc::clone(&self.meeting));
            // librdkafka answers a commit only to who waits for it, and that may take as long as the broker is away.
            let asking = std::thread::Builder::new().name("feedkit-kafka-held".to_owned()).spawn(move || {
                let answer = client.commit(&list, CommitMode::Sync);
                // Dropped before it is answered: the last to let go of the client is the consumer's thread.
                drop(client);
                drop(reply.send(held(answer, || meeting.lock().lanes.contains_key(&partition))));
            });
            // A reply that was dropped is answered too.
            self.asking.extend(asking);
        }
        let (ended, asking) = std::mem::take(&mut self.asking).into_iter().partition(JoinHandle::is_finished);
        self.asking = asking;
        join(ended);
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

    /// Stops a partition whose record before the position is not the one that was read.
    fn is_another(&mut self, partition: Partition, offset: i64) {
        tracing::error!(partition = partition.0, offset, "the log holds another record than was read here");
        let held = self.probe.held(&[partition]).unwrap_or_default();
        self.stop_at_gap(partition, held.get(&partition).cloned(), GapReason::Recreated);
    }

    /// Stops a partition, and tells why. What the log holds is left out when it cannot be asked for.
    pub(super) fn stop_at_gap(
        &self,
        partition: Partition,
        held: Option<std::ops::Range<Offset>>,
        reason: GapReason,
    ) {
        let mut inner = self.meeting.lock();
        if let Some(lane) = inner.lanes.get_mut(&partition) {
            Counters::one(&self.meeting.counters.gaps);
            let std::ops::Range { start, end } = held.unwrap_or(0..0);
            lane.stop(Some(Gap { partition, wanted: lane.next, start, end, reason }));
        }
        drop(inner);
        self.meeting.tell();
        if self.read.contains(&partition) {
            // Giving it up would answer a wish of the group that is still open.
            self.pause(partition);
        }
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

/// What the coordinator's answer says about a partition that is held here, as far as is known.
fn held(answer: KafkaResult<()>, known: impl FnOnce() -> bool) -> feedkit_core::Result<bool> {
    match answer {
        Ok(()) => Ok(known()),
        Err(KafkaError::ConsumerCommit(
            Code::UnknownMemberId
            | Code::IllegalGeneration
            | Code::FencedInstanceId
            | Code::FencedMemberEpoch
            | Code::AssignmentLost,
        )) => Ok(false),
        Err(error) => Err(failed("asking the group's coordinator", error)),
    }
}

fn join(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a thread that asked the group's coordinator has panicked");
        }
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
