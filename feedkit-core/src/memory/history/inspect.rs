//! The queries of operators.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;

use super::commit::add;
use super::queries::likes;
use super::{Counts, MemoryHistory, PostState, State};
use crate::backend::verification::{Differences, Sum};
use crate::effect::LikePolicy;
use crate::history::Rejected;
use crate::inspect::{Inspect, RejectedRecord, Verification};
use crate::{Offset, Partition, PostId, Result};

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
        let mut differences = Differences::default();
        let posts = sums.len() as u64;
        for (id, sum) in sums {
            let none = PostState::default();
            let post = self.posts.get(id).unwrap_or(&none);
            let kinds: BTreeSet<&String> = sum.keys().chain(post.counts.keys()).collect();
            for kind in kinds {
                let [counted, stored] = [&sum, &post.counts].map(|counts| counts.get(kind).copied());
                let key = format_args!("{id} {kind}");
                differences.sum(Sum::Total, key, counted.unwrap_or(0), stored.unwrap_or(0));
            }
            if policy == LikePolicy::Unique {
                differences.sum(Sum::Likers, id, post.likers.len() as i64, likes(&post.counts));
            }
        }
        differences.into_verification(self.events.len() as u64, posts)
    }
}
