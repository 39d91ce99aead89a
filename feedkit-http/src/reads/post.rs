//! `GET /api/posts/{id}`: one post as it stands.

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

/// One post as it stands.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PostAnswer {
    /// The post.
    post_id: PostId,
    /// Who published it; null while nobody has.
    #[schema(required)]
    author: Option<UserId>,
    /// Likes that stand.
    likes: i64,
    /// Comments.
    comments: i64,
    /// All counts by kind, likes (`like`) and comments (`comment`) included; what is zero is left out.
    counts: BTreeMap<String, i64>,
    /// Where the counts come from.
    source: Source,
}

/// Where an answer comes from.
#[derive(Serialize, ToSchema, Clone, Copy)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Source {
    /// The real-time counters.
    Counters,
    /// The history: the counters are away, being rebuilt, or not asked for this.
    History,
}

/// Answers for a post that nobody has named yet too, with zeros and no author: it may just be about to be written.
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
