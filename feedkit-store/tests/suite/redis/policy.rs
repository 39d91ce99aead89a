//! Servers and options that are refused.

use feedkit_core::ErrorKind;
use feedkit_store::redis::{Redis, RedisOptions};
use feedkit_test_services::{apply, needs_redis_server};

use super::support::{Reached, server};

#[apply(needs_redis_server!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_may_evict_counters_is_refused() {
    let server = server!("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru");
    let error = Redis::connect(server.options()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fatal);
    assert!(error.to_string().contains("allkeys-lru") && error.to_string().contains("noeviction"), "{error}");
    // A lazy connection refuses it too, but not for ever.
    let redis = Redis::lazy(server.options()).unwrap();
    assert_eq!(feedkit_core::Counts::top(&redis.counters(), 5).await.unwrap_err().kind(), ErrorKind::Fatal);
    for policy in ["volatile-lru", "noeviction"] {
        server.ask::<()>(&format!("CONFIG SET maxmemory-policy {policy}")).await;
        redis.check().await.unwrap();
        Redis::connect(server.options()).await.unwrap();
    }
}

#[apply(needs_redis_server!)]
#[tokio::test(flavor = "multi_thread")]
async fn settings_that_cannot_be_right_are_refused() {
    let server = server!();
    let mut options = server.options();
    options.urls.push(server.url());
    assert_eq!(Redis::lazy(options).unwrap_err().kind(), ErrorKind::Invalid);
    let mut options = server.options();
    options.prefix = "a{b}".to_owned();
    assert_eq!(Redis::lazy(options).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(Redis::lazy(RedisOptions::single("http://x/")).unwrap_err().kind(), ErrorKind::Invalid);
    let secret = RedisOptions::single("redis://u:hush@127.0.0.1/");
    assert!(!format!("{secret:?}").contains("hush"));
    let wrong = RedisOptions::single(format!("redis://nobody:hush@127.0.0.1:{}/", server.port));
    let error = Redis::connect(wrong).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fatal, "{error}");
    assert!(!error.to_string().contains("hush"));
    let mut options = RedisOptions::cluster([server.url()]);
    options.response_timeout = std::time::Duration::from_secs(5);
    let error = Redis::connect(options).await.unwrap_err();
    println!("a single one taken for a cluster: {error}");
}
