//! One commit: what has to hold, what is new, what has an effect, and what is kept of it.

use std::sync::Arc;

use hashbrown::HashMap;

use super::{Counts, Journaled, Kept, PostState, State};
use crate::effect::{Fold, LikePolicy, LoggedEvent, Pair, remove_repeats};
use crate::history::{Claim, CommitBatch, CommitCounts, Committed};
use crate::journal::JournalEntry;
use crate::trending::Trending;
use crate::{Error, Event, EventKind, PostId, Result, UserId};

impl State {
    /// Checks everything before it changes anything.
    pub(super) fn commit(
        &mut self,
        batch: &CommitBatch,
        policy: LikePolicy,
        trending: &Trending,
    ) -> Result<Committed> {
        self.check(batch)?;
        let mut events = batch.events.clone();
        let mut duplicates = remove_repeats(&mut events);
        let before = events.len();
        events.retain(|e| !self.events.contains_key(&(e.event.id, e.event.user.clone())));
        duplicates += before - events.len();

        let effective = self.fold(&events, policy);
        let mut effects = Vec::new();
        let counts = CommitCounts {
            accepted: events.len() as u64,
            duplicates: duplicates as u64,
            rejected: batch.rejected.len() as u64,
            effects: effective.iter().filter(|e| **e).count() as u64,
        };
        for (logged, effective) in events.into_iter().zip(effective) {
            if effective {
                effects.push(logged.effect());
                self.count(&logged, trending);
            }
            let event = logged.event;
            self.events.insert((event.id, event.user.clone()), Kept { event, effective });
        }
        for rejected in &batch.rejected {
            self.rejected.insert((batch.partition, rejected.offset, batch.log), rejected.clone());
        }
        let CommitBatch { partition, epoch, log, from, to, at_end, last, now, .. } = *batch;
        let entry = Arc::new(JournalEntry { partition, from, to, epoch, at_end, effects });
        let journaled = Journaled { time: now, entry: Arc::clone(&entry) };
        self.journal.entry(partition).or_default().push_back(journaled);
        let before = self.claims.get(&partition).copied().unwrap_or_default();
        self.claims
            .insert(partition, Claim { position: to, log: Some(log), last: last.or(before.last), ..before });
        Ok(Committed { entry, counts })
    }

    fn check(&self, batch: &CommitBatch) -> Result<()> {
        let CommitBatch { partition, epoch, log, from, to, .. } = *batch;
        let claim = self.claims.get(&partition).copied().unwrap_or_default();
        if epoch != claim.epoch || epoch == 0 {
            let detail =
                format!("partition {partition} was claimed with epoch {}, this is {epoch}", claim.epoch);
            return Err(Error::fenced(detail));
        }
        if from != claim.position {
            let detail =
                format!("partition {partition} stands at {}, the batch begins at {from}", claim.position);
            return Err(Error::gap(detail));
        }
        if let Some(known) = claim.log.filter(|known| *known != log) {
            let detail =
                format!("partition {partition} belongs to log {known:032x}, the batch to {log:032x}");
            return Err(Error::gap(detail));
        }
        let inside = |offset: &u64| (from..to).contains(offset);
        let events = batch.events.iter().map(|e| e.offset);
        let rejected = batch.rejected.iter().map(|r| r.offset);
        if to <= from
            || !events.clone().is_sorted()
            || !rejected.clone().is_sorted()
            || !events.chain(rejected).all(|o| inside(&o))
        {
            let detail = format!("a batch of partition {partition} is not in order within {from} to {to}");
            return Err(Error::invalid(detail));
        }
        Ok(())
    }

    /// Which of these new events have an effect; the likes' state and the authors are those after them.
    fn fold(&mut self, events: &[LoggedEvent], policy: LikePolicy) -> Vec<bool> {
        let mut likers: HashMap<(&PostId, &UserId), Pair<'_>> = HashMap::new();
        let posts = &self.posts;
        let resolved = Fold::new(events, policy).resolve(
            |pair| {
                likers.insert((pair.post, pair.user), pair);
                let liked = posts.get(pair.post).is_some_and(|p| p.likers.contains_key(pair.user));
                Ok::<_, std::convert::Infallible>(liked)
            },
            |first| Ok(posts.get(&first.event.post).is_none_or(|p| p.author.is_none())),
        );
        let Ok(effective) = resolved;
        for ((post, user), pair) in likers {
            match (pair.liked_after, self.posts.get_mut(post)) {
                (true, known) => {
                    let known = match known {
                        Some(known) => known,
                        None => self.posts.entry(post.clone()).or_default(),
                    };
                    known.likers.entry(user.clone()).or_insert(pair.time);
                }
                (false, Some(known)) => drop(known.likers.remove(user)),
                (false, None) => {}
            }
        }
        effective
    }

    fn count(&mut self, logged: &LoggedEvent, trending: &Trending) {
        let Event { id, user, post, kind, time, text, .. } = &logged.event;
        let known: &mut PostState = self.posts.entry(post.clone()).or_default();
        if let Some((name, by)) = kind.delta() {
            add(&mut known.counts, name, by);
            add(known.hours.entry(time.hour()).or_default(), name, by);
            if name == "like" {
                known.score.add(trending.weight(*time), by as f64);
            }
        }
        match kind {
            EventKind::Post => known.author = Some(user.clone()),
            EventKind::Comment => {
                known.comments.insert((*time, *id, user.clone()), text.clone());
            }
            _ => {}
        }
    }
}

pub(super) fn add(counts: &mut Counts, kind: &str, by: i64) {
    match counts.get_mut(kind) {
        Some(n) => *n += by,
        None => drop(counts.insert(kind.to_owned(), by)),
    }
}
