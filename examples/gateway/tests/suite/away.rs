//! A gateway while a service is away, and its recovery without help.

use feedkit_kafka::Kafka;
use feedkit_kafka::admin::{NewTopic, create_topics};
use feedkit_test_programs::told::{event, likes, send};
use feedkit_test_programs::{Client, Served, eventually};
use feedkit_test_services::{Broker, apply, given, needs_broker, needs_services};
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde_json::json;

use crate::door::Door;
use crate::world::{Gateway, World};

fn anybody(gateway: &Gateway) -> Client {
    Client::new(gateway.address, None)
}

/// The `host:port` of a URL.
fn place(url: &str) -> String {
    url.rsplit_once('@').map_or(url, |(_, rest)| rest).split('/').next().unwrap().to_owned()
}

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn without_redis_writes_pass_and_reads_come_from_the_history() {
    let mut world = World::new().await;
    let gateway = world.gateway_with(&["--rate-limit", "30"]).await;
    let _processor = world.processor();
    gateway.is("ready", Some(("counters", "up"))).await;
    let reader = anybody(&gateway);
    let written = send(&gateway.writer(), &likes("p", 20)).await;
    let shown = eventually("the counts", async || {
        let shown = reader.get("/api/posts/p").await;
        (shown.status == 200 && shown.body["likes"] == 20).then_some(shown.body)
    });
    assert_eq!(shown.await["source"], "counters", "{written}");

    world.redis.kill();
    gateway.is("degraded", Some(("counters", "degraded"))).await;
    assert_eq!(reader.get("/health/live").await.status, 200);
    send(&gateway.writer(), &likes("q", 10)).await;
    let shown = eventually("the history", async || {
        let shown = reader.get("/api/posts/q").await;
        (shown.status == 200 && shown.body["likes"] == 10).then_some(shown.body)
    });
    assert_eq!(shown.await["source"], "history");
    let top = reader.get("/api/posts/top?by=likes").await.expect(200);
    assert_eq!(top["source"], "history", "{top}");
    // The gateway applies the limit by itself now.
    let ann = gateway.client("ann");
    let mut limited = 0;
    for _ in 0..40 {
        let answer = ann.post("/api/events", &event("ann", "p", "comment")).await;
        match answer.status.as_u16() {
            202 => {}
            429 => limited += 1,
            other => panic!("{other}: {}", answer.body),
        }
    }
    assert!(limited > 0, "no write was limited while Redis was away");

    // Redis comes back empty, and the processor rebuilds the counters.
    world.redis.start_again().await;
    gateway.is("ready", Some(("counters", "up"))).await;
    eventually("the counters", async || {
        let shown = reader.get("/api/posts/q").await;
        (shown.status == 200 && shown.body["source"] == "counters" && shown.body["likes"] == 10).then_some(())
    })
    .await;
}

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn limits_that_must_be_shared_refuse_writes_without_redis() {
    let mut world = World::new().await;
    let gateway = world.gateway_with(&["--rate-limit", "1000", "--limit-locally=false"]).await;
    let ann = gateway.client("ann");
    ann.post("/api/events", &event("ann", "p", "like")).await.expect(202);
    world.redis.kill();
    let refused = ann.post("/api/events", &event("ann", "p", "like")).await;
    assert!(refused.headers.contains_key("retry-after"), "{refused:?}");
    refused.expect(503);
    world.redis.start_again().await;
    eventually("the limits", async || {
        (ann.post("/api/events", &event("ann", "p", "like")).await.status == 202).then_some(())
    })
    .await;
}

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn without_postgres_writes_pass_and_counters_are_read() {
    let mut world = World::new().await;
    let mut door = Door::to(&place(&world.postgres)).await;
    let direct = world.postgres.clone();
    world.postgres = direct.replace(&place(&direct), &door.address.to_string());
    let gateway = world.gateway().await;
    world.postgres = direct;
    let _processor = world.processor();
    gateway.is("ready", Some(("history", "up"))).await;
    let reader = anybody(&gateway);
    send(&gateway.writer(), &likes("p", 20)).await;
    eventually("the counts", async || (reader.get("/api/posts/p").await.body["likes"] == 20).then_some(()))
        .await;

    door.shut().await;
    gateway.is("degraded", Some(("history", "degraded"))).await;
    send(&gateway.writer(), &likes("q", 10)).await;
    let top = eventually("the counts", async || {
        let top = reader.get("/api/posts/top?by=likes").await;
        (top.status == 200 && top.body["posts"].as_array().unwrap().len() == 2).then_some(top.body)
    });
    assert_eq!(top.await["source"], "counters");
    let refused = reader.get("/api/posts/p/activity?by=hour").await;
    assert!(refused.headers.contains_key("retry-after"), "{refused:?}");
    refused.expect(503);

    door.open().await;
    gateway.is("ready", Some(("history", "up"))).await;
    eventually("an answer", async || {
        (reader.get("/api/posts/p/activity?by=hour").await.status == 200).then_some(())
    })
    .await;
}

