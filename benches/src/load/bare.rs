//! The bare limit: a poem handler that checks the same token, reads the same JSON, and answers.
//!
//! With Kafka, it first gives the event to a producer and waits for the acknowledgement. It has no
//! bounds, no rate limits, no ids and no metrics.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use poem::http::StatusCode;
use poem::listener::TcpListener;
use poem::{Body, EndpointExt, Request, Response, Route, Server, handler, web::Data};
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde::Deserialize;

struct Bare {
    key: DecodingKey,
    validation: Validation,
    producer: Option<FutureProducer>,
}

#[derive(Deserialize)]
struct Claims {
    #[allow(dead_code, reason = "it is parsed only to check it")]
    sub: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "they are parsed only to check them")]
struct Event {
    user_id: String,
    post_id: String,
    r#type: String,
}

/// Serves requests until the process ends.
pub async fn serve(
    listen: SocketAddr,
    secret: &Path,
    kafka: Option<(&str, &str)>,
) -> Result<(), Box<dyn std::error::Error>> {
    let secret = std::fs::read(secret)?;
    let key = DecodingKey::from_secret(secret.strip_suffix(b"\n").unwrap_or(&secret));
    let producer = match kafka {
        Some((bootstrap, _)) => Some(
            ClientConfig::new()
                .set("bootstrap.servers", bootstrap)
                .set("enable.idempotence", "true")
                .set("compression.type", "lz4")
                .set("linger.ms", "2")
                .create()?,
        ),
        None => None,
    };
    let bare = Arc::new(Bare { key, validation: Validation::new(Algorithm::HS256), producer });
    let topic: Arc<str> = kafka.map_or("", |(_, topic)| topic).into();
    let routes = Route::new().at("/api/events", poem::post(take.data(bare).data(topic)));
    Ok(Server::new(TcpListener::bind(listen)).run(routes).await?)
}

#[handler]
async fn take(
    request: &Request,
    body: Body,
    bare: Data<&Arc<Bare>>,
    topic: Data<&Arc<str>>,
) -> poem::Result<Response> {
    let token = request.header("authorization").and_then(|h| h.strip_prefix("Bearer ")).unwrap_or("");
    jsonwebtoken::decode::<Claims>(token, &bare.key, &bare.validation)
        .map_err(|_| poem::Error::from_status(StatusCode::UNAUTHORIZED))?;
    let bytes = body.into_bytes().await?;
    let event: Event =
        serde_json::from_slice(&bytes).map_err(|_| poem::Error::from_status(StatusCode::BAD_REQUEST))?;
    if let Some(producer) = &bare.producer {
        let record = FutureRecord::to(&topic).key(&event.user_id).payload(&bytes[..]);
        let sent = producer.send(record, Duration::from_secs(5)).await;
        sent.map_err(|_| poem::Error::from_status(StatusCode::SERVICE_UNAVAILABLE))?;
    }
    Ok(Response::builder()
        .status(StatusCode::ACCEPTED)
        .content_type("application/json")
        .body("{\"accepted\":true}"))
}
