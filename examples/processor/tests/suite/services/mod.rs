//! The services that tests share, and those that they start for themselves.

mod broker;
mod database;
mod instance;
mod proxy;
mod redis;

pub(crate) use broker::Broker;
pub(crate) use database::Database;
pub(crate) use instance::Instance;
pub(crate) use proxy::{Cut, Proxy, Watch};
pub(crate) use redis::Redis;

use std::time::Duration;

/// The longest that anything which must happen may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

/// Tests that start large services, or keep the machine busy, take turns.
pub(crate) static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A variable that names a service. Without it the test is skipped; where the environment says `CI=true` it fails.
pub(crate) fn given(name: &str) -> Option<String> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        skip(&format!("{name} is not set"));
    }
    value
}

/// Says that something cannot be tested here.
pub(crate) fn skip(why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
    eprintln!("skipped: feedkit-processor: {why}");
}

/// A name that no other test, of this run or another, has.
pub(crate) fn unique(what: &str) -> String {
    format!("{what}_{:016x}", rand::random::<u64>())
}

pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Tries until it holds.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + DEADLINE;
    while !holds().await {
        assert!(tokio::time::Instant::now() < end, "does not come about: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
