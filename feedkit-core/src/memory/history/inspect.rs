//! What an operator asks.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::commit::add;
use super::queries::likes;
use super::{Counts, MemoryHistory, State};
use crate::effect::LikePolicy;
use crate::history::Rejected;
use crate::inspect::{Inspect, RejectedRecord, Verification};
use crate::{Offset, Partition, PostId, Result};

/// Maximum number of differences that are put in words.
const MAX_DIFFERENCES: usize = 100;

#[async_trait]
impl Inspect for MemoryHistory {
    async fn rejected(
        &self,
        after: Option<(Partition, Offset)>,
        limit: usize,
    ) -> Result<Vec<RejectedRecord>> {
        let state = self.state();
        let rest = state
            .rejected
            .iter()
            .filter(|((partition, offset, _), _)| after.is_none_or(|after| (*partition, *offset) > after));
        let record = |((partition, _, _), r): (&(Partition, Offset, u128), &Rejected)| RejectedRecord {
            partition: *partition,
            offset: r.offset,
            time: r.time,
            reason: r.fault.reason.as_str().to_owned(),
            field: r.fault.field.clone(),
            detail: r.fault.detail.clone(),
            value: String::from_utf8_lossy(&r.value).into_owned(),
            size: r.size as u64,
        };
        Ok(rest.take(limit).map(record).collect())
    }

    async fn verify(&self) -> Result<Verification> {
        Ok(self.state().verify(self.policy))
    }
}

impl State {
    fn verify(&self, policy: LikePolicy) -> Verification {
        let mut sums: BTreeMap<&PostId, Counts> =
            self.posts.iter().map(|(id, post)| (id, post.baseline.clone())).collect();
        for kept in self.events.values().filter(|k| k.effective) {
            if let Some((kind, by)) = kept.event.kind.delta() {
                add(sums.entry(&kept.event.post).or_default(), kind, by);
            }
        }
        let mut result = Verification {
            events: self.events.len() as u64,
            posts: sums.len() as u64,
            ..Verification::default()
        };
        let mut differ = |detail: String| {
            result.difference_count += 1;
            if result.differences.len() < MAX_DIFFERENCES {
                result.differences.push(detail);
            }
        };
        for (id, mut sum) in sums {
            sum.retain(|_, n| *n != 0);
            let Some(post) = self.posts.get(id) else {
                differ(format!("post {id} has events, but no totals"));
                continue;
            };
            let mut counts = post.counts.clone();
            counts.retain(|_, n| *n != 0);
            if counts != sum {
                differ(format!("post {id} has totals {counts:?}, its events come to {sum:?}"));
            }
            if policy == LikePolicy::Unique && likes(&counts) != post.likers.len() as i64 {
                differ(format!("post {id} has {} likes and {} likers", likes(&counts), post.likers.len()));
            }
        }
        result
    }
}
