//! Which answers are cached, and for how long.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use feedkit_core::testkit::conformance;
use feedkit_core::{AnswerCache, Error, Result};
use feedkit_http::{GatewayOptions, LocalCache};

use super::world::World;

#[tokio::test]
async fn local_cache() {
    conformance::answer_cache(async || LocalCache::default()).await;
}

/// A cache that can be made to fail, and counts what is put.
#[derive(Default)]
struct Watched {
    inner: LocalCache,
    fail: AtomicBool,
    put: AtomicUsize,
}

#[async_trait]
impl AnswerCache for Watched {
    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        assert!(key.len() <= 512 && key.bytes().all(|b| b.is_ascii_graphic()), "{key:?}");
        match self.fail.load(Relaxed) {
            true => Err(Error::retriable("the cache is away")),
            false => self.inner.get(key).await,
        }
    }
    async fn put(&self, key: &str, answer: Bytes, ttl: Duration) -> Result<()> {
        assert_eq!(ttl, HOUR);
        self.put.fetch_add(1, Relaxed);
        match self.fail.load(Relaxed) {
            true => Err(Error::retriable("the cache is away")),
            false => self.inner.put(key, answer, ttl).await,
        }
    }
}

const HOUR: Duration = Duration::from_secs(3600);

async fn world(cache: &Arc<Watched>) -> Arc<World> {
    let mut options = GatewayOptions::default();
    options.cache_ttl = HOUR;
    Arc::new(World::with(options, cache.clone()).await)
}

/// Reads that are cached, each asking for something else.
const CACHED: &[&str] = &[
    "/api/posts/top?window=1h",
    "/api/posts/top?window=24h",
    "/api/posts/top?window=1h&limit=5",
    "/api/posts/p/comments",
    "/api/posts/q/comments",
    "/api/posts/p/comments?limit=5",
    "/api/posts/p/activity",
    "/api/posts/q/activity",
    "/api/posts/p/activity?by=day",
    "/api/posts/p/activity?from=2026-01-01T00:00:00Z&to=2026-01-01T02:00:00Z",
];

#[tokio::test]
async fn what_many_ask_is_looked_up_once() {
    let cache = Arc::new(Watched::default());
    let world = world(&cache).await;
    let closed = world.queries.hooks.gate.acquire_many(9).await.unwrap();
    let readers: Vec<_> = (0..50)
        .map(|_| {
            let world = world.clone();
            tokio::spawn(async move { world.get(CACHED[0]).await.ok() })
        })
        .collect();
    while world.queries.hooks.asked() == 0 {
        tokio::task::yield_now().await;
    }
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.queries.hooks.asked(), 1);
    drop(closed);
    for reader in readers {
        reader.await.unwrap();
    }
    assert_eq!((world.queries.hooks.asked(), cache.put.load(Relaxed)), (1, 1));
}

#[tokio::test]
async fn each_question_has_its_own_answer_and_equal_ones_share_it() {
    let cache = Arc::new(Watched::default());
    let world = world(&cache).await;
    for _ in 0..3 {
        for path in CACHED {
            world.get(path).await.ok();
        }
    }
    assert_eq!(world.queries.hooks.asked(), CACHED.len());
    // Other words for the same.
    for path in [
        "/api/posts/top?limit=20&window=1h&by=likes",
        "/api/posts/%70/comments?limit=20",
        "/api/posts/p/activity?by=hour",
        "/api/posts/p/activity?to=2026-01-01T04:00:00%2B02:00&from=2025-12-31T23:10:00Z",
    ] {
        world.get(path).await.ok();
    }
    assert_eq!(world.queries.hooks.asked(), CACHED.len());
}

#[tokio::test]
async fn a_failure_is_shared_by_those_who_wait_and_not_kept() {
    let cache = Arc::new(Watched::default());
    let world = world(&cache).await;
    world.queries.hooks.fail.store(true, Relaxed);
    world.get(CACHED[0]).await.problem(503, "unavailable", None);
    world.queries.hooks.fail.store(false, Relaxed);
    // A failure may be shared with those who come in the same millisecond.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while world.get(CACHED[0]).await.status != 200 {
        assert!(tokio::time::Instant::now() < deadline, "the failure is kept");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_reader_who_leaves_does_not_take_the_answer_along() {
    let cache = Arc::new(Watched::default());
    let world = world(&cache).await;
    let closed = world.queries.hooks.gate.acquire_many(9).await.unwrap();
    let spawn = |world: &Arc<World>| {
        let world = world.clone();
        tokio::spawn(async move { world.get(CACHED[0]).await.status })
    };
    let first = spawn(&world);
    while world.queries.hooks.asked() == 0 {
        tokio::task::yield_now().await;
    }
    let second = spawn(&world);
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    drop(closed);
    assert_eq!(second.await.unwrap(), 200);
}

#[tokio::test]
async fn a_cache_that_is_away_costs_queries_but_no_answer() {
    let cache = Arc::new(Watched::default());
    cache.fail.store(true, Relaxed);
    let world = world(&cache).await;
    for path in CACHED {
        world.get(path).await.ok();
    }
    assert_eq!(world.queries.hooks.asked(), CACHED.len());
}

#[tokio::test]
async fn gateways_may_share_a_cache() {
    let cache = Arc::new(Watched::default());
    let (one, other) = (world(&cache).await, world(&cache).await);
    one.get(CACHED[0]).await.ok();
    other.get(CACHED[0]).await.ok();
    assert_eq!((one.queries.hooks.asked(), other.queries.hooks.asked()), (1, 0));
}

#[tokio::test]
async fn without_a_time_to_keep_them_answers_are_not_kept() {
    let world = World::with_settings(|options| options.cache_ttl = Duration::ZERO).await;
    world.get(CACHED[0]).await.ok();
    world.get(CACHED[0]).await.ok();
    assert_eq!(world.queries.hooks.asked(), 2);
}
