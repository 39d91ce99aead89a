//! A commit: its checks, its effects, and what is stored of it.

use std::sync::Arc;

use hashbrown::HashMap;

use super::{Counts, Journaled, Kept, PostState, State};
use crate::backend::batch::{check_claim, check_order, without_repeats};
use crate::effect::{Fold, LikePolicy, LoggedEvent, Pair};
use crate::history::{Claim, CommitBatch, CommitCounts, Committed};
use crate::journal::JournalEntry;
use crate::trending::Trending;
use crate::{Event, EventKind, PostId, Result, UserId};

impl State {
    /// Checks everything before it changes anything.
    pub(super) fn commit(
        &mut self,
        batch: Arc<CommitBatch>,
        policy: LikePolicy,
        trending: &Trending,
    ) -> Result<Committed> {
        let before = self.claims.get(&batch.partition).copied().unwrap_or_default();
        check_claim(&before, &batch)?;
        check_order(&batch)?;
        let (batch, mut duplicates) = without_repeats(batch);
        let mut events = batch.events.clone();
        let unique = events.len();
        events.retain(|e| !self.events.contains_key(&(e.event.id, e.event.user.clone())));
        duplicates += unique - events.len();

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
        self.claims
            .insert(partition, Claim { position: to, log: Some(log), last: last.or(before.last), ..before });
        Ok(Committed { entry, counts })
    }

    /// Computes which of these new events have an effect. Updates the likes and the authors.
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
