//! Counts that can be asked in real time.

use async_trait::async_trait;

use crate::forward::forward;
use crate::queries::{PostView, RankedPost};
use crate::{PostId, Result, Timestamp};

/// Answers counts by post and kind, and which posts lead. A gateway asks it.
///
/// # Contract
///
/// - [`posts`](Counts::posts) answers one view for each post asked for, in the same order. A post that was never
///   counted has no counts.
/// - Ties in lists are ordered by the bytes of the post's id, ascending. Posts with no likes are in no list.
/// - Trending scores are those at the time asked for.
///
/// # Errors
///
/// [`Retriable`](crate::ErrorKind::Retriable) while the counts cannot be reached, or are being rebuilt.
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
