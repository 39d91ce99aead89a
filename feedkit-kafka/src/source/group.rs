//! Partitions that are assigned and revoked: by the group, or all of them for a broadcast reader.

use std::time::Instant;

use feedkit_core::Partition;
use feedkit_core::source::{RevokeGuard, Revoked};
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::topic_partition_list::Offset as Place;
use tokio::sync::mpsc;

use super::consumer::{Consumer, place};
use super::context::answer_rebalance;
use super::stats::Counters;

pub(super) struct Revoking {
    pub(super) partitions: Vec<Partition>,
    guard: mpsc::Receiver<()>,
    until: Instant,
}
impl Consumer {
    /// Announces the new partitions to the reader, once the incarnation of the log is known.
    pub(super) fn announce(&mut self) {
        if self.new.is_empty() || Instant::now() < self.query_again_at {
            return;
        }
        match self.probe.incarnation() {
            Ok(log) => {
                let mut inner = self.shared.lock();
                for partition in std::mem::take(&mut self.new) {
                    if !inner.lanes.contains_key(&partition) {
                        inner.assign(partition, log);
                    }
                }
                drop(inner);
                self.shared.wake_reader();
            }
            Err(error) => self.query_failed(error),
        }
    }
    pub(super) fn revoke(&mut self, partitions: Vec<Partition>, lost: bool) {
        Counters::one(&self.shared.counters.rebalances);
        self.new.retain(|partition| !partitions.contains(partition));
        let mut inner = self.shared.lock();
        let known = inner.remove(&partitions);
        if known.is_empty() {
            drop(inner);
            self.give_up(&partitions);
            return;
        }
        if lost {
            inner.lose(known);
            drop(inner);
            self.give_up(&partitions);
        } else {
            let (guard, dropped): (RevokeGuard, _) = RevokeGuard::new();
            inner.revoke(Revoked { partitions: known, guard });
            drop(inner);
            let until = Instant::now() + self.max_poll_interval;
            self.revoking.push(Revoking { partitions, guard: dropped, until });
        }
        self.shared.wake_reader();
    }

    /// Gives up the revoked partitions whose guards were dropped. After `max.poll.interval.ms` it
    /// does not wait for the guards any longer: the broker does not wait either.
    pub(super) fn release(&mut self) {
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
            self.give_up(&partitions);
        }
    }

    pub(super) fn give_up(&mut self, partitions: &[Partition]) {
        self.resume(partitions);
        answer_rebalance(&self.client, Some(&self.list(partitions.iter().map(|p| (*p, Place::Invalid)))));
        for partition in partitions {
            self.read.remove(partition);
        }
    }
    /// Assigns all partitions of the topic to a broadcast reader.
    pub(super) fn look_for_partitions(&mut self) {
        let now = Instant::now();
        let due = self.refreshed.is_none_or(|at| now - at >= self.options.partition_refresh);
        if !due || now < self.query_again_at {
            return;
        }
        match self.probe.partitions() {
            Ok(partitions) => {
                self.refreshed = Some(now);
                let inner = self.shared.lock();
                self.new.extend(partitions.into_iter().filter(|p| !inner.lanes.contains_key(p)));
            }
            Err(error) => self.query_failed(error),
        }
    }

    /// Commits the next offset of each partition to Kafka, for lag tools.
    pub(super) fn commit(&mut self) {
        self.committed = Instant::now();
        if !self.member {
            return;
        }
        let inner = self.shared.lock();
        let reading = inner.lanes.iter().filter(|(_, lane)| lane.is_reading());
        let list = self.list(reading.map(|(p, lane)| (*p, place(lane.from))));
        drop(inner);
        if list.count() > 0
            && let Err(error) = self.client.commit(&list, CommitMode::Async)
        {
            tracing::debug!(%error, "could not commit offsets for lag tools");
        }
    }
}
