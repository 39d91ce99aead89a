//! Queries with faults.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use feedkit_core::inspect::{Inspect, RejectedRecord, Verification};
use feedkit_core::memory::MemoryHistory;
use feedkit_core::queries::{Activity, Bucket, Comment, CommentCursor, PostView, Queries, RankedPost};
use feedkit_core::{Error, Offset, Partition, PostId, Result, Timestamp, UserId};

use super::faults::faults;

faults! {
    /// The faults of a [`MutantQueries`].
    QueryFault {
        /// Faults that break [`Queries`].
        QUERIES {
            /// Fails for an unknown post.
            UnknownPostFails,
            /// Leaves out posts without counts.
            ForgetsIdlePosts,
            /// Forgets authors.
            ForgetsAuthors,
            /// Orders posts with equal scores by descending ids.
            ReversesTies,
            /// Returns more items than the limit.
            IgnoresLimit,
            /// Ignores `since`.
            IgnoresSince,
            /// Leaves out the first hour of the window.
            SinceNextHour,
            /// Computes trending scores for another time.
            TrendsInThePast,
            /// Includes the bucket at the end.
            ActivityToInclusive,
            /// Includes the bucket that only overlaps the start.
            ActivityFromWithin,
            /// Includes empty buckets.
            ActivityWithEmpty,
            /// Returns the newest bucket first.
            ActivityBackwards,
            /// Returns the oldest comment first.
            CommentsBackwards,
            /// Pages comments by time alone.
            CommentsByTime,
            /// Begins a page of comments with the last one of the previous page.
            CommentsRepeat,
            /// Returns liked posts in another order than the given one.
            LikedSorted,
            /// Returns the posts that any user likes.
            LikedByAnyone,
        }
        /// Faults that break [`Inspect`].
        INSPECT {
            /// Pages rejected records by offset alone.
            RejectedByOffset,
            /// Forgets the rejected bytes.
            RejectedWithoutValue,
            /// Reports a difference although there is none.
            VerifyCriesWolf,
            /// Forgets the field at fault.
            RejectedWithoutField,
            /// Does not count the raw events.
            VerifyLooksAtNothing,
        }
    }
}

/// Queries with one fault.
pub(crate) struct MutantQueries {
    inner: Arc<MemoryHistory>,
    fault: QueryFault,
}

impl MutantQueries {
    /// Creates a correct history, and queries on it with this fault.
    pub(crate) fn with_history(fault: QueryFault) -> (Arc<MemoryHistory>, Self) {
        let inner = Arc::new(MemoryHistory::new());
        (Arc::clone(&inner), MutantQueries { inner, fault })
    }

    fn is(&self, fault: QueryFault) -> bool {
        self.fault == fault
    }

    fn lists(&self, mut list: Vec<RankedPost>, limit: usize) -> Vec<RankedPost> {
        if self.is(QueryFault::ReversesTies) {
            list.sort_by(|a, b| b.likes.cmp(&a.likes).then_with(|| b.post_id.cmp(&a.post_id)));
        }
        if !self.is(QueryFault::IgnoresLimit) {
            list.truncate(limit);
        }
        list
    }
}

#[async_trait]
impl Queries for MutantQueries {
    async fn post(&self, post: &PostId) -> Result<Option<PostView>> {
        let view = self.inner.post(post).await?;
        Ok(match (self.fault, view) {
            (QueryFault::UnknownPostFails, None) => return Err(Error::invalid("no such post")),
            (QueryFault::ForgetsIdlePosts, Some(view)) if view.counts.is_empty() => None,
            (QueryFault::ForgetsAuthors, Some(view)) => Some(PostView { author: None, ..view }),
            (_, view) => view,
        })
    }

    async fn top(&self, since: Option<Timestamp>, limit: usize) -> Result<Vec<RankedPost>> {
        let since = match self.fault {
            QueryFault::IgnoresSince => None,
            QueryFault::SinceNextHour => {
                since.map(|t| t.saturating_add(Duration::from_millis(3_599_999)).hour())
            }
            _ => since,
        };
        Ok(self.lists(self.inner.top(since, usize::MAX).await?, limit))
    }