#[apply(needs_services!)]
#[apply(needs_broker!)]
#[tokio::test(flavor = "multi_thread")]
async fn without_kafka_writes_are_refused_at_once_and_it_recovers() {
    let mut broker = Broker::start().await;
    let world = World::on(broker.plain.clone()).await;
    world.create_topics().await;
    // Waiting for an acknowledgement would take longer than the test may.
    let patient = ["--kafka-delivery-timeout", "200s", "--answer-timeout", "300s"];
    let gateway = world.gateway_with(&patient).await;
    gateway.is("ready", Some(("log", "up"))).await;
    gateway.client("ann").post("/api/events", &event("ann", "p", "like")).await.expect(202);

    broker.kill();
    gateway.is("unready", Some(("log", "down"))).await;
    assert_eq!(anybody(&gateway).get("/health/live").await.status, 200);
    // One write tries whether Kafka is still away. The others do not wait for it.
    let eve = gateway.client("eve");
    let like = event("eve", "p", "like");
    let mut tries: FuturesUnordered<_> = (0..3).map(|_| eve.post("/api/events", &like)).collect();
    for _ in 0..2 {
        let refused = tries.next().await.expect("three writes were sent");
        assert!(refused.headers.contains_key("retry-after"), "{refused:?}");
        refused.expect(503);
    }
    let batch = gateway.writer().post("/api/events/batch", &json!(likes("p", 3))).await;
    assert!(batch.headers.contains_key("retry-after"), "{batch:?}");
    batch.expect(503);

    broker.restart().await;
    // This includes reads, although there is nothing new to read.
    gateway.is("ready", Some(("live", "up"))).await;
    gateway.client("ann").post("/api/events", &event("ann", "p", "comment")).await.expect(202);
    // The write that tried in the meantime was taken in the end.
    tries.next().await.expect("one write tried").expect(202);
}

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_kafka_does_not_accept_refuses_writes_as_temporary() {
    let world = World::on(given("FEEDKIT_TEST_KAFKA")).await;
    // Every record is too old for this topic, as it would be if this machine's clock were slow.
    let kafka = Kafka::new(&world.kafka, &world.name);
    let topic = NewTopic::new(&world.name).partitions(3).set("message.timestamp.before.max.ms", "0");
    create_topics(&kafka, &[topic, NewTopic::new(format!("{}-notifications", world.name))]).await.unwrap();
    let gateway = world.gateway_with(&["--kafka-linger", "50ms"]).await;
    gateway.is("ready", Some(("log", "up"))).await;
    let refused = gateway.client("ann").post("/api/events", &event("ann", "p", "like")).await;
    assert!(refused.headers.contains_key("retry-after"), "{refused:?}");
    refused.expect(503);
    let seen = gateway.is("unready", Some(("log", "down"))).await;
    assert!(seen.to_string().contains("clock"), "{seen}");
}

#[apply(needs_services!)]
#[apply(needs_broker!)]
#[tokio::test(flavor = "multi_thread")]
async fn started_before_all_the_others_it_comes_up_with_them() {
    let mut broker = Broker::start().await;
    let mut world = World::on(broker.plain.clone()).await;
    world.create_topics().await;
    let mut door = Door::to(&place(&world.postgres)).await;
    world.postgres = world.postgres.replace(&place(&world.postgres), &door.address.to_string());
    broker.kill();
    door.shut().await;
    world.redis.kill();

    let gateway = world.gateway().await;
    let seen = gateway.is("unready", Some(("counters", "degraded"))).await;
    assert!(seen.to_string().contains("PostgreSQL"), "{seen}");
    assert_eq!(anybody(&gateway).get("/health/live").await.status, 200);
    let processor = world.processor();

    door.open().await;
    world.redis.start_again().await;
    broker.restart().await;
    gateway.is("ready", None).await;
    send(&gateway.writer(), &likes("p", 10)).await;
    let reader = anybody(&gateway);
    eventually("the counts", async || (reader.get("/api/posts/p").await.body["likes"] == 10).then_some(()))
        .await;
    drop(processor);
}
