//! Reading ahead: a source reads the next batch while its caller works on the one before.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use feedkit_core::{Error, Offset, Result};
use tokio::sync::watch;
use tokio::task::JoinError;

use super::membership::regrouped;
use super::read::{Done, Ready, check, search};
use super::slot::{Phase, Slot};
use super::source::SqliteSource;
use crate::sqlite::connection::HeldReader;

/// How long it may take until another process's append is noticed.
const POLL: Duration = Duration::from_millis(100);

impl SqliteSource {
    /// Starts the next check or search, if there is a reason for one and none is running.
    pub(super) fn start_work(&mut self) -> Result<()> {
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
            // A commit from here on is a reason to search again.
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

    /// The slots to read next, with their offsets, in turn.
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

    /// Waits until a batch may be ready.
    pub(super) async fn wait(&mut self) -> Result<()> {
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

    /// Waits for the running check or search, and takes its result.
    pub(super) async fn finish_work(&mut self) -> Result<()> {
        match &mut self.work {
            Some(work) => {
                let done = work.await;
                self.settle(done)
            }
            None => Ok(()),
        }
    }

    fn settle(&mut self, done: Result<(HeldReader, Result<Done>), JoinError>) -> Result<()> {
        self.work = None;
        let (reader, done) =
            done.map_err(|e| Error::fatal(format!("reading {} was interrupted: {e}", self.topic.name)))?;
        self.reader = Some(reader);
        match done? {
            // The partition may have been revoked, or assigned again, in the meantime.
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

/// Waits until records may have been appended.
async fn appended(committed: &mut Option<watch::Receiver<u64>>) -> Result<()> {
    match committed {
        Some(committed) => committed.changed().await.map_err(|_| Error::fatal("the log is closed")),
        None => {
            tokio::time::sleep(POLL).await;
            Ok(())
        }
    }
}
