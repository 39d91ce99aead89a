//! Whether a partition is still held: asked of the group's coordinator.

use std::sync::Arc;
use std::thread::JoinHandle;

use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};

use super::consumer::{Consumer, place};
use super::meeting::Question;
use crate::failure::failed;

impl Consumer {
    /// Answers what the reader asks. The group's coordinator refuses a commit to a member that it has given up.
    pub(super) fn ask(&mut self) {
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

pub(super) fn join(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a thread that asked the group's coordinator has panicked");
        }
    }
}
