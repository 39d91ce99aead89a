//! Reading a topic of the log, some batches ahead of who asks for them.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use feedkit_core::source::{Assigned, Resume, Revoked, SourceEvent};
use feedkit_core::{Error, EventSource, Offset, Partition, Positions, Result};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::group::{Member, Told};
use super::log::Shared;
use super::options::SourceOptions;
use super::read::{Done, Ready, check, search};
use super::topic::Topic;
use crate::sqlite::connection::HeldReader;

/// How long another process's appends may go unnoticed.
const POLL: Duration = Duration::from_millis(100);
/// How long the end of a revoked partition's guard may go unnoticed.
const REVOKING_POLL: Duration = Duration::from_millis(5);

/// Reads one topic of a [`SqliteLog`](super::SqliteLog).
///
/// Members of a group, all in one process, share the partitions out among themselves. After a [`Gap`](SourceEvent::Gap) nothing more
/// of the partition is yielded by this source.
#[derive(Debug)]
pub struct SqliteSource {
    log: Arc<Shared>,
    topic: Arc<Topic>,
    options: SourceOptions,
    slots: Vec<Slot>,
    /// The slot whose turn it is to be yielded.
    turn: usize,
    /// Where the next search for records begins, so that no partition waits for another's end.
    search: usize,
    /// The connection, while no work is under way.
    reader: Option<HeldReader>,
    work: Option<JoinHandle<(HeldReader, Result<Done>)>>,
    /// The last search found nothing, and no reason to search again has come up since.
    quiet: bool,
    /// Changes with every commit of this process. `None`: another process writes.
    committed: Option<watch::Receiver<u64>>,
    /// `None`: a broadcast reader.
    membership: Option<Membership>,
}

#[derive(Debug)]
struct Slot {
    phase: Phase,
    paused: bool,
    /// Read, and not yet yielded. Nothing more is read of the partition before it is.
    ready: Option<Ready>,
}

#[derive(Debug)]
enum Phase {
    /// Not ours.
    Away,
    /// To be assigned.
    New,
    /// Assigned; the answer is to come.
    Asked(oneshot::Receiver<Resume>),
    /// Answered; to be compared with what the log holds.
    Answered(Resume),
    /// Read up to this offset.
    Reading(Offset),
    /// Given up by the one who reads, or stopped at a gap.
    Stopped,
}

