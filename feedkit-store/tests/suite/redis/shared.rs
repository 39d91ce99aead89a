//! The limits and cached answers that gateways share.

use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use feedkit_core::access::LocalRateLimiter;
use feedkit_core::{AnswerCache, ErrorKind, RateLimiter};
use feedkit_store::redis::{FallbackLimiter, Redis};
use feedkit_test_services::{apply, eventually, needs_redis_server};

use super::support::{Reached, server};

fn n(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

#[apply(needs_redis_server!)]
#[tokio::test(flavor = "multi_thread")]
async fn gateways_share_an_allowance() {
    let server = server!();
    let hour = Duration::from_secs(3600);
    let long = Duration::from_secs(30);
    let a = server.redis().await.rate_limiter(n(10), hour).unwrap().with_patience(long);
    let b = server.redis().await.rate_limiter(n(10), hour).unwrap().with_patience(long);
    assert_eq!(a.spend("u", n(6)).await.unwrap().remaining, 4);
    assert!(!b.spend("u", n(5)).await.unwrap().allowed);
    assert_eq!(b.spend("u", n(4)).await.unwrap().remaining, 0);
    let refused = a.spend("u", n(2)).await.unwrap();
    let wait = refused.retry_after.unwrap();
    // Two tenths of an hour, less the time that has passed.
    assert!(wait <= Duration::from_secs(720) && wait > Duration::from_secs(600), "{wait:?}");
    let ttl: i64 = server.ask("PTTL feedkit:limit:u").await;
    assert!(ttl > 3_000_000 && ttl <= 3_600_001, "{ttl}");
    // A foreign value under the key does not make the limiter refuse anybody.
    server.ask::<i64>("RPUSH feedkit:limit:v x").await;
    assert_eq!(a.spend("v", n(1)).await.unwrap().remaining, 9);
    // If the clock goes back, nobody is refused for longer than the period.
    server.ask::<()>("SET feedkit:limit:w 9000000000000000").await;
    assert!(a.spend("w", n(1)).await.unwrap().retry_after.unwrap() <= Duration::from_secs(361));
}

#[apply(needs_redis_server!)]
#[tokio::test(flavor = "multi_thread")]
async fn an_allowance_comes_back() {
    let server = server!();
    let limiter = server.redis().await.rate_limiter(n(50), Duration::from_millis(500)).unwrap();
    let limiter = limiter.with_patience(Duration::from_secs(30));
    assert!(limiter.spend("u", n(50)).await.unwrap().allowed);
    eventually("all of it is back", async || limiter.spend("u", n(50)).await.unwrap().allowed).await;
    eventually("its key is gone", async || {
        server.ask::<Vec<String>>("KEYS feedkit:limit:*").await.is_empty()
    })
    .await;
}

#[apply(needs_redis_server!)]
#[tokio::test(flavor = "multi_thread")]
async fn while_the_shared_limiter_is_away_each_process_limits_for_itself() {
    let mut server = server!();
    let hour = Duration::from_secs(3600);
    let redis = server.redis().await;
    let shared = redis.rate_limiter(n(10), hour).unwrap().with_patience(Duration::from_secs(30));
    let limiter = FallbackLimiter::new(shared.clone(), LocalRateLimiter::new(n(10), hour).unwrap());
    assert_eq!(limiter.spend("u", n(9)).await.unwrap().remaining, 1);
    server.kill();
    assert_eq!(shared.spend("u", n(1)).await.unwrap_err().kind(), ErrorKind::Retriable);
    assert_eq!(limiter.spend("u", n(9)).await.unwrap().remaining, 1);
    assert!(!limiter.spend("u", n(2)).await.unwrap().allowed);
    server.start_again().await;
    eventually("the shared one is asked again", async || {
        limiter.spend("u", n(1)).await.unwrap().remaining > 1
    })
    .await;
}

#[apply(needs_redis_server!)]
#[tokio::test(flavor = "multi_thread")]
async fn answers_are_kept_for_a_while() {
    let server = server!();
    let (cache, other) = (server.redis().await.cache(), server.redis().await.cache());
    assert_eq!(cache.get("k").await.unwrap(), None);
    let value = Bytes::from_static(b"\0\xff{}");
    cache.put("k", value.clone(), Duration::from_secs(60)).await.unwrap();
    assert_eq!(other.get("k").await.unwrap(), Some(value));
    let ttl: i64 = server.ask("PTTL feedkit:cache:k").await;
    assert!(ttl > 0 && ttl <= 60_000, "{ttl}");
    cache.put("k", Bytes::new(), Duration::ZERO).await.unwrap();
    eventually("it expires", async || other.get("k").await.unwrap().is_none()).await;
    let large = Bytes::from(vec![7; 2 << 20]);
    cache.put("large", large.clone(), Duration::MAX).await.unwrap();
    assert_eq!(other.get("large").await.unwrap(), Some(large));
    let _: Redis = server.redis().await;
}
