//! The routes for orchestrators and Prometheus.

use std::sync::Arc;

use poem::http::StatusCode;
use poem::http::header::CONTENT_TYPE;
use poem::{Endpoint, Request, Response};
use prometheus::{Encoder, TextEncoder};
use serde::Serialize;

use crate::Problem;
use crate::answer::json;
use crate::state::State;
use feedkit_core::health::{Component, Condition};

/// `GET /health/live`: the process answers.
pub(crate) struct Live;

/// `GET /health/ready`: whether the gateway can serve requests, with every component.
pub(crate) struct Ready(pub(crate) Arc<State>);

/// `GET /metrics`: all metrics of the registry, as text.
pub(crate) struct ShowMetrics(pub(crate) Arc<State>);

#[derive(Serialize)]
struct Alive {
    status: &'static str,
}

#[derive(Serialize)]
struct Readiness {
    status: &'static str,
    components: Vec<Component>,
}

impl Endpoint for Live {
    type Output = Response;

    async fn call(&self, _: Request) -> poem::Result<Response> {
        Ok(json(StatusCode::OK, &Alive { status: "live" }))
    }
}

impl Endpoint for Ready {
    type Output = Response;

    async fn call(&self, _: Request) -> poem::Result<Response> {
        let mut components = vec![match self.0.is_draining() {
            true => Component::down("gateway", "is stopping"),
            false => Component::up("gateway"),
        }];
        components.extend(self.0.parts.health.components());
        components.push(self.0.live.component());
        let worst = components.iter().map(|c| c.condition).max().unwrap_or(Condition::Up);
        let (code, status) = match worst {
            Condition::Up => (StatusCode::OK, "ready"),
            Condition::Degraded => (StatusCode::OK, "degraded"),
            Condition::Down => (StatusCode::SERVICE_UNAVAILABLE, "unready"),
        };
        Ok(json(code, &Readiness { status, components }))
    }
}

impl Endpoint for ShowMetrics {
    type Output = Response;

    async fn call(&self, _: Request) -> poem::Result<Response> {
        let (encoder, mut text) = (TextEncoder::new(), Vec::new());
        encoder.encode(&self.0.parts.metrics.gather(), &mut text).map_err(|error| {
            tracing::error!(%error, "the metrics cannot be written");
            Problem::internal("the metrics cannot be written; see the gateway's log")
        })?;
        Ok(Response::builder().header(CONTENT_TYPE, encoder.format_type()).body(text))
    }
}
