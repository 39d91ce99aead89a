//! A log that has lost records while no processor ran: the loss is always reported.

use std::collections::BTreeMap;

use feedkit_core::history::History;
use feedkit_core::sink::NewRecord;
use feedkit_core::{EventSink, Partition};
use feedkit_kafka::admin::{NewTopic, create_topics};
use feedkit_kafka::{Kafka, SinkOptions};
use feedkit_test_services::{apply, eventually, needs_services, unique};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::Value;

use crate::answers::readiness;
use crate::oracle::totals;
use crate::world::{World, ready};

fn admin(kafka: &Kafka) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", &kafka.bootstrap).create().unwrap()
}

/// Deletes the records of a partition before an offset, as retention does.
async fn drop_before(kafka: &Kafka, partition: u32, offset: u64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&kafka.topic, partition as i32, Offset::Offset(offset as i64)).unwrap();
    let deleted = admin(kafka).delete_records(&list, &AdminOptions::new()).await.unwrap();
    deleted.elements()[0].error().unwrap();
}

/// Deletes the topic and creates it again.
async fn recreate(kafka: &Kafka) {
    let deleted = admin(kafka).delete_topics(&[&kafka.topic], &AdminOptions::new()).await.unwrap();
    deleted[0].as_ref().unwrap();
    eventually("the topic is made anew", async || {
        let topic = NewTopic::new(&kafka.topic).partitions(2);
        create_topics(kafka, &[topic]).await.is_ok_and(|made| made[0].is_new)
    })
    .await;
}