    async fn trending(&self, now: Timestamp, limit: usize) -> Result<Vec<RankedPost>> {
        let now = if self.is(QueryFault::TrendsInThePast) { now.day() } else { now };
        self.inner.trending(now, limit).await
    }

    async fn activity(
        &self,
        post: &PostId,
        by: Bucket,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Activity>> {
        let (from, to) = match self.fault {
            QueryFault::ActivityToInclusive => (from, to.saturating_add(Duration::from_millis(1))),
            QueryFault::ActivityFromWithin => (by.start(from), to),
            _ => (from, to),
        };
        let mut buckets = self.inner.activity(post, by, from, to).await?;
        if self.is(QueryFault::ActivityWithEmpty) && !buckets.is_empty() {
            let start =
                by.start(buckets[buckets.len() - 1].start.saturating_add(Duration::from_secs(86_400)));
            buckets.push(Activity { start, counts: Default::default() });
        }
        if self.is(QueryFault::ActivityBackwards) {
            buckets.reverse();
        }
        Ok(buckets)
    }

    async fn comments(
        &self,
        post: &PostId,
        before: Option<CommentCursor>,
        limit: usize,
    ) -> Result<Vec<Comment>> {
        let all = self.inner.comments(post, None, usize::MAX).await?;
        let cursor = |c: &Comment| CommentCursor { time: c.timestamp, id: c.id, user: c.user_id.clone() };
        let mut page: Vec<_> = all
            .into_iter()
            .filter(|c| {
                before.as_ref().is_none_or(|before| match self.fault {
                    QueryFault::CommentsByTime => c.timestamp < before.time,
                    QueryFault::CommentsRepeat => cursor(c) <= *before,
                    QueryFault::CommentsBackwards => cursor(c) > *before,
                    _ => cursor(c) < *before,
                })
            })
            .collect();
        if self.is(QueryFault::CommentsBackwards) {
            page.reverse();
        }
        page.truncate(limit);
        Ok(page)
    }

    async fn liked(&self, user: &UserId, posts: &[PostId]) -> Result<Vec<PostId>> {
        let mut liked = self.inner.liked(user, posts).await?;
        if self.is(QueryFault::LikedByAnyone) {
            let mut by_anyone = Vec::new();
            for post in posts {
                let likes = self.inner.post(post).await?.map_or(0, |view| view.likes);
                by_anyone.extend((likes > 0).then(|| post.clone()));
            }
            liked = by_anyone;
        }
        if self.is(QueryFault::LikedSorted) {
            liked.sort();
        }
        Ok(liked)
    }
}

#[async_trait]
impl Inspect for MutantQueries {
    async fn rejected(
        &self,
        after: Option<(Partition, Offset)>,
        limit: usize,
    ) -> Result<Vec<RejectedRecord>> {
        let mut all = self.inner.rejected(None, usize::MAX).await?;
        all.retain(|r| {
            after.is_none_or(|after| match self.fault {
                QueryFault::RejectedByOffset => r.offset > after.1,
                _ => (r.partition, r.offset) > after,
            })
        });
        if self.is(QueryFault::RejectedWithoutValue) {
            all.iter_mut().for_each(|r| r.value.clear());
        }
        if self.is(QueryFault::RejectedWithoutField) {
            all.iter_mut().for_each(|r| r.field = None);
        }
        all.truncate(limit);
        Ok(all)
    }

    async fn verify(&self) -> Result<Verification> {
        let mut found = self.inner.verify().await?;
        if self.is(QueryFault::VerifyLooksAtNothing) {
            found = Verification::default();
        }
        if self.is(QueryFault::VerifyCriesWolf) && found.events > 0 {
            found.differences.push("wolf".into());
            found.difference_count += 1;
        }
        Ok(found)
    }
}
