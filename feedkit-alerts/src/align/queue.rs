//! The entries of one partition that wait.

use std::collections::VecDeque;
use std::sync::Arc;

use feedkit_core::effect::Effect;
use feedkit_core::journal::JournalEntry;
use feedkit_core::{Error, Offset, Partition, Result, Timestamp};

/// The entries of one partition that are not consumed.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// The entries, each with the time of its arrival.
    pub(super) entries: VecDeque<(Arc<JournalEntry>, Timestamp)>,
    /// Number of effects of the first entry that are consumed already.
    skip: usize,
    /// The first offset that is not consumed.
    pub(super) next: Offset,
    /// The offset after the last received entry.
    pub(super) end: Offset,
    /// The latest event time received.
    pub(super) seen: Option<Timestamp>,
    /// The journal reaches at least up to here. An entry before this offset was once at the log's
    /// end, but no longer is.
    known_end: Offset,
    /// Whether the last entry was at the log's end.
    pub(super) at_end: bool,
    /// When the partition was last heard of.
    pub(super) heard_at: Timestamp,
    /// Whether the last entry had no effects. It says nothing about the partition's event time.
    last_was_empty: bool,
    /// Number of effects that wait.
    pub(super) effects: usize,
}

impl Queue {
    /// A queue for a partition that is consumed up to `next`. The journal reaches to `known_end`.
    pub(super) fn new(next: Offset, known_end: Offset, now: Timestamp) -> Self {
        let at_end = next >= known_end;
        Queue { next, end: next, known_end, at_end, heard_at: now, ..Queue::default() }
    }

    /// Adds an entry that follows the received ones.
    pub(super) fn push(
        &mut self,
        partition: Partition,
        entry: &Arc<JournalEntry>,
        now: Timestamp,
    ) -> Result<()> {
        if entry.from > self.end {
            return Err(Error::gap(format!(
                "partition {partition}: an entry begins at offset {}, but the alerts expect offset {}",
                entry.from, self.end
            )));
        }
        if self.entries.is_empty() {
            self.skip = entry.effects.partition_point(|e| e.offset < self.next);
            self.effects = entry.effects.len() - self.skip;
        } else {
            self.effects += entry.effects.len();
        }
        self.seen = self.seen.max(entry.effects.last().map(|e| e.time));
        (self.heard_at, self.last_was_empty) = (now, entry.effects.is_empty());
        (self.end, self.at_end) = (entry.to, entry.at_end && entry.to >= self.known_end);
        self.entries.push_back((Arc::clone(entry), now));
        Ok(())
    }

    /// Whether the partition's event time is unknown, because its last entry had only repeats.
    pub(super) fn time_is_unknown(&self) -> bool {
        self.last_was_empty && self.effects == 0
    }

    /// The offset up to which the entries that came by `arrived` have effects up to `frontier`. It
    /// is the offset after the last such effect, or the end of an entry.
    pub(super) fn prefix(&self, frontier: Timestamp, arrived: Timestamp) -> Offset {
        let mut to = self.next;
        for ((entry, came), waiting) in self.entries.iter().zip(self.waiting()) {
            if *came > arrived {
                return to;
            }
            match waiting.iter().position(|e| e.time > frontier) {
                None => to = entry.to,
                Some(0) => return to,
                Some(n) => return waiting[n - 1].offset + 1,
            }
        }
        to
    }

    /// The effects that are not consumed, entry by entry.
    fn waiting(&self) -> impl Iterator<Item = &[Effect]> {
        let skip = |i| if i == 0 { self.skip } else { 0 };
        self.entries.iter().enumerate().map(move |(i, (entry, _))| &entry.effects[skip(i)..])
    }

    /// The effects before `to` that are not consumed, entry by entry.
    pub(super) fn up_to(&self, to: Offset) -> impl Iterator<Item = &[Effect]> {
        let entries =
            self.entries.iter().zip(self.waiting()).take_while(move |((entry, _), _)| entry.from < to);
        entries.map(move |(_, waiting)| &waiting[..waiting.partition_point(|effect| effect.offset < to)])
    }

    /// Removes everything before `to`.
    pub(super) fn consume(&mut self, to: Offset) {
        self.next = to;
        while let Some((first, _)) = self.entries.front() {
            if first.to <= to {
                self.effects -= first.effects.len() - self.skip;
                self.skip = 0;
                self.entries.pop_front();
            } else {
                let skip = first.effects.partition_point(|e| e.offset < to);
                self.effects -= skip - self.skip;
                self.skip = skip;
                return;
            }
        }
    }
}
