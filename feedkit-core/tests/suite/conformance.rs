//! The memory backends hold every sentence of their contracts.

use std::num::NonZeroU32;
use std::time::Duration;

use feedkit_core::access::{ByOwnership, Identity, LocalRateLimiter, StaticTokens, WRITE_ANY};
use feedkit_core::memory::{MemoryAlertLog, MemoryCounters, MemoryHistory};
use feedkit_core::notification::Audience;
use feedkit_core::testkit::conformance::support::{at, event, post, shared, user};
use feedkit_core::testkit::conformance::{self, MemoryLogHarness};

#[tokio::test(start_paused = true)]
async fn memory_counters() {
    conformance::counters(async || MemoryCounters::default()).await;
}

#[tokio::test(start_paused = true)]
async fn memory_counts() {
    conformance::counts(async || MemoryCounters::default()).await;
}

#[tokio::test(start_paused = true)]
async fn memory_history() {
    conformance::history(async || MemoryHistory::new()).await;
}

#[tokio::test(start_paused = true)]
async fn memory_queries() {
    conformance::queries(async || shared(MemoryHistory::new())).await;
}

#[tokio::test(start_paused = true)]
async fn memory_inspect() {
    conformance::inspect(async || shared(MemoryHistory::new())).await;
}

#[tokio::test(start_paused = true)]
async fn memory_alerts() {
    conformance::alerts(async || MemoryAlertLog::new()).await;
}

#[tokio::test(start_paused = true)]
async fn memory_outbox() {
    conformance::outbox(async || MemoryAlertLog::new()).await;
}

#[tokio::test(start_paused = true)]
async fn memory_alert_log() {
    conformance::alert_log(async || MemoryAlertLog::new()).await;
}

#[tokio::test(start_paused = true)]
async fn memory_log_as_a_sink() {
    conformance::sink(async || MemoryLogHarness::new()).await;
}

#[tokio::test(start_paused = true)]
async fn memory_log_as_a_source() {
    conformance::source(async || MemoryLogHarness::new()).await;
}

#[tokio::test(start_paused = true)]
async fn local_rate_limiter() {
    let hour = Duration::from_secs(3600);
    conformance::rate_limiter(async |limit: NonZeroU32| LocalRateLimiter::new(limit, hour).unwrap()).await;
}

fn identity(name: &str, roles: &[&str], scopes: &[&str]) -> Identity {
    let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
    Identity { user: user(name), roles: owned(roles), scopes: owned(scopes), expires_at: at(3600) }
}

#[tokio::test]
async fn static_tokens() {
    let who = identity("a", &["moderator"], &[WRITE_ANY]);
    let tokens = StaticTokens::new([("good".to_owned(), who.clone())]);
    conformance::token_verifier(&tokens, "good", &who, ["other".to_owned(), "Good".to_owned()]).await;
}

#[test]
fn ownership() {
    let (plain, moderator) = (identity("a", &[], &[]), identity("b", &["moderator"], &[]));
    let writer = identity("w", &[], &[WRITE_ANY]);
    let own = event(1, "a", "p", "like").event;
    let sent =
        [(plain.clone(), own.clone(), true), (moderator.clone(), own.clone(), false), (writer, own, true)];
    let role = Audience::Role("moderator".into());
    let heard = [
        (plain.clone(), Audience::User(user("a")), true),
        (moderator.clone(), Audience::User(user("a")), false),
        (plain.clone(), role.clone(), false),
        (moderator, role, true),
        (plain.clone(), Audience::Post(post("p")), true),
        (plain, Audience::All, true),
    ];
    conformance::authorizer(&ByOwnership, &sent, &heard);
}
