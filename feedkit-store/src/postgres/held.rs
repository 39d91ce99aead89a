//! The entries that the rollups hold in memory, and the positions that they know.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use feedkit_core::journal::JournalEntry;
use feedkit_core::{Offset, Partition};
use parking_lot::Mutex;

use super::rollup_positions::Run;

/// The entries of all partitions that wait for the next write, and those that are being written.
#[derive(Default)]
pub(super) struct Held {
    partitions: BTreeMap<Partition, Place>,
    /// How many effects the waiting entries have.
    pub(super) effects: usize,
    /// Since when the oldest of them waits.
    pub(super) since: Option<Instant>,
    /// How many ticks came since then.
    pub(super) ticks: u32,
    /// How long the last write took.
    pub(super) took: Duration,
}

/// Where the rollups are in one partition.
///
/// The position that the database has, the entries that are being written and the entries that wait
/// follow on each other. While a write is under way, the database still has the position from before
/// it, so `writing` decides what comes next.
#[derive(Default)]
struct Place {
    /// The database's position. `None` if it must be asked.
    stored: Option<Offset>,
    /// Where the entries end that are being written.
    writing: Option<Offset>,
    /// How many writes have begun.
    writes: u64,
    run: Run,
}

impl Held {
    /// Where the next entry of `partition` must begin, if this is known without the database.
    pub(super) fn end(&self, partition: Partition) -> Option<Offset> {
        let place = self.partitions.get(&partition)?;
        place.run.to().or(place.writing).or(place.stored)
    }

    /// Holds the entries that follow on `at`, and returns where they end.
    pub(super) fn add(&mut self, partition: Partition, at: Offset, entries: &[Arc<JournalEntry>]) -> Offset {
        let place = self.partitions.entry(partition).or_default();
        let mut next = place.run.to().or(place.writing).unwrap_or(at);
        for entry in entries {
            // With two callers at once, entries that the other has already added are skipped.
            if entry.to > next && entry.from <= next {
                self.effects += entry.effects.len();
                self.since.get_or_insert_with(|| {
                    self.ticks = 0;
                    Instant::now()
                });
                place.run.entries.push(Arc::clone(entry));
                next = entry.to;
            }
        }
        next
    }

    /// How many writes of `partition` have begun. `None` while one is under way.
    pub(super) fn settled(&self, partition: Partition) -> Option<u64> {
        match self.partitions.get(&partition) {
            Some(place) if place.writing.is_some() => None,
            place => Some(place.map_or(0, |place| place.writes)),
        }
    }

    /// Takes in the position that the database has. Another process may have moved it: entries that
    /// no longer follow on it are dropped.
    pub(super) fn found(&mut self, partition: Partition, stored: Offset) {
        let place = self.partitions.entry(partition).or_default();
        place.stored = Some(stored);
        let begins = place.run.entries.first().is_none_or(|entry| entry.from <= stored);
        if !begins || place.run.to().is_some_and(|to| to <= stored) {
            self.effects -= std::mem::take(&mut place.run).effects();
        }
    }

    /// Begins to write all entries that wait.
    fn begin(&mut self) -> BTreeMap<Partition, Run> {
        (self.effects, self.since, self.ticks) = (0, None, 0);
        let mut runs = BTreeMap::new();
        for (partition, place) in &mut self.partitions {
            if let Some(to) = place.run.to() {
                // Until the outcome is known, nobody knows the database's position.
                (place.stored, place.writing) = (None, Some(to));
                place.writes += 1;
                runs.insert(*partition, std::mem::take(&mut place.run));
            }
        }
        runs
    }

    /// Forgets what was being written, and the entries that follow on it. The database must be asked
    /// how far it is.
    fn lost(&mut self, runs: &BTreeMap<Partition, Run>) {
        for partition in runs.keys() {
            let Some(place) = self.partitions.get_mut(partition) else { continue };
            // `rebuild` may have cleared the place.
            if place.writing.take().is_some() {
                self.effects -= std::mem::take(&mut place.run).effects();
            }
        }
    }

    /// Holds what was being written again, before the entries that have come since.
    fn put_back(&mut self, runs: BTreeMap<Partition, Run>) {
        for (partition, mut run) in runs {
            let Some(place) = self.partitions.get_mut(&partition) else { continue };
            if place.writing.take().is_some() {
                self.effects += run.effects();
                self.since.get_or_insert_with(Instant::now);
                run.entries.append(&mut place.run.entries);
                place.run = run;
            }
        }
    }
}

/// A write that is under way. If it is dropped before its outcome is known, the database is asked.
pub(super) struct Write<'a> {
    held: &'a Mutex<Held>,
    runs: BTreeMap<Partition, Run>,
    began: Instant,
}

impl<'a> Write<'a> {
    /// Begins to write all that is held. `None` if there is nothing.
    pub(super) fn begin(held: &'a Mutex<Held>) -> Option<Write<'a>> {
        let runs = held.lock().begin();
        (!runs.is_empty()).then(|| Write { held, runs, began: Instant::now() })
    }

    /// What to write.
    pub(super) fn runs(&self) -> &BTreeMap<Partition, Run> {
        &self.runs
    }

    /// The database now has these positions.
    pub(super) fn stored(mut self, positions: BTreeMap<Partition, Offset>) {
        let mut held = self.held.lock();
        held.took = self.began.elapsed();
        for partition in std::mem::take(&mut self.runs).into_keys() {
            let stored = positions.get(&partition).copied();
            if let Some(place) = held.partitions.get_mut(&partition)
                && place.writing.take().is_some()
            {
                place.stored = stored;
            }
        }
    }

    /// Nothing was stored: all is held again.
    pub(super) fn put_back(mut self) {
        self.held.lock().put_back(std::mem::take(&mut self.runs));
    }
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        self.held.lock().lost(&self.runs);
    }
}
