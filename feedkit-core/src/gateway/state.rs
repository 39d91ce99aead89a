//! What all requests share.

use std::sync::atomic::{AtomicBool, Ordering};

use poem::http::header;

use super::{Parts, Problem, Settings};
use crate::ErrorKind;
use crate::access::Identity;

/// What all requests share.
pub(crate) struct State {
    pub(crate) parts: Parts,
    pub(crate) settings: Settings,
    /// Set when the gateway stops: it is not ready any more.
    draining: AtomicBool,
}

impl State {
    pub(crate) fn new(parts: Parts, settings: Settings) -> Self {
        State { parts, settings, draining: AtomicBool::new(false) }
    }

    /// From now on the gateway is not ready.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the gateway stops.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Who sends this request, by its bearer token.
    pub(crate) async fn identify(&self, request: &poem::Request) -> Result<Identity, Problem> {
        let given = request.headers().get(header::AUTHORIZATION);
        let given = given.ok_or_else(|| Problem::unauthenticated("a bearer token is needed"))?;
        let token = given.to_str().ok().and_then(|text| text.split_once(' '));
        let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let (_, token) = token
            .ok_or_else(|| Problem::unauthenticated("the Authorization header holds no bearer token"))?;
        let verified = self.parts.tokens.verify(token.trim(), self.parts.clock.now()).await;
        verified.map_err(|error| match error.kind() {
            ErrorKind::Invalid => Problem::unauthenticated(error.to_string()),
            _ => error.into(),
        })
    }
}
