//! Serves `/health/live`, `/health/ready` and `/metrics`.

use std::sync::Arc;
use std::time::Duration;

use feedkit_core::{Error, Result};
use poem::http::StatusCode;
use poem::listener::TcpAcceptor;
use poem::web::Data;
use poem::{EndpointExt, Response, Route, Server, get, handler};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::health;
use crate::metrics::{Metrics, Snapshot};

type Look = Arc<dyn Fn() -> Snapshot + Send + Sync>;

/// Answers from the state that `look` returns, until `stop`.
pub async fn serve(listener: TcpListener, look: Look, stop: CancellationToken) -> Result<()> {
    let metrics = Arc::new(Metrics::new().map_err(|e| Error::fatal(format!("metrics: {e}")))?);
    let acceptor = TcpAcceptor::from_tokio(listener).map_err(fault)?;
    let server = Server::new_with_acceptor(acceptor);
    let routes = routes().data(look).data(metrics);
    server.run_with_graceful_shutdown(routes, stop.cancelled_owned(), Some(LAST)).await.map_err(fault)
}

/// How long open requests may take when the server stops.
const LAST: Duration = Duration::from_secs(1);

fn routes() -> Route {
    Route::new().at("/health/live", get(live)).at("/health/ready", get(ready)).at("/metrics", get(shown))
}

fn fault(error: std::io::Error) -> Error {
    Error::fatal(format!("the server of health and metrics: {error}")).with_source(error)
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
