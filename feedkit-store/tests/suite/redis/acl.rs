//! Users with the documented rights can do their work and nothing else.

use std::num::NonZeroU32;
use std::time::Duration;

use feedkit_core::testkit::conformance::support::post;
use feedkit_core::{AnswerCache, CounterStore, Counts, ErrorKind, RateLimiter};
use feedkit_store::redis::{Redis, RedisOptions, Role, acl_rules};
use feedkit_test_services::{RedisServer, apply, needs_redis_server};

use super::support::{chunk, patient, server};
use super::world::World;

async fn user(server: &RedisServer, name: &str, role: Role) -> (Redis, redis::aio::MultiplexedConnection) {
    server.ask::<()>(&format!("ACL SETUSER {name} on >secret {}", acl_rules(role, false))).await;
    let url = format!("redis://{name}:secret@127.0.0.1:{}/", server.port);
    let client = redis::Client::open(url.as_str()).unwrap();
    let connection = client.get_multiplexed_async_connection().await.unwrap();
    (Redis::connect(patient(RedisOptions::single(url))).await.unwrap(), connection)
}

async fn is_refused(connection: &mut redis::aio::MultiplexedConnection, command: &[&str]) {
    let mut cmd = redis::cmd(command[0]);
    command[1..].iter().for_each(|word| {
        cmd.arg(*word);
    });
    let error = cmd.query_async::<redis::Value>(connection).await.expect_err(&command.join(" "));
    let said = error.to_string();
    assert!(
        error.code() == Some("NOPERM") || said.contains("The user executing the script can't"),
        "{command:?}: {said}"
    );
}

#[apply(needs_redis_server!)]
#[tokio::test(flavor = "multi_thread")]
async fn each_role_can_do_its_work_and_not_the_others() {
    let server = server!();
    let (processor, mut as_processor) = user(&server, "processor", Role::Processor).await;
    let (gateway, mut as_gateway) = user(&server, "gateway", Role::Gateway).await;

    let world = World::new();
    let counters = processor.counters();
    let running = world.start(counters.clone());
    world.send(60, 800).await;
    running.reached(&world).await;
    running.stop().await;
    // A rebuild begins, and then the pipeline does another one.
    counters.begin_rebuild().await.unwrap();
    let running = world.start(counters.clone());
    world.send(61, 800).await;
    world.agrees(&counters).await;
    running.stop().await;

    world.check(&gateway.counters()).await;
    let hour = Duration::from_secs(3600);
    let limiter = gateway.rate_limiter(NonZeroU32::MIN, hour).unwrap().with_patience(Duration::from_secs(30));
    assert!(limiter.spend("u", NonZeroU32::MIN).await.unwrap().allowed);
    gateway.cache().put("k", "v".into(), hour).await.unwrap();
    assert_eq!(gateway.cache().get("k").await.unwrap().as_deref(), Some(&b"v"[..]));

    let error = gateway.counters().apply(&chunk(0, 5, &[("a", "p", "like")])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fatal, "{error}");
    assert!(gateway.counters().begin_rebuild().await.is_err());
    assert_eq!(counters.posts(&[post("p")]).await.unwrap()[0].likes, 0);
    assert!(processor.cache().get("k").await.is_err());
    assert!(processor.cache().put("k", "w".into(), hour).await.is_err());

    let forbidden: [&[&str]; 8] = [
        &["FLUSHALL"],
        &["CONFIG", "GET", "*"],
        &["KEYS", "*"],
        &["MONITOR"],
        &["ACL", "LIST"],
        &["GET", "secret"],
        &["SUBSCRIBE", "x"],
        &["EVAL", "return redis.call('GET', 'secret')", "0"],
    ];
    for command in forbidden {
        is_refused(&mut as_processor, command).await;
        is_refused(&mut as_gateway, command).await;
    }
    let writes: [&[&str]; 5] = [
        &["SET", "post:p:likes", "9"],
        &["SET", "feedkit:state", "9"],
        &["UNLINK", "post:p:likes"],
        &["EVAL", "return redis.call('SET', 'post:p:likes', 9)", "0"],
        &["EVAL", "return redis.call('ZADD', 'top_posts', 9, 'post:p')", "0"],
    ];
    for command in writes {
        is_refused(&mut as_gateway, command).await;
    }
    is_refused(&mut as_processor, &["EVAL", "return redis.call('GET', 'feedkit:cache:k')", "0"]).await;
}