/// Sends likes of one post by users `PREFIX0`, `PREFIX1`, …, until each of two partitions has at
/// least ten.
async fn likes(kafka: &Kafka, prefix: &str) -> BTreeMap<Partition, u64> {
    let sink = kafka.sink(SinkOptions::default()).unwrap();
    let mut sent: BTreeMap<Partition, u64> = BTreeMap::new();
    for i in 0.. {
        if sent.len() == 2 && sent.values().all(|n| *n >= 10) {
            break;
        }
        let user = format!("{prefix}{i}");
        let value = format!(r#"{{"userId":"{user}","postId":"p","type":"like"}}"#);
        let position = sink.send(vec![NewRecord::keyed(&user, value.into())]).await.remove(0).unwrap();
        *sent.entry(position.partition).or_default() += 1;
    }
    sent
}

async fn world() -> World {
    let world = World::with_topic(NewTopic::new(unique("events")).partitions(2)).await;
    likes(&world.events, "a").await;
    world.catch_up().await;
    world
}

async fn likes_of_p(world: &World) -> i64 {
    totals(world).await.get("p").and_then(|counts| counts.get("like")).copied().unwrap_or(0)
}

/// The partition stops, and readiness fails with both offsets. `accept-gap` shows where it would
/// resume, then resumes.
async fn stops_until_accepted(world: &World, word: &str, numbers: [u64; 2]) {
    let (process, address) = world.start().await;
    let stopped = async || {
        let (ready, body) = readiness(address).await?;
        let components = body["components"].as_array().unwrap().clone();
        let history = components.into_iter().find(|c| c["name"] == "history")?;
        let detail = history["detail"].as_str()?.to_owned();
        (!ready && detail.contains("stopped")).then_some(detail)
    };
    let named = [format!("offset {}", numbers[0]), format!("{}..", numbers[1]), word.to_owned()];
    eventually("the partition stops and both offsets are named", async || {
        stopped().await.is_some_and(|detail| named.iter().all(|words| detail.contains(words)))
    })
    .await;
    process.stop().await;
    let said = world.fails(1, &["--until-caught-up"]).await;
    assert!(said.contains(word) && said.contains("accept-gap"), "{said}");

    let before = world.postgres().await.history().positions().await.unwrap();
    let shown = world.ok(&["accept-gap"]).await;
    assert!(
        shown.contains(word) && shown.contains("--yes") && shown.contains(&numbers[0].to_string()),
        "{shown}"
    );
    assert_eq!(world.postgres().await.history().positions().await.unwrap(), before, "it was only asked");
    let accepted = world.ok(&["accept-gap", "--yes"]).await;
    assert!(accepted.contains("recorded"), "{accepted}");
    let nothing = world.ok(&["accept-gap"]).await;
    assert!(nothing.contains("no partition has a gap"), "{nothing}");
}

/// After that everything works, and the stores agree with each other.
async fn goes_on(world: &World, expected: i64) {
    world.catch_up().await;
    assert_eq!(likes_of_p(world).await, expected);
    world.ok(&["verify"]).await;
    let (process, address) = world.start().await;
    ready(address).await;
    let more = likes(&world.events, "z").await;
    let expected = expected + more.values().sum::<u64>() as i64;
    eventually("what comes now is counted", async || likes_of_p(world).await == expected).await;
    process.stop().await;
    world.catch_up().await;
    let verified: Value = world.json(&["verify"]).await;
    assert_eq!(verified["history"]["differenceCount"], 0, "{verified}");
    assert_eq!(verified["counters"]["differenceCount"], 0, "{verified}");
    assert_eq!(verified["counters"]["notCompared"], Value::Null, "{verified}");
    let gaps = world.database.client().await.query("SELECT * FROM gaps", &[]).await.unwrap();
    assert!(!gaps.is_empty());
}

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn records_that_expired_unread_are_a_gap() {
    let world = world().await;
    let had = likes_of_p(&world).await;
    let at = world.postgres().await.history().positions().await.unwrap().of(Partition(1));
    let more = likes(&world.events, "b").await;
    drop_before(&world.events, 1, at + 4).await;
    stops_until_accepted(&world, "expired", [at, at + 4]).await;
    // The other partition has continued by itself. Four records of this one are lost.
    goes_on(&world, had + more.values().sum::<u64>() as i64 - 4).await;
}

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_ends_before_what_was_read_is_a_gap() {
    let world = world().await;
    let had = likes_of_p(&world).await;
    let at = world.postgres().await.history().positions().await.unwrap().of(Partition(0));
    // As if the broker had lost its newest records: the history is ahead of the log.
    let client = world.database.client().await;
    let ahead =
        "UPDATE positions SET position = position + 7, last_offset = last_offset + 7 WHERE partition = 0";
    client.batch_execute(ahead).await.unwrap();
    let shift = "UPDATE journal SET next = next + 7 WHERE partition = 0 AND next = $1";
    assert_eq!(client.execute(shift, &[&(at as i64)]).await.unwrap(), 1);
    stops_until_accepted(&world, "truncated", [at + 7, 0]).await;
    // It resumes where the log begins. Events that were read before are recognized.
    goes_on(&world, had).await;
}

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_log_made_anew_is_a_gap() {
    let world = world().await;
    let had = likes_of_p(&world).await;
    let at = world.postgres().await.history().positions().await.unwrap();
    recreate(&world.events).await;
    let more = likes(&world.events, "b").await;
    // Both partitions stop.
    stops_until_accepted(&world, "recreated", [at.of(Partition(0)), 0]).await;
    goes_on(&world, had + more.values().sum::<u64>() as i64).await;
}

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_gap_can_be_accepted_elsewhere_and_for_one_partition() {
    let world = world().await;
    let had = likes_of_p(&world).await;
    let at = world.postgres().await.history().positions().await.unwrap();
    let more = likes(&world.events, "b").await;
    for partition in 0..2 {
        drop_before(&world.events, partition, at.of(Partition(partition)) + 2).await;
    }
    let to = at.of(Partition(0)) + 5;
    world.fails(2, &["accept-gap", "--to", "1", "--partition", "0", "--yes"]).await;
    world.ok(&["accept-gap", "--partition", "0", "--to", &to.to_string(), "--yes"]).await;
    let left = world.ok(&["accept-gap"]).await;
    assert!(left.contains("partition 1") && !left.contains("partition 0"), "{left}");
    world.ok(&["accept-gap", "--yes"]).await;
    goes_on(&world, had + more.values().sum::<u64>() as i64 - 5 - 2).await;
}
