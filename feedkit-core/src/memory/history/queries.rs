//! The queries of users.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::commit::add;
use super::{Counts, MemoryHistory, PostState, State};
use crate::memory::counters::sort_ranked;
use crate::queries::{Activity, Bucket, Comment, CommentCursor, PostView, Queries, RankedPost};
use crate::{PostId, Result, Timestamp, UserId};

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
}

impl State {
    /// Ranks posts by the likes and the score that `of` returns. Leaves out posts without likes.
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
}

pub(super) fn likes(counts: &Counts) -> i64 {
    counts.get("like").copied().unwrap_or(0)
}
