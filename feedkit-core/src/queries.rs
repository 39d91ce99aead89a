//! What users ask of the history.

use async_trait::async_trait;
use serde::Serialize;

use crate::forward::forward;
use crate::{EventId, PostId, Result, Timestamp, UserId};

/// Answers what users ask of a history. A gateway asks it.
///
/// # Contract
///
/// - Every answer reflects whole commits only.
/// - Lists are complete and repeat nothing when paged by their cursors while nothing is written.
/// - Ties in lists of posts are ordered by the bytes of the id, ascending.
/// - Asking about a post or user nobody has heard of is not an error.
///
/// # Errors
///
/// [`Retriable`](crate::ErrorKind::Retriable) while the history cannot be reached.
///
/// # Cancellation
///
/// All calls only read.
#[async_trait]
pub trait Queries: Send + Sync + 'static {
    /// One post; `None` if no event ever named it with an effect.
    async fn post(&self, post: &PostId) -> Result<Option<PostView>>;

    /// The posts with the most likes, first the most liked. With `since`, only effects from that hour on count.
    async fn top(&self, since: Option<Timestamp>, limit: usize) -> Result<Vec<RankedPost>>;

    /// The posts with the highest trending score at `now`.
    async fn trending(&self, now: Timestamp, limit: usize) -> Result<Vec<RankedPost>>;

    /// Net counts of one post in the buckets that start within `from..to`, oldest first; empty ones are left out.
    async fn activity(
        &self,
        post: &PostId,
        by: Bucket,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Activity>>;

    /// The comments on one post, newest first, those before `before`. Of one time the greater id comes first, then
    /// the greater user, so that a [`CommentCursor`] compares as the list is ordered.
    async fn comments(
        &self,
        post: &PostId,
        before: Option<CommentCursor>,
        limit: usize,
    ) -> Result<Vec<Comment>>;

    /// Those of `posts` that `user` likes, in the order given.
    async fn liked(&self, user: &UserId, posts: &[PostId]) -> Result<Vec<PostId>>;
}

/// One post as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PostView {
    /// The post.
    pub post_id: PostId,
    /// Who published it.
    pub author: Option<UserId>,
    /// Likes that stand.
    pub likes: i64,
    /// Comments.
    pub comments: i64,
    /// All counts by kind, these two included.
    pub counts: std::collections::BTreeMap<String, i64>,
}

impl PostView {
    /// The view of a post with these counts.
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

/// A place in a list of posts.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct RankedPost {
    /// The post.
    pub post_id: PostId,
    /// Likes; within the window where one was asked for.
    pub likes: i64,
    /// What the list is ordered by: the likes, or the trending score as of the time asked.
    pub score: f64,
}

/// The width of an activity bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bucket {
    /// UTC hours.
    Hour,
    /// UTC days.
    Day,
}

impl Bucket {
    /// The start of the bucket that `time` lies in.
    pub fn start(self, time: Timestamp) -> Timestamp {
        match self {
            Bucket::Hour => time.hour(),
            Bucket::Day => time.day(),
        }
    }
}

/// What happened to a post in one bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Activity {
    /// The bucket's start.
    pub start: Timestamp,
    /// Net counts by kind.
    pub counts: std::collections::BTreeMap<String, i64>,
}

/// A comment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Comment {
    /// The event's id.
    pub id: EventId,
    /// Who wrote it.
    pub user_id: UserId,
    /// What they wrote.
    #[cfg_attr(feature = "schema", schema(required))]
    pub text: Option<String>,
    /// When.
    pub timestamp: Timestamp,
}

/// A place in a post's comments: the last one seen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CommentCursor {
    /// Its time.
    pub time: Timestamp,
    /// Its id.
    pub id: EventId,
    /// Its user: ids are unique only within one user's events.
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
