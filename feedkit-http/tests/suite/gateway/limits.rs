//! Rate limits by user, by address, and for those who may write as anybody.

use std::num::NonZeroU32;
use std::sync::Arc;

use async_trait::async_trait;
use feedkit_core::access::Spending;
use feedkit_core::{Error, RateLimiter, Result};

use super::client::Answer;
use super::world::{Running, World, like, limiter};

const EVENTS: &str = "/api/events";
const BATCH: &str = "/api/events/batch";

async fn send(gateway: &Running, user: &str, more: &str) -> Answer {
    gateway.post(EVENTS, &format!("token-{user}"), more, like(user, "p9")).await
}

async fn send_many(gateway: &Running, token: &str, count: usize) -> Answer {
    gateway.post(BATCH, token, "", format!("[{}]", vec![like("u1", "p9"); count].join(","))).await
}

fn told(answer: &Answer) -> (Option<&str>, Option<&str>) {
    (answer.header("ratelimit-limit"), answer.header("ratelimit-remaining"))
}

#[tokio::test]
async fn a_user_has_an_allowance_of_their_own() {
    let mut world = World::new();
    world.base.parts.limits.user = limiter(3);
    let gateway = world.start().await;
    for left in ["2", "1", "0"] {
        let answer = send(&gateway, "u1", "").await;
        assert_eq!((answer.status, told(&answer)), (202, (Some("3"), Some(left))));
        assert!(answer.header("ratelimit-reset").unwrap().parse::<u64>().unwrap() <= 60);
    }
    let answer = send(&gateway, "u1", "").await;
    answer.problem(429, "rate-limited");
    assert_eq!(told(&answer), (Some("3"), Some("0")));
    let seconds = |name: &str| answer.header(name).unwrap().parse::<u64>().unwrap();
    assert!(seconds("retry-after") > 60 && seconds("ratelimit-reset") == seconds("retry-after"));
    assert_eq!(send(&gateway, "u2", "").await.status, 202);
    assert_eq!(world.values().len(), 4);
    gateway.stop().await;
}

#[tokio::test]
async fn a_batch_costs_what_it_holds_and_is_refused_as_a_whole() {
    let mut world = World::new();
    world.base.parts.limits.user = limiter(10);
    let gateway = world.start().await;
    assert_eq!(told(&send_many(&gateway, "token-u1", 4).await), (Some("10"), Some("6")));
    send_many(&gateway, "token-u1", 7).await.problem(429, "rate-limited");
    assert_eq!(world.values().len(), 4);
    assert_eq!(told(&send_many(&gateway, "token-u1", 6).await), (Some("10"), Some("0")));
    // More than is ever allowed: nothing to wait for.
    let never = send_many(&gateway, "token-u2", 11).await;
    never.problem(429, "rate-limited");
    assert_eq!(never.header("retry-after"), None);
    // One that cannot be read costs one.
    let answer = gateway.post(BATCH, "token-u3", "", "[1,").await;
    answer.problem(400, "malformed");
    assert_eq!(told(&answer), (Some("10"), Some("9")));
    gateway.stop().await;
}

#[tokio::test]
async fn an_address_has_one_allowance_for_all_its_users() {
    let mut world = World::new();
    (world.base.parts.limits.user, world.base.parts.limits.address) = (limiter(5), limiter(2));
    let gateway = world.start().await;
    assert_eq!(told(&send(&gateway, "u1", "").await), (Some("2"), Some("1")));
    assert_eq!(send(&gateway, "u2", "").await.status, 202);
    send(&gateway, "u3", "").await.problem(429, "rate-limited");
    // Who may write as anybody has no part in it, and a limit of their own.
    assert_eq!(gateway.post(EVENTS, "token-any", "", like("u9", "p9")).await.status, 202);
    // What only reads is never limited.
    for path in ["/health/live", "/health/ready", "/metrics"] {
        assert_eq!(gateway.get(path).await.status, 200);
    }
    let metrics = gateway.get("/metrics").await;
    assert!(metrics.text().contains(r#"feedkit_gateway_rate_limited_total{limiter="address"} 1"#));
    gateway.stop().await;
}

#[tokio::test]
async fn writers_as_anybody_have_a_limit_of_their_own() {
    let mut world = World::new();
    (world.base.parts.limits.user, world.base.parts.limits.write_any) = (limiter(1), limiter(6));
    let gateway = world.start().await;
    assert_eq!(told(&send_many(&gateway, "token-any", 5).await), (Some("6"), Some("1")));
    send_many(&gateway, "token-any", 2).await.problem(429, "rate-limited");
    gateway.stop().await;
}

#[tokio::test]
async fn only_trusted_proxies_are_believed_about_the_address() {
    let mut world = World::new();
    world.base.parts.limits.address = limiter(1);
    // Nobody is trusted: an invented address changes nothing.
    let gateway = world.start().await;
    assert_eq!(send(&gateway, "u1", "X-Forwarded-For: 203.0.113.1\r\n").await.status, 202);
    assert_eq!(send(&gateway, "u1", "X-Forwarded-For: 203.0.113.2\r\n").await.status, 429);
    assert_eq!(
        send(&gateway, "u1", "X-Real-IP: 203.0.113.3\r\nForwarded: for=203.0.113.3\r\n").await.status,
        429
    );
    gateway.stop().await;

    let mut world = World::new();
    world.base.parts.limits.address = limiter(1);
    world.base.options.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
    let gateway = world.start().await;
    let forwarded = async |addresses: &str| {
        send(&gateway, "u1", &format!("X-Forwarded-For: {addresses}\r\n")).await.status
    };
    assert_eq!(forwarded("203.0.113.1").await, 202);
    assert_eq!(forwarded("203.0.113.1").await, 429);
    assert_eq!(forwarded("203.0.113.2").await, 202);
    // What a client wrote before the proxies did is not looked at.
    assert_eq!(forwarded("198.51.100.9, 203.0.113.2, 10.1.2.3").await, 429);
    assert_eq!(forwarded("198.51.100.9, 203.0.113.4, 10.1.2.3").await, 202);
    // An IPv6 client is its /64.
    assert_eq!(forwarded("2001:db8:1:2::1").await, 202);
    assert_eq!(forwarded("2001:db8:1:2:ffff::9").await, 429);
    assert_eq!(forwarded("[2001:db8:1:2:eeee::9]:443").await, 429);
    assert_eq!(forwarded("2001:db8:1:3::1").await, 202);
    gateway.stop().await;
}

#[tokio::test]
async fn while_a_limiter_is_away_writes_pass_or_wait_as_it_is_set() {
    struct Away;
    #[async_trait]
    impl RateLimiter for Away {
        async fn spend(&self, _: &str, _: NonZeroU32) -> Result<Spending> {
            Err(Error::retriable("secret-redis:6379 is away"))
        }
    }
    for (pass, status) in [(true, 202), (false, 503)] {
        let mut world = World::new();
        world.base.parts.limits.user = Some(Arc::new(Away));
        world.base.parts.limits.pass_when_away = pass;
        let gateway = world.start().await;
        let answer = send(&gateway, "u1", "").await;
        assert_eq!((answer.status, told(&answer)), (status, (None, None)));
        if !pass {
            answer.problem(503, "unavailable");
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
        assert!(gateway.get("/metrics").await.text().contains("feedkit_gateway_limiter_failures_total 1"));
        gateway.stop().await;
    }
}
