//! The gateway's routes in your own poem application, beside a route of that application. All data
//! is in memory.
//!
//! `cargo run -p feedkit-http --example own_gateway`
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use feedkit_core::access::{ByOwnership, Identity, StaticTokens};
use feedkit_core::health::{Component, Health};
use feedkit_core::memory::{MemoryAlertLog, MemoryCounters, MemoryHistory, MemoryLog};
use feedkit_core::pipeline::{CounterFollower, PipelineHandle};
use feedkit_core::trending::Trending;
use feedkit_core::{Clock, Pipeline, Position, Positions, PostId, Queries, Result, SystemClock, UserId};
use feedkit_http::parts::Limits;
use feedkit_http::{Gateway, GatewayOptions, Parts, Visibility};
use poem::http::StatusCode;
use poem::{Endpoint, Request, Route, get, handler};
use tokio_util::sync::CancellationToken;

/// An event is visible once the pipeline has committed it.
struct Committed(PipelineHandle);

#[async_trait]
impl Visibility for Committed {
    async fn wait(&self, position: Position) -> Result<()> {
        self.0.reached(&Positions::from_iter([(position.partition, position.offset)])).await?;
        Ok(())
    }
}

struct AllWell;

impl Health for AllWell {
    fn components(&self) -> Vec<Component> {
        vec![Component::up("log"), Component::up("history")]
    }
}

#[handler]
fn about() -> &'static str {
    "a feed of our own"
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let log = MemoryLog::new(4, SystemClock);
    let history = Arc::new(MemoryHistory::new());
    let counters = Arc::new(MemoryCounters::new(Trending::default()));
    let follower = CounterFollower::new("counters", counters.clone(), history.clone(), Trending::default());
    let pipeline = Pipeline::builder(log.reader("feed"), history.clone()).follower(follower).build();
    let pipeline_handle = pipeline.handle();

    let ada = Identity {
        user: UserId::new("ada")?,
        roles: Vec::new(),
        scopes: Vec::new(),
        expires_at: SystemClock.now().saturating_add(Duration::from_secs(3600)),
    };
    let notifications = MemoryLog::new(1, SystemClock);
    let open_notifications = move || {
        let log = notifications.clone();
        async move { Ok(log.broadcast()) }
    };
    // [mount]
    let gateway = Gateway::new(
        Parts {
            sink: Arc::new(log.clone()),
            queries: history.clone(),
            counters: Some(counters),
            cache: Arc::new(feedkit_http::LocalCache::default()),
            alerts: Arc::new(MemoryAlertLog::new()),
            notifications: Arc::new(open_notifications),
            visibility: Arc::new(Committed(pipeline_handle.clone())),
            tokens: Arc::new(StaticTokens::new([("a-token".to_owned(), ada)])),
            authorizer: Arc::new(ByOwnership),
            limits: Limits::default(),
            health: Arc::new(AllWell),
            clock: Arc::new(SystemClock),
            metrics: prometheus::Registry::new(),
        },
        GatewayOptions::default(),
    );
    let app = Route::new().at("/about", get(about)).nest("/feed", gateway.routes());
    // [/mount]

    let shutdown = CancellationToken::new();
    let running = tokio::spawn(pipeline.run(shutdown.clone()));
    let attending = tokio::spawn({
        let (gateway, shutdown) = (gateway.clone(), shutdown.clone());
        async move { gateway.attend(shutdown).await }
    });

    // A server would pass requests on like this.
    let request = Request::builder()
        .method(poem::http::Method::POST)
        .uri("/feed/api/events".parse()?)
        .header("Authorization", "Bearer a-token")
        .header("Content-Type", "application/json")
        .body(r#"{"userId":"ada","postId":"p9","type":"like"}"#);
    let answer = app.get_response(request).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let accepted: serde_json::Value = answer.into_body().into_json().await?;
    println!("accepted: {accepted}");

    let position: Position = accepted["position"].as_str().unwrap_or_default().parse()?;
    pipeline_handle.reached(&Positions::from_iter([(position.partition, position.offset)])).await?;
    let likes = history.post(&PostId::new("p9")?).await?.map_or(0, |post| post.likes);
    println!("p9 has {likes} like");
    assert_eq!(likes, 1);

    let answer = app.get_response(Request::builder().uri("/about".parse()?).finish()).await;
    println!("/about: {}", answer.into_body().into_string().await?);

    shutdown.cancel();
    attending.await??;
    Ok(running.await??)
}
