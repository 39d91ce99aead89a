//! A source under test.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Assigned, Batch, Gap, Record, Resume, RevokeGuard, SourceEvent};
use crate::testkit::conformance::log::LogHarness;
use crate::testkit::conformance::sentence::Sentence;
use crate::{EventSource, Offset, Partition};

/// A source under test, and the events that it has yielded.
pub(super) struct Reader<'l> {
    pub(super) log: &'l dyn LogHarness,
    pub(super) source: Box<dyn EventSource>,
    pub(super) assigned: BTreeMap<Partition, Assigned>,
    /// The partitions whose assignments were answered, and the next offset of each.
    pub(super) at: BTreeMap<Partition, Offset>,
    pub(super) records: BTreeMap<Partition, Vec<Record>>,
    pub(super) ended: BTreeSet<Partition>,
    pub(super) gaps: Vec<Gap>,
    pub(super) revoked: Vec<(BTreeSet<Partition>, RevokeGuard)>,
    pub(super) lost: Vec<Partition>,
}

impl<'l> Reader<'l> {
    pub(super) fn new(log: &'l dyn LogHarness, source: Box<dyn EventSource>) -> Self {
        Reader {
            log,
            source,
            assigned: BTreeMap::new(),
            at: BTreeMap::new(),
            records: BTreeMap::new(),
            ended: BTreeSet::new(),
            gaps: Vec::new(),
            revoked: Vec::new(),
            lost: Vec::new(),
        }
    }

    pub(super) async fn broadcast(log: &'l dyn LogHarness) -> Self {
        Reader::new(log, log.broadcast().await)
    }

    /// Records an event, and checks that the contract allows it now.
    pub(super) fn note(&mut self, says: Sentence, event: SourceEvent) {
        match event {
            SourceEvent::Assigned(assigned) => {
                let partition = assigned.partition;
                let held = self.at.contains_key(&partition) || self.assigned.contains_key(&partition);
                says.holds(!held, format_args!("{partition} is assigned while it is held"));
                self.assigned.insert(partition, assigned);
            }
            SourceEvent::Batch(batch) => self.note_batch(says, batch),
            SourceEvent::Revoked(revoked) => {
                let partitions: BTreeSet<_> = revoked.partitions.into_iter().collect();
                partitions.iter().for_each(|p| self.forget(*p));
                self.revoked.push((partitions, revoked.guard));
            }
            SourceEvent::Lost(partitions) => {
                partitions.iter().for_each(|p| self.forget(*p));
                self.lost.extend(partitions);
            }
            SourceEvent::Gap(gap) => {
                let known = self.at.remove(&gap.partition).is_some();
                says.holds(
                    known,
                    format_args!("a gap of partition {}, which is not being read", gap.partition),
                );
                self.gaps.push(gap);
            }
        }
    }

    fn note_batch(&mut self, says: Sentence, batch: Batch) {
        let Batch { partition, from, to, at_end, records } = batch;
        let Some(at) = self.at.get_mut(&partition) else {
            says.broken(format_args!("a batch of {partition}, {from} to {to}, which is not being read"))
        };
        says.holds(from == *at, format_args!("a batch of {partition} begins at {from}, not at {at}"));
        says.holds(to > from, format_args!("a batch of {partition} from {from} to {to}"));
        let offsets: Vec<_> = records.iter().map(|r| r.offset).collect();
        let inside = offsets.is_sorted_by(|a, b| a < b) && offsets.iter().all(|o| (from..to).contains(o));
        says.holds(
            inside,
            format_args!("a batch of {partition} from {from} to {to} has offsets {offsets:?}"),
        );
        *at = to;
        self.records.entry(partition).or_default().extend(records);
        match at_end {
            true => self.ended.insert(partition),
            false => self.ended.remove(&partition),
        };
    }

    fn forget(&mut self, partition: Partition) {
        self.at.remove(&partition);
        self.assigned.remove(&partition);
    }

    pub(super) fn held(&self) -> BTreeSet<Partition> {
        self.at.keys().chain(self.assigned.keys()).copied().collect()
    }

    /// Answers all assignments with the beginning of the partition.
    pub(super) fn answer_all(&mut self) {
        for (partition, assigned) in std::mem::take(&mut self.assigned) {
            self.at.insert(partition, 0);
            assigned.resume(Resume::default());
        }
    }

    pub(super) fn answer(&mut self, says: Sentence, partition: Partition, resume: Resume) {
        let Some(assigned) = self.assigned.remove(&partition) else {
            says.broken(format_args!("{partition} is not assigned"))
        };
        self.at.insert(partition, resume.offset);
        assigned.resume(resume);
    }

    /// Takes events until `enough` returns true.
    pub(super) async fn until(&mut self, says: Sentence, what: &str, enough: impl Fn(&Self) -> bool) {
        while !enough(self) {
            let event = says.ends(what, self.source.next()).await;
            let event = says.ok("next", event);
            self.note(says, event);
        }
    }

    pub(super) async fn until_assigned(&mut self, says: Sentence) {
        let all = self.log.partitions() as usize;
        self.until(says, "waiting for all partitions", |r| r.held().len() == all).await;
    }

    /// Answers every assignment with the beginning of the partition, and takes events until no more
    /// come.
    pub(super) async fn settle(&mut self, says: Sentence) {
        loop {
            self.answer_all();
            match tokio::time::timeout(self.log.quiet(), self.source.next()).await {
                Ok(event) => {
                    let event = says.ok("next", event);
                    self.note(says, event);
                }
                Err(_) => return,
            }
        }
    }

    /// Takes events without answering assignments until no more come.
    pub(super) async fn listen(&mut self, says: Sentence) {
        while let Ok(event) = tokio::time::timeout(self.log.quiet(), self.source.next()).await {
            let event = says.ok("next", event);
            self.note(says, event);
        }
    }

    /// The values that were read from a partition.
    pub(super) fn values(&self, partition: Partition) -> Vec<String> {
        let of = |r: &Record| String::from_utf8_lossy(&r.value).into_owned();
        self.records.get(&partition).into_iter().flatten().map(of).collect()
    }

    pub(super) fn count(&self) -> usize {
        self.records.values().map(Vec::len).sum()
    }
}
