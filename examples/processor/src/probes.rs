//! Serves `/health/live`, `/health/ready` and `/metrics`.

use std::sync::Arc;
use std::time::Duration;

use feedkit_core::{Error, Result};
use feedkit_http::server::{Server, ServerOptions};
use poem::http::StatusCode;
use poem::web::Data;
use poem::{EndpointExt, Response, Route, get, handler};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::health;
use crate::metrics::{Metrics, Snapshot};

type Look = Arc<dyn Fn() -> Snapshot + Send + Sync>;

/// Answers from the state that `look` returns, until `stop`.
pub async fn serve(listener: TcpListener, look: Look, stop: CancellationToken) -> Result<()> {
    let metrics = Arc::new(Metrics::new().map_err(|e| Error::fatal(format!("metrics: {e}")))?);
    let mut options = ServerOptions::default();
    options.max_connections = MAX_CONNECTIONS;
    options.shutdown_deadline = LAST;
    Server::new(routes().data(look).data(metrics), options).run(listener, stop).await
}

/// Maximum number of open connections: a few probes, and some scrapers.
const MAX_CONNECTIONS: usize = 256;

/// How long open requests may take when the server stops.
const LAST: Duration = Duration::from_secs(1);

fn routes() -> Route {
    Route::new().at("/health/live", get(live)).at("/health/ready", get(ready)).at("/metrics", get(shown))
}

#[handler]
fn live() -> Response {
    answer(StatusCode::OK, &json!({ "status": "live" }))
}

#[handler]
fn ready(look: Data<&Look>) -> Response {
    let components = {
        let now = look();
        health::components(&now.pipeline, &now.source)
    };
    let (status, word) = match health::is_ready(&components) {
        true => (StatusCode::OK, "ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "unready"),
    };
    answer(status, &json!({ "status": word, "components": components }))
}

#[handler]
fn shown(look: Data<&Look>, metrics: Data<&Arc<Metrics>>) -> Response {
    match metrics.text(&look()) {
        Ok(text) => Response::builder().content_type("text/plain; version=0.0.4").body(text),
        Err(error) => {
            tracing::error!(%error, "could not write the metrics");
            Response::builder().status(StatusCode::INTERNAL_SERVER_ERROR).finish()
        }
    }
}

fn answer(status: StatusCode, body: &serde_json::Value) -> Response {
    Response::builder().status(status).content_type("application/json").body(body.to_string())
}
