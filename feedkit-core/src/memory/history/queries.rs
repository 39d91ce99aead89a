use std::collections::BTreeMap;

use async_trait::async_trait;

use super::commit::add;
use super::{Counts, MemoryHistory, PostState, State};
use crate::memory::counters::sort_ranked;
use crate::queries::{
    Activity, Bucket, Comment, CommentCursor, PostView, Queries, RankedPost, RejectedRecord, Verification,
};
use crate::{Offset, Partition, PostId, Result, Timestamp, UserId};

/// Most differences put in words.
const MAX_DIFFERENCES: usize = 100;

#[async_trait]
impl Queries for MemoryHistory {
    async fn post(&self, post: &PostId) -> Result<Option<PostView>> {
        let state = self.state();
        let view = |p: &PostState| PostView::new(post.clone(), p.author.clone(), p.counts.clone());
        Ok(state.posts.get(post).map(view))
    }

    async fn top(&self, since: Option<Timestamp>, limit: usize) -> Result<Vec<RankedPost>> {
        let likes = |post: &PostState| match since {
            None => likes(&post.counts),
            Some(since) => post.hours.range(since.hour()..).map(|(_, counts)| likes(counts)).sum(),
        };
        Ok(self.state().ranked(limit, |post| (likes(post), likes(post) as f64)))
    }

    async fn trending(&self, now: Timestamp, limit: usize) -> Result<Vec<RankedPost>> {
        Ok(self.state().ranked(limit, |post| (likes(&post.counts), self.trending.at(post.score, now))))
    }

    async fn activity(
        &self,
        post: &PostId,
        by: Bucket,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Activity>> {
        let state = self.state();
        let mut buckets: BTreeMap<Timestamp, Counts> = BTreeMap::new();
        for (hour, counts) in state.posts.get(post).into_iter().flat_map(|p| &p.hours) {
            let start = by.start(*hour);
            if from <= start && start < to {
                let bucket = buckets.entry(start).or_default();
                counts.iter().for_each(|(kind, n)| add(bucket, kind, *n));
            }
        }
        buckets.values_mut().for_each(|counts| counts.retain(|_, n| *n != 0));
        buckets.retain(|_, counts| !counts.is_empty());
        Ok(buckets.into_iter().map(|(start, counts)| Activity { start, counts }).collect())
    }

    async fn comments(
        &self,
        post: &PostId,
        before: Option<CommentCursor>,
        limit: usize,
    ) -> Result<Vec<Comment>> {
        let state = self.state();
        let Some(known) = state.posts.get(post) else { return Ok(Vec::new()) };
        let all = known.comments.iter().rev();
        let before = before.map(|c| (c.time, c.id, c.user));
        let older = all.filter(|(key, _)| before.as_ref().is_none_or(|before| *key < before));
        let comment = |((time, id, user), text): (&(_, _, UserId), &Option<String>)| Comment {
            id: *id,
            user_id: user.clone(),
            text: text.clone(),
            timestamp: *time,
        };
        Ok(older.take(limit).map(comment).collect())
    }

    async fn liked(&self, user: &UserId, posts: &[PostId]) -> Result<Vec<PostId>> {
        let state = self.state();
        let likes = |post: &&PostId| state.posts.get(*post).is_some_and(|p| p.likers.contains_key(user));
        Ok(posts.iter().filter(likes).cloned().collect())
    }

    async fn likers(&self, post: &PostId, after: Option<&UserId>, limit: usize) -> Result<Vec<UserId>> {
        let state = self.state();
        let Some(known) = state.posts.get(post) else { return Ok(Vec::new()) };
        let rest = known.likers.keys().filter(|user| after.is_none_or(|after| *user > after));
        Ok(rest.take(limit).cloned().collect())
    }

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
        let record = |((partition, _, _), r): (&(Partition, Offset, u128), &crate::history::Rejected)| {
            RejectedRecord {
                partition: *partition,
                offset: r.offset,
                time: r.time,
                reason: r.fault.reason.as_str().to_owned(),
                field: r.fault.field.clone(),
                detail: r.fault.detail.clone(),
                value: String::from_utf8_lossy(&r.value).into_owned(),
                size: r.size as u64,
            }
        };
        Ok(rest.take(limit).map(record).collect())
    }

    async fn verify(&self) -> Result<Verification> {
        Ok(self.state().verify(self.policy))
    }
}

impl State {
    /// Posts by the likes and score that `of` gives; those without likes are left out.
    fn ranked(&self, limit: usize, of: impl Fn(&PostState) -> (i64, f64)) -> Vec<RankedPost> {
        let mut posts: Vec<_> = self
            .posts
            .iter()
            .map(|(id, post)| (id, of(post)))
            .filter(|(_, (likes, _))| *likes > 0)
            .map(|(id, (likes, score))| RankedPost { post_id: id.clone(), likes, score })
            .collect();
        sort_ranked(&mut posts);
        posts.truncate(limit);
        posts
    }

    fn verify(&self, policy: crate::effect::LikePolicy) -> Verification {
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
            if policy == crate::effect::LikePolicy::Unique && likes(&counts) != post.likers.len() as i64 {
                differ(format!("post {id} has {} likes and {} likers", likes(&counts), post.likers.len()));
            }
        }
        result
    }
}

fn likes(counts: &Counts) -> i64 {
    counts.get("like").copied().unwrap_or(0)
}