impl SqliteSource {
    pub(crate) async fn member(
        log: Arc<Shared>,
        topic: Arc<Topic>,
        group: &str,
        options: SourceOptions,
    ) -> Result<SqliteSource> {
        if !log.store.is_writer() {
            return Err(Error::fatal("a group reads in the process that writes the data directory"));
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
        let reader = log.store.hold().await?;
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
            committed: log.store.committed(),
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

    /// Takes in what the group has decided: partitions that are ours now, or no longer.
    fn share_out(&mut self) -> Option<Revoked> {
        let Membership { log, member, changed, .. } = self.membership.as_mut()?;
        // What changes from here on is a reason to ask again.
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
                    // What was read ahead is left to the next one.
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

    /// Takes the answers that have come.
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

    /// What is ready of the next partition in turn.
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

    /// Starts the next check or search, if there is a reason for one and none is under way.
    fn start_work(&mut self) -> Result<()> {
        if self.work.is_some() {
            return Ok(());
        }
        let answered = self.slots.iter().enumerate().find_map(|(place, slot)| match slot.phase {
            Phase::Answered(resume) => Some((place, resume)),
            _ => None,
        });
        let wanted = if answered.is_some() { Vec::new() } else { self.wanted() };
        if answered.is_none() && wanted.is_empty() {
            return Ok(());
        }
        let reader = self.reader.take().ok_or_else(|| Error::fatal("the source's connection is gone"))?;
        if let Some(committed) = &mut self.committed {
            // What is committed from here on is a reason to search again.
            committed.mark_unchanged();
        }
        let (topic, options, incarnation) = (Arc::clone(&self.topic), self.options, self.log.incarnation);
        self.work = Some(match answered {
            Some((place, resume)) => reader.start_consistent(move |connection| {
                check(connection, &topic, place, resume, incarnation)
                    .map(|checked| Done::Checked(place, resume, checked))
            }),
            None => reader.start_consistent(move |connection| search(connection, &topic, wanted, &options)),
        });
        Ok(())
    }

    /// What to read next, by place and offset, in turn.
    fn wanted(&self) -> Vec<(usize, Offset)> {
        if self.quiet {
            return Vec::new();
        }
        let places = (0..self.slots.len()).map(|n| (self.search + n) % self.slots.len());
        places
            .filter_map(|place| match &self.slots[place] {
                Slot { phase: Phase::Reading(from), paused: false, ready: None } => Some((place, *from)),
                _ => None,
            })
            .collect()
    }

    /// Waits until something is ready, or may be.
    async fn wait(&mut self) -> Result<()> {
        let Self { slots, work, committed, quiet, membership, .. } = self;
        let answered = poll_fn(|context| {
            let mut come = Poll::Pending;
            for slot in slots.iter_mut() {
                if let Phase::Asked(answer) = &mut slot.phase
                    && let Poll::Ready(answer) = Pin::new(answer).poll(context)
                {
                    slot.phase = answer.map_or(Phase::Stopped, Phase::Answered);
                    come = Poll::Ready(());
                }
            }
            come
        });
        let regrouped = regrouped(membership);
        if let Some(work) = work {
            tokio::select! {
                done = work => return self.settle(done),
                () = answered => {}
                () = regrouped => {}
            }
            return Ok(());
        }
        tokio::select! {
            appended = appended(committed) => {
                appended?;
                *quiet = false;
            }
            () = answered => {}
            () = regrouped => {}
        }
        Ok(())
    }

    async fn finish_work(&mut self) -> Result<()> {
        match &mut self.work {
            Some(work) => {
                let done = work.await;
                self.settle(done)
            }
            None => Ok(()),
        }
    }

    fn settle(&mut self, done: Result<(HeldReader, Result<Done>), tokio::task::JoinError>) -> Result<()> {
        self.work = None;
        let (reader, done) =
            done.map_err(|e| Error::fatal(format!("reading {} did not end: {e}", self.topic.name)))?;
        self.reader = Some(reader);
        match done? {
            // The partition may have been taken away, or given anew, in the meantime.
            Done::Checked(place, resume, checked) if self.slots[place].phase.is_answered(resume) => {
                let slot = &mut self.slots[place];
                self.quiet = false;
                match checked {
                    Ok(()) => slot.phase = Phase::Reading(resume.offset),
                    Err(gap) => (slot.phase, slot.ready) = (Phase::Stopped, Some(Ready::Gap(gap))),
                }
            }
            Done::Read(place, ready) if self.slots[place].phase.is_reading(ready.from()) => {
                let slot = &mut self.slots[place];
                slot.phase = match &ready {
                    Ready::Batch(batch) => Phase::Reading(batch.to),
                    Ready::Gap(_) => Phase::Stopped,
                };
                slot.ready = Some(ready);
                self.search = (place + 1) % self.slots.len();
            }
            Done::Checked(..) | Done::Read(..) => {}
            Done::Nothing => self.quiet = true,
        }
        Ok(())
    }
}

impl Phase {
    fn is_answered(&self, with: Resume) -> bool {
        matches!(self, Phase::Answered(resume) if *resume == with)
    }

    fn is_reading(&self, from: Offset) -> bool {
        matches!(self, Phase::Reading(at) if *at == from)
    }
}

/// Waits until something may have been appended.
async fn appended(committed: &mut Option<watch::Receiver<u64>>) -> Result<()> {
    match committed {
        Some(committed) => committed.changed().await.map_err(|_| Error::fatal("the log is closed")),
        None => {
            tokio::time::sleep(POLL).await;
            Ok(())
        }
    }
}

/// Waits until the group may have something to tell.
async fn regrouped(membership: &mut Option<Membership>) {
    let Some(Membership { log, member, changed, .. }) = membership else {
        return std::future::pending().await;
    };
    let revoking = log.groups.is_revoking(member);
    let guard_may_be_gone = async {
        match revoking {
            true => tokio::time::sleep(REVOKING_POLL).await,
            false => std::future::pending().await,
        }
    };
    tokio::select! {
        changed = changed.changed() => if changed.is_err() { std::future::pending::<()>().await },
        () = guard_may_be_gone => {}
    }
}

/// A place in a group, given up when dropped.
#[derive(Debug)]
struct Membership {
    log: Arc<Shared>,
    member: Member,
    partitions: usize,
    changed: watch::Receiver<u64>,
}

impl Membership {
    fn new(log: Arc<Shared>, topic: &Topic, group: &str) -> Membership {
        let (changed, partitions) = (log.groups.changed(), topic.tables.len());
        let member = log.groups.join(&topic.name, group, partitions);
        Membership { log, member, partitions, changed }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.log.groups.leave(&self.member, self.partitions);
    }
}
