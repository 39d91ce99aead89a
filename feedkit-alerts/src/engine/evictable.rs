//! A rule whose states may be dropped.

use std::sync::Arc;

use feedkit_core::alert_log::Pieces;
use feedkit_core::{AlertRule, Result, Timestamp};

use super::BLOCK;
use super::context::Context;
use super::encoding::corrupt;
use super::hashed::{HashedEffect, KeyHasher};
use super::rules::Raised;
use super::running::Running;
use super::table::Table;
use super::watched::Watched;

/// A rule whose states are kept in memory and may be dropped.
pub(super) struct Evictable<R: AlertRule> {
    rule: Arc<R>,
    hasher: KeyHasher,
    max_keys: usize,
    max_watched: usize,
    table: Table<R::State>,
    /// The table pins the slots of watched keys.
    watched: Watched,
}

impl<R: AlertRule> Evictable<R> {
    pub(super) fn new(rule: Arc<R>, hasher: KeyHasher, max_keys: usize, max_watched: usize) -> Self {
        // The table must always find a slot that it may evict.
        let max_watched = max_watched.min(max_keys.saturating_sub(1) / 2);
        let (table, watched) = (Table::new(max_keys), Watched::new(max_watched));
        Evictable { rule, hasher, max_keys, max_watched, table, watched }
    }

    /// With many keys, nearly every state is outside the processor's cache. This reads the index
    /// entries of a whole block first, then the slots, and runs the rule last: the processor waits
    /// for all of them at once, instead of one after the other.
    fn observe_block(&mut self, base: usize, effects: &[HashedEffect<'_>], raised: &mut Vec<Raised>) {
        let mut hashes = [0; BLOCK];
        let mut slots = [None; BLOCK];
        for (hash, hashed) in hashes.iter_mut().zip(effects) {
            let Some(key) = self.rule.key(hashed.effect) else { continue };
            *hash = hashed.of(key, &self.hasher);
            self.table.touch(*hash);
        }
        for (slot, hash) in slots.iter_mut().zip(&hashes[..effects.len()]) {
            *slot = self.table.find(*hash);
        }
        for (i, hashed) in effects.iter().enumerate() {
            let effect = hashed.effect;
            let Some(key) = self.rule.key(effect) else { continue };
            let hash = hashes[i];
            let slot = self.table.slot(hash, slots[i]);
            let was_watched = self.table.is_pinned(slot);
            if was_watched {
                self.watched.sample(hash, &effect.user);
            }
            let mut context = Context {
                at: base + i,
                raised,
                watched: &mut self.watched,
                hash,
                key,
                user: Some(&effect.user),
                is_watched: was_watched,
                dropped: Vec::new(),
            };
            self.rule.observe(self.table.state_mut(slot), effect, &mut context);
            let Context { is_watched, dropped, .. } = context;
            if is_watched != was_watched {
                self.table.pin(slot, is_watched);
                self.unpin(dropped);
            }
        }
    }

    fn unpin(&mut self, hashes: Vec<u128>) {
        for hash in hashes {
            if let Some(slot) = self.table.find(hash) {
                self.table.pin(slot, false);
            }
        }
    }
}

impl<R: AlertRule> Running for Evictable<R> {
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn observe(&mut self, base: usize, effects: &[HashedEffect<'_>], raised: &mut Vec<Raised>) {
        for (i, block) in effects.chunks(BLOCK).enumerate() {
            self.observe_block(base + i * BLOCK, block, raised);
        }
    }

    fn advance(&mut self, at: usize, watermark: Timestamp, raised: &mut Vec<Raised>) {
        if self.watched.is_empty() {
            return;
        }
        for (hash, key) in self.watched.keys() {
            let Some(slot) = self.table.find(hash) else {
                self.watched.remove(hash);
                continue;
            };
            let mut context = Context {
                at,
                raised,
                watched: &mut self.watched,
                hash,
                key: key.as_key(),
                user: None,
                is_watched: true,
                dropped: Vec::new(),
            };
            self.rule.advance(self.table.state_mut(slot), &key, watermark, &mut context);
            let Context { is_watched, dropped, .. } = context;
            self.table.pin(slot, is_watched);
            self.unpin(dropped);
        }
    }

    fn keys(&self) -> usize {
        self.table.len()
    }

    fn snapshot(&self) -> Pieces<'_> {
        Box::new(self.table.write().chain(std::iter::once_with(|| self.watched.write())))
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<()> {
        let (mut table, rest) = Table::read(self.max_keys, snapshot)?;
        let (watched, rest) = Watched::read(self.max_watched, rest)?;
        if !rest.is_empty() {
            return Err(corrupt("is longer than its content"));
        }
        // Some keys are missing if the limits are lower than when the snapshot was taken.
        for (hash, _) in watched.keys() {
            if let Some(slot) = table.find(hash) {
                table.pin(slot, true);
            }
        }
        (self.table, self.watched) = (table, watched);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::tests::Plain;
    use super::*;
    use feedkit_core::alert::{Keeping, Key, RuleContext};
    use feedkit_core::effect::Effect;
    use feedkit_core::notification::{Audience, Notification, Severity};
    use feedkit_core::{EventKind, PostId, UserId};
    use rand::{RngExt, SeedableRng};

    /// Raises its count at each like.
    struct Count;

    impl AlertRule for Count {
        type State = u64;
        fn name(&self) -> &str {
            "count"
        }
        fn keeping(&self) -> Keeping {
            Keeping::Evictable { max_keys: 20 }
        }
        fn key<'e>(&self, effect: &'e Effect) -> Option<Key<'e>> {
            (effect.kind == EventKind::Like).then_some(Key::Post(&effect.post))
        }
        fn observe(&self, count: &mut u64, effect: &Effect, context: &mut dyn RuleContext) {
            *count += 1;
            context.raise(Notification {
                id: count.to_string(),
                kind: "COUNT".into(),
                severity: Severity::Info,
                audience: Audience::All,
                title: String::new(),
                data: Default::default(),
                occurred_at: effect.time,
            });
        }
    }

    #[test]
    fn blocks_give_the_same_as_single_effects() {
        for seed in 0..10 {
            let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
            let hasher = KeyHasher { seed };
            let mut rule = Evictable::new(Arc::new(Count), hasher, 20, 0);
            let mut plain = Plain::new(20);
            let effects: Vec<_> = (0..2_000)
                .map(|offset| Effect {
                    offset,
                    user: UserId::new("u").unwrap(),
                    post: PostId::new(format!("p{}", rng.random_range(0..40))).unwrap(),
                    kind: if rng.random_range(0..4) == 0 { EventKind::Unlike } else { EventKind::Like },
                    time: Timestamp::EPOCH,
                })
                .collect();
            let hashed: Vec<_> = effects.iter().map(|e| hasher.hash(e)).collect();
            let mut raised = Vec::new();
            rule.observe(7, &hashed, &mut raised);
            let got: Vec<_> = raised.into_iter().map(|r| (r.at, r.notification.id)).collect();
            let liked = |(_, e): &(usize, &HashedEffect<'_>)| e.effect.kind == EventKind::Like;
            let counted = hashed.iter().enumerate().filter(liked);
            let expected: Vec<_> = counted.map(|(i, e)| (7 + i, plain.count(e.post).to_string())).collect();
            assert_eq!(got, expected, "seed {seed}");
        }
    }
}
