//! Reading counts: the contract [`Counts`].

use async_trait::async_trait;

use crate::forward::forward;
use crate::queries::{PostView, RankedPost};
use crate::{PostId, Result, Timestamp};

/// Answers counts by post and kind, and which posts lead. A gateway calls it.
///
/// # Contract
///
/// - [`posts`](Counts::posts) returns one view for each requested post, in the same order. A post
///   that was never counted has no counts.
/// - Lists contain no posts without likes. Posts with equal scores are ordered by the bytes of
///   their ids, ascending.
/// - Trending scores are those at the requested time.
///
/// # Errors
///
/// [`Retriable`](crate::ErrorKind::Retriable) while the counts are unavailable or are being
/// rebuilt.
///
/// # Cancellation
///
/// All calls only read.
#[async_trait]
pub trait Counts: Send + Sync + 'static {
    /// Returns the counts of these posts, in their order.
    async fn posts(&self, posts: &[PostId]) -> Result<Vec<PostView>>;

    /// Returns the posts with the most likes.
    async fn top(&self, limit: usize) -> Result<Vec<RankedPost>>;

    /// Returns the posts with the highest trending score at `now`.
    async fn trending(&self, now: Timestamp, limit: usize) -> Result<Vec<RankedPost>>;
}

forward!(Counts {
    async fn posts(&self, posts: &[PostId]) -> Result<Vec<PostView>>;
    async fn top(&self, limit: usize) -> Result<Vec<RankedPost>>;
    async fn trending(&self, now: Timestamp, limit: usize) -> Result<Vec<RankedPost>>;
});
