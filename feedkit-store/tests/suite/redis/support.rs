//! Connections to Redis for the tests.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use feedkit_core::counters::{CounterChunk, chunks};
use feedkit_core::testkit::conformance::support;
use feedkit_core::trending::Trending;
use feedkit_store::redis::{Redis, RedisOptions};
use feedkit_test_services::{Proxy, RedisServer};

/// A server that the test starts for itself.
macro_rules! server {
    ($($argument:expr),*) => {
        feedkit_test_services::RedisServer::start(&[$($argument),*]).await
    };
}
pub(crate) use server;

/// A server, with the options to connect to it.
pub trait Reached {
    fn options(&self) -> RedisOptions;

    async fn redis(&self) -> Redis {
        Redis::connect(self.options()).await.unwrap()
    }
}

impl Reached for RedisServer {
    fn options(&self) -> RedisOptions {
        patient(RedisOptions::single(self.url()))
    }
}

impl Reached for Proxy {
    fn options(&self) -> RedisOptions {
        patient(RedisOptions::single(format!("redis://127.0.0.1:{}/", self.port)))
    }
}

/// Options for a machine that may be busy.
pub fn patient(mut options: RedisOptions) -> RedisOptions {
    options.response_timeout = Duration::from_secs(30);
    options.connect_timeout = Duration::from_secs(30);
    options.rebuild_patience = Duration::ZERO;
    options
}

/// A key prefix that no other test uses.
pub fn own_prefix() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("t{}-{}:", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The only chunk of an entry of partition 0.
pub fn chunk(from: u64, to: u64, effects: &[(&str, &str, &str)]) -> CounterChunk {
    let mut chunks = chunks(&support::entry(from, to, effects), 17, &Trending::default());
    assert_eq!(chunks.len(), 1);
    chunks.remove(0)
}
