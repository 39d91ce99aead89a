//! Asks the group's coordinator whether a partition is still ours.

use std::sync::Arc;
use std::thread::JoinHandle;

use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};

use super::consumer::{Consumer, place};
use super::shared::Question;
use crate::failure::failed;

impl Consumer {
    /// Answers the reader's questions. It commits an offset: the coordinator refuses that to a
    /// member that it has removed from the group.
    pub(super) fn ask(&mut self) {
        let questions = std::mem::take(&mut self.shared.lock().questions);
        for Question { partition, reply } in questions {
            let from = self.shared.lock().lanes.get(&partition).map(|lane| lane.from);
            // A broadcast reader shares its partitions with nobody. A partition that is not read
            // yet was assigned just now.
            let asks = from.filter(|_| self.member && self.read.contains(&partition));
            let Some(from) = asks else {
                drop(reply.send(Ok(from.is_some())));
                continue;
            };
            let list = self.list([(partition, place(from))]);
            let (client, shared) = (Arc::clone(&self.client), Arc::clone(&self.shared));
            // Only a synchronous commit returns an answer. It may block for as long as the broker
            // is away.
            let asking = std::thread::Builder::new().name("feedkit-kafka-held".to_owned()).spawn(move || {
                let answer = client.commit(&list, CommitMode::Sync);
                // Dropped before the answer is sent, so that the consumer's thread drops the client
                // last.
                drop(client);
                drop(reply.send(held(answer, || shared.lock().lanes.contains_key(&partition))));
            });
            // If the thread could not start, the dropped reply is the answer.
            self.asking.extend(asking);
        }
        let (ended, asking) = std::mem::take(&mut self.asking).into_iter().partition(JoinHandle::is_finished);
        self.asking = asking;
        join(ended);
    }
}

/// Whether the partition is still ours, by the coordinator's answer. `known` says whether it is
/// among our lanes.
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

pub(super) fn join(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a thread that asked the group's coordinator panicked");
        }
    }
}
