//! The callbacks that librdkafka makes while the consumer's thread polls it.

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

use super::shared::Shared;
use super::stats::Counters;
use crate::librdkafka;

/// Collects notices of librdkafka. The thread acts on them between polls.
pub(super) struct Callbacks {
    topic: String,
    shared: Arc<Shared>,
    /// The user has set `debug`, and so wants librdkafka's debug lines.
    debug: bool,
    notices: Mutex<VecDeque<Notice>>,
    /// The end of the partition that the next poll reports.
    end: Mutex<Option<Offset>>,
    /// The thread is ending: every rebalance is answered at once.
    pub(super) closing: AtomicBool,
}

/// A change of the assignment or of the topic.
#[derive(Debug)]
pub(super) enum Notice {
    Assigned(Vec<Partition>),
    Revoked {
        partitions: Vec<Partition>,
        lost: bool,
    },
    /// Records from here on belong to the topic with this id.
    Id(String),
}

impl Callbacks {
    pub(super) fn new(topic: String, shared: Arc<Shared>, debug: bool) -> Self {
        Callbacks {
            topic,
            shared,
            debug,
            notices: Mutex::default(),
            end: Mutex::default(),
            closing: AtomicBool::new(false),
        }
    }

    /// The oldest notice that was not taken yet.
    pub(super) fn take(&self) -> Option<Notice> {
        self.notices.lock().pop_front()
    }

    /// The end of the partition that a poll has just reported.
    pub(super) fn take_end(&self) -> Option<Offset> {
        self.end.lock().take()
    }

    fn push(&self, notice: Notice) {
        self.notices.lock().push_back(notice);
    }

    fn partitions(&self, list: &TopicPartitionList) -> Vec<Partition> {
        let of_topic = list.elements_for_topic(&self.topic);
        of_topic.iter().filter_map(|e| u32::try_from(e.partition()).ok()).map(Partition).collect()
    }
}

impl ClientContext for Callbacks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        if let Some(id) = librdkafka::topic_id(text, &self.topic) {
            self.push(Notice::Id(id.to_owned()));
        }
        if self.debug || !matches!(level, RDKafkaLogLevel::Debug) {
            librdkafka::line(level, facility, text);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // librdkafka reports the end of a partition as an error.
        if error.rdkafka_error_code() == Some(Code::PartitionEOF) {
            *self.end.lock() = librdkafka::end_offset(reason);
        } else {
            Counters::one(&self.shared.counters.errors);
            tracing::warn!(target: "librdkafka", %error, "{reason}");
        }
    }

    fn stats_raw(&self, json: &[u8]) {
        let held_back = self.shared.lock().held_back().collect();
        self.shared.counters.statistics(json, &self.topic, &held_back);
    }
}

impl ConsumerContext for Callbacks {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let assigned = code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Relaxed) {
            answer_rebalance(consumer, (!assigned).then_some(&*list));
            return;
        }
        let partitions = self.partitions(list);
        self.push(match assigned {
            true => Notice::Assigned(partitions),
            false => Notice::Revoked { partitions, lost: consumer.assignment_lost() },
        });
    }
}

/// Answers a rebalance. `revoked` are the partitions to give up; `None` confirms an assignment.
pub(super) fn answer_rebalance<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    revoked: Option<&TopicPartitionList>,
) {
    let Some(revoked) = revoked else {
        // Reading starts when the reader has answered.
        note(consumer.incremental_assign(&TopicPartitionList::new()));
        return;
    };
    // librdkafka can give up only partitions that it reads.
    let mut list = TopicPartitionList::new();
    if let Ok(read) = consumer.assignment() {
        for element in revoked.elements() {
            if read.find_partition(element.topic(), element.partition()).is_some() {
                list.add_partition(element.topic(), element.partition());
            }
        }
    }
    note(consumer.incremental_unassign(&list));
}

fn note(result: KafkaResult<()>) {
    if let Err(error) = result {
        tracing::warn!(%error, "librdkafka refused to change the assignment");
    }
}
