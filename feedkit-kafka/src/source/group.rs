//! What the group gives to this member and takes away; a broadcast reader takes all.

use std::time::Instant;

use feedkit_core::Partition;
use feedkit_core::source::{RevokeGuard, Revoked};
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::topic_partition_list::Offset as Place;
use tokio::sync::mpsc;

use super::consumer::{Consumer, place};
use super::context::give_back;
use super::stats::Counters;

pub(super) struct Revoking {
    pub(super) partitions: Vec<Partition>,
    guard: mpsc::Receiver<()>,
    until: Instant,
}
impl Consumer {
    /// Tells of partitions that are ours, once it is known of which log.
    pub(super) fn announce(&mut self) {
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
    pub(super) fn revoke(&mut self, partitions: Vec<Partition>, lost: bool) {
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
            self.let_go(&partitions);
        }
    }

    pub(super) fn let_go(&mut self, partitions: &[Partition]) {
        self.resume(partitions);
        give_back(&self.client, Some(&self.list(partitions.iter().map(|p| (*p, Place::Invalid)))));
        for partition in partitions {
            self.read.remove(partition);
        }
    }
    /// A broadcast reader is assigned what the topic has.
    pub(super) fn look_for_partitions(&mut self) {
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
    pub(super) fn commit(&mut self) {
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
}
