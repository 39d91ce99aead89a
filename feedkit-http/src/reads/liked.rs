//! `GET /api/users/me/likes`: which of the given posts the caller likes.

use std::sync::Arc;

use poem::http::StatusCode;
use poem::{Request, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::params::Params;
use super::shared::Reads;
use crate::Problem;
use crate::answer::json;
use feedkit_core::PostId;

/// Maximum number of posts in one request.
pub(crate) const MAX_POSTS: usize = 100;

/// The given posts that the caller likes.
#[derive(Serialize, ToSchema)]
pub(crate) struct LikedAnswer {
    /// The posts in the order of the request, each once.
    liked: Vec<PostId>,
}

pub(super) async fn liked(reads: Arc<Reads>, request: Request) -> Result<Response, Problem> {
    let who = reads.identify(&request).await?;
    let params = Params::of(&request, &["posts", "after"])?;
    let posts = posts(params.text("posts"))?;
    reads.visible(params.after()?).await?;
    let liked = reads.ask(reads.state.parts.queries.liked(&who.user, &posts)).await?;
    Ok(json(StatusCode::OK, &LikedAnswer { liked }))
}

/// The posts in a comma-separated list.
fn posts(list: Option<&str>) -> Result<Vec<PostId>, Problem> {
    let invalid = |detail: String| Problem::invalid(detail).field("posts");
    let list =
        list.ok_or_else(|| invalid("`posts` is missing: a comma-separated list of post ids".into()))?;
    let mut posts: Vec<PostId> = Vec::new();
    for text in list.split(',') {
        let post = PostId::new(text).map_err(|e| invalid(format!("an id in `posts` {e}")))?;
        if posts.contains(&post) {
            continue;
        }
        if posts.len() == MAX_POSTS {
            return Err(invalid(format!("`posts` names more than {MAX_POSTS} posts")));
        }
        posts.push(post);
    }
    Ok(posts)
}
