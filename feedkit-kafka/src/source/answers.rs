//! Starts reading a partition when the reader has answered where to resume.

use std::time::{Duration, Instant};

use feedkit_core::source::{GapReason, Resume, check_resume};
use feedkit_core::{Offset, Partition};
use rdkafka::consumer::Consumer as _;
use tokio::sync::oneshot;

use super::consumer::{Consumer, place};
use super::lane::Phase;

/// How long to wait for the partitions' leaders before reading starts without them.
const LEADERS: Duration = Duration::from_secs(1);

impl Consumer {
    /// Takes the answers that have arrived. Starts to read where each says, if the log still has
    /// that offset.
    pub(super) fn take_answers(&mut self) {
        let answered = self.answered();
        if answered.is_empty() || Instant::now() < self.query_again_at {
            return;
        }
        let partitions: Vec<_> = answered.iter().map(|(partition, ..)| *partition).collect();
        let held = match self.probe.held(&partitions) {
            Ok(held) => held,
            Err(error) => return self.query_failed(error),
        };
        let mut starts = Vec::new();
        for (partition, resume, log) in answered {
            let Some(held) = held.get(&partition).cloned() else { continue };
            let gap = match log {
                Some(log) => {
                    check_resume(partition, &resume, log, held.clone(), None).err().map(|g| g.reason)
                }
                None => Some(GapReason::Recreated),
            };
            if let Some(reason) = gap {
                if let Some(lane) = self.shared.lock().lanes.get_mut(&partition) {
                    (lane.from, lane.next) = (resume.offset, resume.offset);
                }
                self.stop_at_gap(partition, Some(held), reason);
                continue;
            }
            // The last record that the reader knows is read again, to compare the two: see
            // Lane::push.
            let expected = resume.last.filter(|l| l.offset < resume.offset && held.contains(&l.offset));
            let start = expected.map_or(resume.offset, |last| last.offset);
            let mut inner = self.shared.lock();
            if let Some(lane) = inner.lanes.get_mut(&partition) {
                lane.begin(resume.offset, expected);
                starts.push((partition, start));
            }
        }
        self.read_from(starts);
    }

    /// The partitions whose readers have answered, with the answer and the incarnation of the log.
    /// The incarnation is `None` if the topic has been recreated since the assignment.
    fn answered(&self) -> Vec<(Partition, Resume, Option<u128>)> {
        let mut inner = self.shared.lock();
        let mut answered = Vec::new();
        for (partition, lane) in &mut inner.lanes {
            if let Phase::Asked(answer) = &mut lane.phase {
                match answer.try_recv() {
                    Ok(resume) => lane.phase = Phase::Answered(resume),
                    Err(oneshot::error::TryRecvError::Closed) => lane.stop(None),
                    Err(oneshot::error::TryRecvError::Empty) => {}
                }
            }
            if let Phase::Answered(resume) = lane.phase {
                answered.push((*partition, resume, (!lane.log_replaced).then_some(lane.log)));
            }
        }
        answered
    }

    /// Assigns the partitions in librdkafka, each with the offset to start from.
    fn read_from(&mut self, starts: Vec<(Partition, Offset)>) {
        if starts.is_empty() {
            return;
        }
        let list = self.list(starts.iter().map(|(partition, start)| (*partition, place(*start))));
        if self.read.is_empty() {
            // Without this, librdkafka may look for the partitions' leaders only a second later.
            let _ = self.client.fetch_metadata(Some(&self.topic), LEADERS);
        }
        match self.client.incremental_assign(&list) {
            Ok(()) => self.read.extend(starts.into_iter().map(|(partition, _)| partition)),
            Err(error) => {
                let error = crate::failure::failed(format_args!("topic {}: reading", self.topic), error);
                self.query_failed(error);
            }
        }
    }
}
