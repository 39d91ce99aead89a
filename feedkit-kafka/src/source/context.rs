//! What librdkafka calls back with, while the consumer's thread polls it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use feedkit_core::{Offset, Partition};
use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

use super::meeting::Meeting;
use super::stats::Counters;
use crate::librdkafka;

/// Notes what librdkafka says, for the thread to act on between polls.
pub(super) struct Callbacks {
    topic: String,
    meeting: Arc<Meeting>,
    /// The user's own `debug` is set: librdkafka's debug lines are wanted.
    debug: bool,
    said: Mutex<VecDeque<Said>>,
    /// The offset of the end of a partition that is told of next.
    end: Mutex<Option<Offset>>,
    /// Nobody will act: partitions are given back at once.
    pub(super) closing: AtomicBool,
}

/// What the group, or the topic, has come to.
#[derive(Debug)]
pub(super) enum Said {
    Assigned(Vec<Partition>),
    Revoked {
        partitions: Vec<Partition>,
        lost: bool,
    },
    /// What is read from here on is of the topic with this id.
    Id(String),
}

impl Callbacks {
    pub(super) fn new(topic: String, meeting: Arc<Meeting>, debug: bool) -> Self {
        Callbacks {
            topic,
            meeting,
            debug,
            said: Mutex::default(),
            end: Mutex::default(),
            closing: AtomicBool::new(false),
        }
    }

    /// What was said since.
    pub(super) fn take(&self) -> Option<Said> {
        self.said.lock().pop_front()
    }

    /// The offset of the end that a poll has just told of.
    pub(super) fn take_end(&self) -> Option<Offset> {
        self.end.lock().take()
    }

    fn say(&self, said: Said) {
        self.said.lock().push_back(said);
    }

    fn partitions(&self, list: &TopicPartitionList) -> Vec<Partition> {
        let of_topic = list.elements_for_topic(&self.topic);
        of_topic.iter().filter_map(|e| u32::try_from(e.partition()).ok()).map(Partition).collect()
    }
}

impl ClientContext for Callbacks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        if let Some(id) = librdkafka::topic_id(text, &self.topic) {
            self.say(Said::Id(id.to_owned()));
        }
        if self.debug || !matches!(level, RDKafkaLogLevel::Debug) {
            librdkafka::line(level, facility, text);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // The end of a partition is an error to librdkafka.
        if error.rdkafka_error_code() == Some(Code::PartitionEOF) {
            *self.end.lock() = librdkafka::end_offset(reason);
        } else {
            Counters::one(&self.meeting.counters.errors);
            tracing::warn!(target: "librdkafka", %error, "{reason}");
        }
    }

    fn stats_raw(&self, json: &[u8]) {
        let held_back = self.meeting.lock().held_back().collect();
        self.meeting.counters.statistics(json, &self.topic, &held_back);
    }
}

impl ConsumerContext for Callbacks {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let assigned = code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Relaxed) {
            give_back(consumer, (!assigned).then_some(&*list));
            return;
        }
        let partitions = self.partitions(list);
        self.say(match assigned {
            true => Said::Assigned(partitions),
            false => Said::Revoked { partitions, lost: consumer.assignment_lost() },
        });
    }
}

/// Tells librdkafka that the group's wish is done: what it takes away is read no longer.
pub(super) fn give_back<C: ConsumerContext>(consumer: &BaseConsumer<C>, taken: Option<&TopicPartitionList>) {
    let Some(taken) = taken else {
        // What was assigned is read when its reader has answered.
        note(consumer.incremental_assign(&TopicPartitionList::new()));
        return;
    };
    // Only what is read can be given up.
    let mut list = TopicPartitionList::new();
    if let Ok(read) = consumer.assignment() {
        for element in taken.elements() {
            if read.find_partition(element.topic(), element.partition()).is_some() {
                list.add_partition(element.topic(), element.partition());
            }
        }
    }
    note(consumer.incremental_unassign(&list));
}

fn note(result: KafkaResult<()>) {
    if let Err(error) = result {
        tracing::warn!(%error, "librdkafka refuses a change of the partitions read");
    }
}
