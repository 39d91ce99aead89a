//! Retention in the history in memory.

use super::commit::add;
use super::{Journaled, State};
use crate::history::{Retained, RetentionPolicy};
use crate::{Partition, Timestamp};

impl State {
    pub(super) fn retain(&mut self, policy: &RetentionPolicy, now: Timestamp) -> Retained {
        let silent_since = now.saturating_sub(policy.follower_silence);
        let before = self.followers.len();
        self.followers.retain(|_, f| f.noted_at >= silent_since);
        Retained {
            followers: (before - self.followers.len()) as u64,
            // Drops whole days of events, as a store with time partitions does.
            events: self.drop_events(now.saturating_sub(policy.events).day()),
            journal_entries: self.drop_journal(now.saturating_sub(policy.journal)),
        }
    }

    /// Drops events with older ids, and keeps their sums in the baseline.
    fn drop_events(&mut self, before: Timestamp) -> u64 {
        let old: Vec<_> = self.events.extract_if(|(id, _), _| id.time() < before).collect();
        for (_, kept) in &old {
            let known = self.posts.get_mut(&kept.event.post).filter(|_| kept.effective);
            if let (Some(known), Some((kind, by))) = (known, kept.event.kind.delta()) {
                add(&mut known.baseline, kind, by);
            }
        }
        old.len() as u64
    }

    /// Drops older entries that every follower has applied.
    fn drop_journal(&mut self, before: Timestamp) -> u64 {
        let mut dropped = 0;
        let followers = &self.followers;
        let slowest = |partition: Partition| followers.values().map(|f| f.positions.of(partition)).min();
        for (partition, journal) in &mut self.journal {
            let needed = slowest(*partition).unwrap_or(u64::MAX);
            let gone = |j: &Journaled| j.time < before && j.entry.to <= needed;
            while journal.front().is_some_and(gone) {
                journal.pop_front();
                dropped += 1;
            }
        }
        dropped
    }
}
