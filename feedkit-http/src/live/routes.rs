//! The routes of the fan-out.

use std::sync::Arc;

use poem::endpoint::make;
use poem::{Route, get};

use super::{socket, stream};
use crate::state::State;

/// Adds `GET /ws` and `GET /api/notifications/stream`.
pub(crate) fn routes(route: Route, state: &Arc<State>) -> Route {
    let (for_sockets, for_streams) = (Arc::clone(state), Arc::clone(state));
    route.at("/ws", get(make(move |request| socket::open(Arc::clone(&for_sockets), request)))).at(
        "/api/notifications/stream",
        get(make(move |request| stream::open(Arc::clone(&for_streams), request))),
    )
}
