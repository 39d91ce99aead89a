//! Queries of users: the contract [`Queries`].

use async_trait::async_trait;
use serde::Serialize;

use crate::forward::forward;
use crate::{EventId, PostId, Result, Timestamp, UserId};

/// Answers the queries of users about a history. A gateway calls it.
///
/// # Contract
///
/// - Every answer includes whole commits only.
/// - Pages that follow each other by their cursors are complete and contain no item twice, if
///   nothing is written meanwhile.
/// - Posts with equal scores are ordered by the bytes of their ids, ascending.
/// - A query about an unknown post or user is not an error.
///
/// # Errors
///
/// [`Retriable`](crate::ErrorKind::Retriable) while the history is unavailable.
///
/// # Cancellation
///
/// All calls only read.
#[async_trait]
pub trait Queries: Send + Sync + 'static {
    /// Returns one post, or `None` if no event with an effect ever named it.
    async fn post(&self, post: &PostId) -> Result<Option<PostView>>;

    /// Returns the posts with the most likes, the most liked first. With `since`, only effects from
    /// the hour of `since` on count.
    async fn top(&self, since: Option<Timestamp>, limit: usize) -> Result<Vec<RankedPost>>;

    /// Returns the posts with the highest trending score at `now`.
    async fn trending(&self, now: Timestamp, limit: usize) -> Result<Vec<RankedPost>>;

    /// Returns the net counts of one post in the buckets that start within `from..to`, the oldest
    /// first. Empty buckets are left out.
    async fn activity(
        &self,
        post: &PostId,
        by: Bucket,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Activity>>;

    /// Returns the comments on one post, the newest first, starting after `before`. Comments with
    /// equal times are ordered by id and then by user, both descending. Comparing two
    /// [`CommentCursor`]s therefore compares their places in the list.
    async fn comments(
        &self,
        post: &PostId,
        before: Option<CommentCursor>,
        limit: usize,
    ) -> Result<Vec<Comment>>;

    /// Returns the posts of `posts` that `user` likes, in the given order.
    async fn liked(&self, user: &UserId, posts: &[PostId]) -> Result<Vec<PostId>>;
}

/// The current state of a post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PostView {
    /// The post.
    pub post_id: PostId,
    /// The user who published it.
    pub author: Option<UserId>,
    /// The number of users who like it.
    pub likes: i64,
    /// The number of comments.
    pub comments: i64,
    /// All counts by kind, including likes and comments.
    pub counts: std::collections::BTreeMap<String, i64>,
}

impl PostView {
    /// Creates the view of a post with these counts.
    pub fn new(
        post_id: PostId,
        author: Option<UserId>,
        counts: impl IntoIterator<Item = (String, i64)>,
    ) -> Self {
        let counts: std::collections::BTreeMap<_, _> = counts.into_iter().filter(|(_, n)| *n != 0).collect();
        let of = |kind: &str| counts.get(kind).copied().unwrap_or(0);
        PostView { likes: of("like"), comments: of("comment"), post_id, author, counts }
    }
}

/// A post in a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct RankedPost {
    /// The post.
    pub post_id: PostId,
    /// The number of likes, within the window if the query has one.
    pub likes: i64,
    /// The score that the list is ordered by: the likes, or the trending score at the requested
    /// time.
    pub score: f64,
}

/// The width of an activity bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bucket {
    /// Hours in UTC.
    Hour,
    /// Days in UTC.
    Day,
}

impl Bucket {
    /// The start of the bucket that contains `time`.
    pub fn start(self, time: Timestamp) -> Timestamp {
        match self {
            Bucket::Hour => time.hour(),
            Bucket::Day => time.day(),
        }
    }
}

/// The activity on a post in one bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Activity {
    /// The start of the bucket.
    pub start: Timestamp,
    /// Net counts by kind.
    pub counts: std::collections::BTreeMap<String, i64>,
}

/// A comment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Comment {
    /// The id of the event.
    pub id: EventId,
    /// The user who wrote it.
    pub user_id: UserId,
    /// The text.
    #[cfg_attr(feature = "schema", schema(required))]
    pub text: Option<String>,
    /// When it was written.
    pub timestamp: Timestamp,
}

/// A place in the list of comments: the last comment of the previous page.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CommentCursor {
    /// The time of the comment.
    pub time: Timestamp,
    /// The id of the comment.
    pub id: EventId,
    /// The user who wrote it. Ids are unique only among the events of one user.
    pub user: UserId,
}

forward!(Queries {
    async fn post(&self, post: &PostId) -> Result<Option<PostView>>;
    async fn top(&self, since: Option<Timestamp>, limit: usize) -> Result<Vec<RankedPost>>;
    async fn trending(&self, now: Timestamp, limit: usize) -> Result<Vec<RankedPost>>;
    async fn activity(
        &self,
        post: &PostId,
        by: Bucket,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Activity>>;
    async fn comments(
        &self,
        post: &PostId,
        before: Option<CommentCursor>,
        limit: usize,
    ) -> Result<Vec<Comment>>;
    async fn liked(&self, user: &UserId, posts: &[PostId]) -> Result<Vec<PostId>>;
});
