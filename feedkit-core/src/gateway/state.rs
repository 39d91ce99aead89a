//! What all requests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use poem::Request;
use poem::http::header;

use super::live::Hub;
use super::{Parts, Problem, Settings};
use crate::access::Identity;

/// What all requests share.
pub(crate) struct State {
    pub(crate) parts: Parts,
    pub(crate) settings: Settings,
    /// Sockets and streams.
    pub(crate) live: Arc<Hub>,
    /// Set when the gateway stops: it is not ready any more.
    draining: AtomicBool,
}

impl State {
    pub(crate) fn new(parts: Parts, settings: Settings) -> Self {
        State { live: Hub::new(&parts, &settings), parts, settings, draining: AtomicBool::new(false) }
    }

    /// Who bears the request's token.
    pub(crate) async fn identify(&self, request: &Request) -> Result<Identity, Problem> {
        let token = request.header(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        let token = token.ok_or_else(|| Problem::unauthenticated("there is no Bearer token"))?;
        let verified = self.parts.tokens.verify(token.trim(), self.parts.clock.now()).await;
        verified.map_err(|error| Problem::unauthenticated(error.to_string()))
    }

    /// From now on the gateway is not ready.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the gateway stops.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}
