//! A gateway, put together.

use std::sync::Arc;

use poem::Route;
use tokio_util::sync::CancellationToken;

use super::state::State;
use super::{Component, Parts, Settings, live};
use crate::Result;

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
    /// The routes.
    pub fn routes(&self) -> Route {
        live::routes(Route::new(), &self.state)
    }

    /// Does what goes on beside requests, until `shutdown`; then sends sockets and streams away.
    pub async fn attend(&self, shutdown: CancellationToken) -> Result<()> {
        self.state.live.run(shutdown).await?;
        self.state.live.close().await;
        Ok(())
    }

    /// How the fan-out is.
    pub fn component(&self) -> Component {
        self.state.live.component()
    }
}
