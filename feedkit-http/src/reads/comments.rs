//! `GET /api/posts/{id}/comments`: the comments of a post, newest first.

use std::sync::Arc;

use poem::http::StatusCode;
use poem::{Request, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::cursor;
use super::params::Params;
use super::shared::{Reads, post_of};
use crate::Problem;
use crate::answer::{encode, encoded};
use feedkit_core::PostId;
use feedkit_core::queries::{Comment, CommentCursor};

/// A page of comments, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct CommentsAnswer {
    /// The comments.
    comments: Vec<Comment>,
    /// The cursor of the page after this one; null at the end.
    #[schema(required)]
    next: Option<String>,
}

pub(super) async fn comments(reads: Arc<Reads>, request: Request) -> Result<Response, Problem> {
    reads.admit(&request).await?;
    let post = post_of(&request)?;
    let params = Params::of(&request, &["limit", "cursor", "after"])?;
    let (limit, after) = (params.limit()?, params.after()?);
    let before = params.text("cursor").map(cursor::comment).transpose()?;
    reads.visible(after).await?;

    let page = match before {
        None => {
            let key = format!("comments:{post}:{limit}");
            reads.history(key, after.is_some(), page(&reads, &post, None, limit)).await?
        }
        // Later pages are rarely read twice, so they are not cached.
        Some(_) => encode(&page(&reads, &post, before, limit).await?),
    };
    Ok(encoded(StatusCode::OK, page))
}

async fn page(
    reads: &Reads,
    post: &PostId,
    before: Option<CommentCursor>,
    limit: usize,
) -> Result<CommentsAnswer, Problem> {
    // One extra row shows whether there is another page.
    let mut comments = reads.ask(reads.state.parts.queries.comments(post, before, limit + 1)).await?;
    let more = comments.len() > limit;
    comments.truncate(limit);
    let next = comments.last().filter(|_| more).map(cursor::of_comment);
    Ok(CommentsAnswer { comments, next })
}
