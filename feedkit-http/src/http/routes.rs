//! The endpoint of each path.

use std::sync::Arc;

use poem::{Endpoint, Response, Route, get, post};

use super::Outermost;
use super::batch::PostBatch;
use super::events::PostEvent;
use super::paths::{BATCH, EVENTS};
use super::probes::{Live, Ready, ShowMetrics};
use crate::state::State;
use crate::{live, openapi, page, reads};

/// All routes of a gateway, as one endpoint.
pub(crate) fn routes(state: &Arc<State>) -> impl Endpoint<Output = Response> + use<> {
    let route = Route::new()
        .at(EVENTS, post(PostEvent(Arc::clone(state))))
        .at(BATCH, post(PostBatch(Arc::clone(state))))
        .at("/health/live", get(Live))
        .at("/health/ready", get(Ready(Arc::clone(state))))
        .at("/metrics", get(ShowMetrics(Arc::clone(state))));
    let route = reads::routes(route, state);
    let route = openapi::routes(route, state);
    let route = live::routes(route, state);
    let route = page::routes(route, state);
    Outermost::new(Arc::clone(state), route)
}
