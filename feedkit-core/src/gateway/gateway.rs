//! A gateway, put together.

use std::sync::Arc;

use super::state::State;
use super::{Parts, Settings, openapi, reads};

/// A gateway: routes to mount in a poem application, or to serve alone.
#[derive(Clone)]
pub struct Gateway {
    state: Arc<State>,
}

impl Gateway {
    /// A gateway of these parts.
    pub fn new(parts: Parts, settings: Settings) -> Self {
        Gateway { state: Arc::new(State::new(parts, settings)) }
    }

    /// The routes, to mount in a poem application.
    pub fn routes(&self) -> impl poem::Endpoint<Output = poem::Response> + use<> {
        let route = reads::routes(poem::Route::new(), &self.state);
        openapi::routes(route, &self.state)
    }
}
