//! Reading a topic of the log, some batches ahead of the caller.

use std::sync::Arc;

use async_trait::async_trait;
use feedkit_core::source::{Assigned, Revoked, SourceEvent};
use feedkit_core::{Error, EventSource, Partition, Positions, Result};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::group::Told;
use super::membership::Membership;
use super::options::SourceOptions;
use super::read::{Done, Ready};
use super::shared::Shared;
use super::slot::{Phase, Slot};
use super::topic::Topic;
use crate::sqlite::connection::HeldReader;

/// Reads one topic of a [`SqliteLog`](super::SqliteLog).
///
/// The members of a group, all in one process, share the partitions. After a
/// [`Gap`](SourceEvent::Gap) this source yields nothing more of the partition.
#[derive(Debug)]
pub struct SqliteSource {
    pub(super) log: Arc<Shared>,
    pub(super) topic: Arc<Topic>,
    pub(super) options: SourceOptions,
    pub(super) slots: Vec<Slot>,
    /// The slot to yield next.
    turn: usize,
    /// The slot at which the next search begins, so that no partition waits until another is read
    /// to its end.
    pub(super) search: usize,
    /// The connection, while no check or search is running.
    pub(super) reader: Option<HeldReader>,
    pub(super) work: Option<JoinHandle<(HeldReader, Result<Done>)>>,
    /// Whether the last search found nothing, and there is no reason to search again.
    pub(super) quiet: bool,
    /// Changes with every commit of this process. `None` if another process writes.
    pub(super) committed: Option<watch::Receiver<u64>>,
    /// `None` for a broadcast reader.
    pub(super) membership: Option<Membership>,
}

impl SqliteSource {
    pub(crate) async fn member(
        log: Arc<Shared>,
        topic: Arc<Topic>,
        group: &str,
        options: SourceOptions,
    ) -> Result<SqliteSource> {
        if !log.database.is_writer() {
            return Err(Error::fatal("a group can read only in the process that writes the data directory"));
        }
        let membership = Membership::new(Arc::clone(&log), &topic, group);
        Self::open(log, topic, options, Some(membership)).await
    }

    pub(crate) async fn broadcast(
        log: Arc<Shared>,
        topic: Arc<Topic>,
        options: SourceOptions,
    ) -> Result<SqliteSource> {
        Self::open(log, topic, options, None).await
    }

    async fn open(
        log: Arc<Shared>,
        topic: Arc<Topic>,
        options: SourceOptions,
        membership: Option<Membership>,
    ) -> Result<SqliteSource> {
        let reader = log.database.hold().await?;
        let slot = |_| Slot {
            phase: if membership.is_some() { Phase::Away } else { Phase::New },
            paused: false,
            ready: None,
        };
        Ok(SqliteSource {
            slots: topic.tables.iter().map(slot).collect(),
            turn: 0,
            search: 0,
            reader: Some(reader),
            work: None,
            quiet: false,
            committed: log.database.committed(),
            membership,
            log,
            topic,
            options,
        })
    }
}

#[async_trait]
impl EventSource for SqliteSource {
    async fn next(&mut self) -> Result<SourceEvent> {
        loop {
            if let Some(revoked) = self.share_out() {
                return Ok(SourceEvent::Revoked(revoked));
            }
            if let Some(assigned) = self.assign() {
                return Ok(SourceEvent::Assigned(assigned));
            }
            if self.work.as_ref().is_some_and(JoinHandle::is_finished) {
                self.finish_work().await?;
            }
            self.take_answers();
            let event = self.take_ready();
            // The next batch is read while the caller works on this one.
            self.start_work()?;
            if let Some(event) = event {
                return Ok(event);
            }
            self.wait().await?;
        }
    }

    fn pause(&mut self, partition: Partition) {
        if let Some(slot) = self.slot(partition)
            && !matches!(slot.phase, Phase::Away | Phase::New)
        {
            slot.paused = true;
        }
    }

    fn resume(&mut self, partition: Partition) {
        if let Some(slot) = self.slot(partition) {
            slot.paused = false;
            self.quiet = false;
        }
    }

    async fn ends(&mut self) -> Result<Positions> {
        self.log.ends(Arc::clone(&self.topic)).await
    }

    async fn still_held(&mut self, partition: Partition) -> Result<bool> {
        Ok(match &self.membership {
            Some(membership) => membership.log.groups.holds(&membership.member, partition),
            None => self.slot(partition).is_some_and(|slot| !matches!(slot.phase, Phase::New)),
        })
    }
}

impl SqliteSource {
    fn slot(&mut self, partition: Partition) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(partition.0).ok()?)
    }

    /// Takes news of the group: partitions that this source gets or loses.
    fn share_out(&mut self) -> Option<Revoked> {
        let Membership { log, member, changed, .. } = self.membership.as_mut()?;
        // A change from here on is a reason to ask again.
        changed.mark_unchanged();
        while let Some(told) = log.groups.tell(member) {
            let slots = self.slots.iter_mut().zip(&self.topic.tables);
            match told {
                Told::Assigned(partition) => {
                    slots
                        .filter(|(_, table)| table.partition == partition)
                        .for_each(|(slot, _)| slot.phase = Phase::New);
                }
                Told::Revoked(partitions, guard) => {
                    // The next owner reads again what this source has read ahead.
                    slots.filter(|(_, table)| partitions.contains(&table.partition)).for_each(|(slot, _)| {
                        *slot = Slot { phase: Phase::Away, paused: false, ready: None }
                    });
                    return Some(Revoked { partitions: partitions.into_iter().collect(), guard });
                }
            }
        }
        None
    }

    fn assign(&mut self) -> Option<Assigned> {
        let place = self.slots.iter().position(|slot| matches!(slot.phase, Phase::New))?;
        let (assigned, answer) = Assigned::new(self.topic.tables[place].partition, self.log.incarnation);
        self.slots[place].phase = Phase::Asked(answer);
        Some(assigned)
    }

    /// Takes the answers that have arrived.
    fn take_answers(&mut self) {
        for slot in &mut self.slots {
            if let Phase::Asked(answer) = &mut slot.phase {
                match answer.try_recv() {
                    Ok(resume) => slot.phase = Phase::Answered(resume),
                    Err(oneshot::error::TryRecvError::Closed) => slot.phase = Phase::Stopped,
                    Err(oneshot::error::TryRecvError::Empty) => {}
                }
            }
        }
    }

    /// Takes what is ready of the next partition in turn.
    fn take_ready(&mut self) -> Option<SourceEvent> {
        let places = (0..self.slots.len()).map(|n| (self.turn + n) % self.slots.len());
        let place =
            places.into_iter().find(|at| !self.slots[*at].paused && self.slots[*at].ready.is_some())?;
        self.turn = (place + 1) % self.slots.len();
        self.quiet = false;
        self.slots[place].ready.take().map(|ready| match ready {
            Ready::Batch(batch) => SourceEvent::Batch(batch),
            Ready::Gap(gap) => SourceEvent::Gap(gap),
        })
    }
}
