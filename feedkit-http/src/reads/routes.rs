//! The path of each read.

use std::future::Future;
use std::sync::Arc;

use poem::{Endpoint, Request, Response, Route};

use super::shared::Reads;
use super::{activity, alerts, comments, liked, post, top};
use crate::Problem;
use crate::state::State;

/// Adds the reads to `route`.
pub(crate) fn routes(route: Route, state: &Arc<State>) -> Route {
    let reads = Arc::new(Reads::new(Arc::clone(state)));
    route
        .at("/api/posts/top", poem::get(read(&reads, top::top)))
        .at("/api/posts/:id", poem::get(read(&reads, post::post)))
        .at("/api/posts/:id/comments", poem::get(read(&reads, comments::comments)))
        .at("/api/posts/:id/activity", poem::get(read(&reads, activity::activity)))
        .at("/api/users/me/likes", poem::get(read(&reads, liked::liked)))
        .at("/api/alerts", poem::get(read(&reads, alerts::alerts)))
}

fn read<F, Fut>(reads: &Arc<Reads>, handle: F) -> impl Endpoint<Output = Response> + use<F, Fut>
where
    F: Fn(Arc<Reads>, Request) -> Fut + Send + Sync,
    Fut: Future<Output = Result<Response, Problem>> + Send,
{
    let reads = Arc::clone(reads);
    poem::endpoint::make(move |request| handle(Arc::clone(&reads), request))
}
