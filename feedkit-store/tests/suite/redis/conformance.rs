//! The Redis backends fulfil their contracts.

use std::num::NonZeroU32;
use std::time::Duration;

use feedkit_core::access::LocalRateLimiter;
use feedkit_core::testkit::conformance;
use feedkit_store::redis::{FallbackLimiter, Redis, RedisOptions};
use feedkit_test_services::{apply, free_port, needs_redis_server};

use super::support::{Reached, own_prefix, server};

/// A Redis with a prefix of its own.
async fn apart(mut options: RedisOptions) -> Redis {
    options.prefix = own_prefix();
    Redis::connect(options).await.unwrap()
}

pub async fn run_all(options: RedisOptions) {
    conformance::counts(async || apart(options.clone()).await.counters()).await;
    conformance::counters(async || apart(options.clone()).await.counters()).await;
    let hour = Duration::from_secs(3600);
    conformance::rate_limiter(async |limit| {
        apart(options.clone()).await.rate_limiter(limit, hour).unwrap().with_patience(Duration::from_secs(30))
    })
    .await;
}

#[apply(needs_redis_server!)]
#[tokio::test(flavor = "multi_thread")]
async fn counters_and_limiter_keep_their_contracts() {
    let server = server!();
    run_all(server.options()).await;
}

#[apply(needs_redis_server!)]
#[tokio::test(flavor = "multi_thread")]
async fn the_limiter_with_a_fallback_keeps_its_contract() {
    let server = server!();
    let hour = Duration::from_secs(3600);
    conformance::rate_limiter(async |limit: NonZeroU32| {
        let shared = apart(server.options()).await.rate_limiter(limit, hour).unwrap();
        FallbackLimiter::new(
            shared.with_patience(Duration::from_secs(30)),
            LocalRateLimiter::new(limit, hour).unwrap(),
        )
    })
    .await;
    // The same without any server.
    conformance::rate_limiter(async |limit: NonZeroU32| {
        let port = free_port();
        let redis = Redis::lazy(RedisOptions::single(format!("redis://127.0.0.1:{port}/"))).unwrap();
        FallbackLimiter::new(
            redis.rate_limiter(limit, hour).unwrap(),
            LocalRateLimiter::new(limit, hour).unwrap(),
        )
    })
    .await;
}
