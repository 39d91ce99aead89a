//! `GET /api/posts/{id}`: one post.

use std::collections::BTreeMap;
use std::sync::Arc;

use poem::http::StatusCode;
use poem::{Request, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::params::Params;
use super::shared::{Reads, post_of};
use crate::Problem;
use crate::answer::json;
use feedkit_core::queries::PostView;
use feedkit_core::{PostId, UserId};

/// One post.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PostAnswer {
    /// The post.
    post_id: PostId,
    /// The author; null until the post is published.
    #[schema(required)]
    author: Option<UserId>,
    /// The current number of likes.
    likes: i64,
    /// The number of comments.
    comments: i64,
    /// All counts by kind, including `like` and `comment`. Zero counts are omitted.
    counts: BTreeMap<String, i64>,
    /// The source of the counts.
    source: Source,
}

/// The source of an answer.
#[derive(Serialize, ToSchema, Clone, Copy)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Source {
    /// The real-time counters.
    Counters,
    /// The history. The counters do not answer, are being rebuilt, or do not serve this read.
    History,
}

/// Also answers for an unknown post, with zero counts and no author, because its events may be on
/// their way.
pub(super) async fn post(reads: Arc<Reads>, request: Request) -> Result<Response, Problem> {
    reads.admit(&request).await?;
    let post = post_of(&request)?;
    let after = Params::of(&request, &["after"])?.after()?;
    reads.visible(after).await?;

    let posts = std::slice::from_ref(&post);
    let counted = reads.count(|counters| counters.posts(posts)).await.and_then(|mut views| views.pop());
    let (view, source) = match counted {
        Some(view) => (view, Source::Counters),
        None => {
            let view = reads.ask(reads.state.parts.queries.post(&post)).await?;
            (view.unwrap_or_else(|| PostView::new(post.clone(), None, [])), Source::History)
        }
    };
    let PostView { post_id, author, likes, comments, counts } = view;
    Ok(json(StatusCode::OK, &PostAnswer { post_id, author, likes, comments, counts, source }))
}
