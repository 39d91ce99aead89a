//! A gateway, put together.

use std::sync::Arc;

use super::state::State;
use super::{Parts, Settings};

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
}
