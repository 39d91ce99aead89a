//! `GET /api/posts/top`: the most liked posts, of all time or of a window, and the trending posts.

use std::sync::Arc;
use std::time::Duration;

use poem::http::StatusCode;
use poem::{Request, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::params::Params;
use super::post::Source;
use super::shared::Reads;
use crate::Problem;
use crate::answer::{encoded, json};
use feedkit_core::queries::RankedPost;

/// A list of posts, highest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct TopAnswer {
    /// The posts.
    posts: Vec<RankedPost>,
    /// The source of the list.
    source: Source,
}

#[derive(Clone, Copy, PartialEq)]
enum By {
    Likes,
    Trending,
}

const HOUR: Duration = Duration::from_secs(3600);

/// The windows by name; `None` stands for all time.
const WINDOWS: &[(&str, Option<Duration>)] = &[
    ("1h", Some(HOUR)),
    ("24h", Some(HOUR.saturating_mul(24))),
    ("7d", Some(HOUR.saturating_mul(7 * 24))),
    ("30d", Some(HOUR.saturating_mul(30 * 24))),
    ("all", None),
];

pub(super) async fn top(reads: Arc<Reads>, request: Request) -> Result<Response, Problem> {
    reads.admit(&request).await?;
    let params = Params::of(&request, &["by", "window", "limit", "after"])?;
    let by = params.choice("by", &[("likes", By::Likes), ("trending", By::Trending)])?;
    let by = by.unwrap_or(By::Likes);
    let window = params.choice("window", WINDOWS)?.flatten();
    if by == By::Trending && window.is_some() {
        let detail = "`window` applies to `by=likes` only; in trending lists, older likes count less anyway";
        return Err(Problem::invalid(detail).field("window"));
    }
    let (limit, after) = (params.limit()?, params.after()?);
    reads.visible(after).await?;

    let now = reads.now();
    if window.is_none() {
        let counted = match by {
            By::Likes => reads.count(|counters| counters.top(limit)).await,
            By::Trending => reads.count(|counters| counters.trending(now, limit)).await,
        };
        if let Some(posts) = counted {
            return Ok(json(StatusCode::OK, &TopAnswer { posts, source: Source::Counters }));
        }
    }
    let key = match by {
        By::Likes => format!("top:{}:{limit}", params.text("window").unwrap_or("all")),
        By::Trending => format!("trending:{limit}"),
    };
    let list = async {
        let queries = &reads.state.parts.queries;
        let posts = match by {
            By::Likes => {
                let since = window.map(|window| now.saturating_sub(window));
                reads.ask(queries.top(since, limit)).await?
            }
            By::Trending => reads.ask(queries.trending(now, limit)).await?,
        };
        Ok(TopAnswer { posts, source: Source::History })
    };
    Ok(encoded(StatusCode::OK, reads.history(key, after.is_some(), list).await?))
}
