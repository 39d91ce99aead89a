//! Reads the counts that clients listen to, and hands out what changed.

use std::future::Future;

use feedkit_core::pipeline::Backoff;
use feedkit_core::queries::PostView;
use feedkit_core::{PostId, Result};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::hub::Hub;
use super::tolerance::Tolerance;
use crate::in_time::in_time;

/// How many posts the channel `top` has.
const TOP: usize = 10;

/// How many posts to read at once.
const CHUNK: usize = 1000;

/// Reads counts repeatedly while a client listens, until `shutdown`.
pub(super) async fn follow(hub: &Hub, shutdown: &CancellationToken) {
    let asking = async {
        let backoff = Backoff { first: hub.options.live.counts_every, ..Backoff::default() };
        let mut tolerance = Tolerance::new(backoff, |trouble| hub.counts_trouble(trouble));
        let mut next_round = Instant::now();
        loop {
            let whole_round = tokio::select! {
                () = sleep_until(next_round), if !hub.counts.is_idle() => true,
                () = hub.counts.wanted.notified() => false,
            };
            let (posts, of_top) = hub.counts.ask(whole_round);
            let pause = match ask(hub, posts, of_top).await {
                Ok(()) => {
                    tolerance.succeeded();
                    hub.options.live.counts_every
                }
                Err(error) => {
                    tracing::debug!(%error, "counts cannot be read; trying again");
                    tolerance.failed(&error)
                }
            };
            if whole_round {
                next_round = Instant::now() + pause;
            }
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = asking => {}
    }
}

async fn ask(hub: &Hub, mut posts: Vec<PostId>, of_top: bool) -> Result<()> {
    if of_top {
        let top = within(hub, top(hub)).await?;
        let views = within(hub, views(hub, &top)).await?;
        posts.retain(|post| !top.contains(post));
        hub.counts.board().take(views, Some(top));
    }
    for chunk in posts.chunks(CHUNK) {
        let views = within(hub, views(hub, chunk)).await?;
        hub.counts.board().take(views, None);
    }
    Ok(())
}

async fn within<T>(hub: &Hub, answer: impl Future<Output = Result<T>>) -> Result<T> {
    in_time(hub.options.answer_timeout, "the counts", answer).await
}

async fn top(hub: &Hub) -> Result<Vec<PostId>> {
    let ranked = match &hub.parts.counters {
        Some(counters) => counters.top(TOP).await?,
        None => hub.parts.queries.top(None, TOP).await?,
    };
    Ok(ranked.into_iter().map(|ranked| ranked.post_id).collect())
}

async fn views(hub: &Hub, posts: &[PostId]) -> Result<Vec<PostView>> {
    if posts.is_empty() {
        return Ok(Vec::new());
    }
    let Some(counters) = &hub.parts.counters else {
        let mut views = Vec::with_capacity(posts.len());
        for post in posts {
            let view = hub.parts.queries.post(post).await?;
            views.push(view.unwrap_or_else(|| PostView::new(post.clone(), None, [])));
        }
        return Ok(views);
    };
    counters.posts(posts).await
}
