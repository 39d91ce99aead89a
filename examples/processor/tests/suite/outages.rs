//! Services go away while a processor runs, and connections break at the worst moment. The
//! processor keeps running, and in the end all stores are as if nothing had happened.

use std::time::Duration;

use feedkit_kafka::admin::NewTopic;
use feedkit_test_programs::Process;
use feedkit_test_services::{
    Broker, Cut, Database, PostgresServer, Proxy, RedisServer, Stop, Watch, apply, eventually, given,
    needs_broker, needs_postgres_server, needs_services, unique,
};

use crate::answers::{address, readiness};
use crate::oracle::judge;
use crate::traffic::{Flow, lively, seed};
use crate::world::{TURN, World};

fn flow(world: &World, seed: u64) -> Flow {
    Flow::start(&world.events, &lively(seed), 40, Duration::from_millis(40))
}

/// Waits until the history has advanced by this many records.
async fn goes_on(world: &World, by: i64) {
    let client = world.database.client().await;
    let position = async || {
        let sum = "SELECT coalesce(sum(position), 0)::bigint FROM positions";
        client.query_one(sum, &[]).await.unwrap().get::<_, i64>(0)
    };
    let from = position().await;
    eventually("the history goes on", async || position().await >= from + by).await;
}

/// The processor stops in order, without ever being restarted, and the stores agree with the model.
async fn settle(world: &World, process: Process, flow: Flow) {
    flow.stop().await;
    process.stop().await;
    world.catch_up().await;
    judge(world).await;
}

#[apply(needs_broker!)]
#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn the_broker_restarts() {
    let _turn = TURN.lock().await;
    let seed = seed();
    let mut broker = Broker::start().await;
    let (database, redis) = (Database::new().await, RedisServer::start(&[]).await);
    let topic = NewTopic::new(unique("events")).partitions(4);
    let world = World::on(&broker.plain, topic, database, redis).await;
    let (process, address) = world.started().await;
    let flow = flow(&world, seed);
    goes_on(&world, 300).await;
    broker.kill();
    broker.start_again().await;
    goes_on(&world, 300).await;
    // Readiness shows it while the broker is away, and recovers by itself.
    broker.kill();
    let log_is_down = async || {
        readiness(address).await.is_some_and(|(ready, why)| !ready && why.to_string().contains("no broker"))
    };
    eventually("it is not ready", log_is_down).await;
    broker.start_again().await;
    crate::world::ready(address).await;
    goes_on(&world, 300).await;
    settle(&world, process, flow).await;
}

#[apply(needs_services!)]
#[apply(needs_postgres_server!)]
#[tokio::test(flavor = "multi_thread")]
async fn postgresql_falls_and_restarts() {
    let _turn = TURN.lock().await;
    let seed = seed();
    let broker = given("FEEDKIT_TEST_KAFKA");
    let server = PostgresServer::start("");
    let redis = RedisServer::start(&[]).await;
    let topic = NewTopic::new(unique("events")).partitions(4);
    let world = World::on(&broker, topic, Database::on(&server.url()).await, redis).await;
    let (process, address) = world.started().await;
    let flow = flow(&world, seed);
    for stop in [Stop::Immediate, Stop::Fast, Stop::Immediate] {
        goes_on(&world, 300).await;
        tokio::task::block_in_place(|| server.restart(stop));
    }
    goes_on(&world, 300).await;
    // Readiness shows it while the server is away, and recovers by itself.
    tokio::task::block_in_place(|| server.stop());
    eventually("it is not ready", async || readiness(address).await.is_some_and(|(ready, _)| !ready)).await;
    tokio::task::block_in_place(|| server.start_again());
    crate::world::ready(address).await;
    settle(&world, process, flow).await;
}

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn postgresql_that_fails_once_it_is_connected_is_waited_for() {
    let world = World::new().await;
    world.catch_up().await;
    let client = world.database.client().await;
    client.batch_execute("BEGIN; LOCK TABLE positions IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let mut process = Process::start(&mut world.command(&["--postgres-statement-timeout", "1s"]));
    process.says("waiting for PostgreSQL").await;
    client.batch_execute("COMMIT").await.unwrap();
    let address = address(&mut process).await.expect("it runs");
    crate::world::ready(address).await;
    process.stop().await;
}

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn connections_break_in_the_middle_of_commit() {
    let seed = seed();
    let mut world = World::new().await;
    let proxy = Proxy::to(world.database.address(), Watch::Commit).await;
    world.postgres_url = world.database.url_at_port(proxy.port);
    let (process, _) = world.started().await;
    let flow = flow(&world, seed);
    for turn in 0..30 {
        let before = proxy.cuts();
        proxy.cut_next(if turn % 2 == 0 { Cut::Before } else { Cut::After });
        eventually("a commit is cut", async || proxy.cuts() > before).await;
    }
    goes_on(&world, 100).await;
    settle(&world, process, flow).await;
}

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn replies_of_redis_are_lost_after_it_has_counted() {
    let seed = seed();
    let mut world = World::new().await;
    let proxy = Proxy::to(format!("127.0.0.1:{}", world.redis.port), Watch::Script).await;
    world.redis_url = format!("redis://127.0.0.1:{}/", proxy.port);
    let (process, _) = world.started().await;
    let flow = flow(&world, seed);
    for turn in 0..30 {
        let before = proxy.cuts();
        proxy.cut_next(if turn % 4 == 0 { Cut::Before } else { Cut::After });
        eventually("a reply is lost", async || proxy.cuts() > before).await;
    }
    settle(&world, process, flow).await;
}

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn redis_restarts_with_nothing() {
    let seed = seed();
    let mut world = World::new().await;
    let (process, address) = world.started().await;
    let flow = flow(&world, seed);
    for _ in 0..2 {
        goes_on(&world, 300).await;
        world.redis.kill();
        eventually("it is not ready", async || readiness(address).await.is_some_and(|(ready, _)| !ready))
            .await;
        // The history advances without counters.
        goes_on(&world, 100).await;
        world.redis.start_again().await;
        crate::world::ready(address).await;
    }
    settle(&world, process, flow).await;
}

/// Replaces the key by a list, in one step.
async fn plant_list(world: &World, key: &str) {
    let client = redis::Client::open(world.redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut both = redis::pipe();
    both.atomic().cmd("DEL").arg(key).cmd("LPUSH").arg(key).arg("planted");
    both.exec_async(&mut connection).await.unwrap();
}

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_list_planted_at_a_counter_is_repaired() {
    let seed = seed();
    let world = World::new().await;
    let (process, _) = world.started().await;
    let flow = flow(&world, seed);
    for post in ["p0", "promoted", "p1"] {
        goes_on(&world, 200).await;
        let key = format!("post:{post}:likes");
        plant_list(&world, &key).await;
        eventually("it is repaired", async || {
            world.redis.ask::<String>(&format!("TYPE {key}")).await == "string"
        })
        .await;
    }
    settle(&world, process, flow).await;
}
