//! Records that no gateway writes: each is rejected, and the processor goes on.

use std::time::Duration;

use bytes::Bytes;
use feedkit_core::sink::NewRecord;
use feedkit_core::{EventId, EventPolicy, JsonCodec, Timestamp};
use feedkit_kafka::Kafka;
use feedkit_kafka::admin::NewTopic;
use feedkit_test_services::{DEADLINE, apply, eventually, needs_services, unique};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::Value;

use crate::oracle::{judge, logged, totals};
use crate::traffic::{Flow, Sender, lively, seed};
use crate::world::World;

/// Sends a record to a partition, with or without a key and a value.
async fn raw(kafka: &Kafka, records: Vec<(Option<&'static str>, Option<Bytes>, i32)>) {
    let kafka = kafka.clone();
    let send = move || {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &kafka.bootstrap)
            .set("message.max.bytes", "8000000")
            .create()
            .unwrap();
        for (key, value, partition) in &records {
            let mut record: BaseRecord<'_, str, [u8]> = BaseRecord::to(&kafka.topic).partition(*partition);
            record.key = *key;
            record.payload = value.as_deref();
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(DEADLINE).unwrap();
    };
    tokio::task::spawn_blocking(send).await.unwrap();
}

fn like(id: Option<EventId>, user: &str) -> Bytes {
    let id = id.map(|id| format!(r#""id":"{id}","#)).unwrap_or_default();
    format!(r#"{{{id}"userId":"{user}","postId":"p","type":"like"}}"#).into()
}

/// Values that are not valid events, each with a word of the reason or the detail.
fn hostile() -> Vec<(Option<Bytes>, &'static str)> {
    let at = |millis: i64| EventId::derived(Timestamp::from_millis(millis), rand::random());
    let text = |text: String| Some(Bytes::from(text));
    let deep = "[".repeat(100_000);
    let nested = format!(
        r#"{{"userId":"u","postId":"p","type":"like","attributes":{}1{}}}"#,
        "{\"a\":".repeat(50_000),
        "}".repeat(50_000)
    );
    // Larger than the part that is stored, and not compressible.
    let large: Vec<u8> = (0..5_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let long = "x".repeat(5_000_000);
    vec![
        (None, "malformed"),
        (Some(Bytes::new()), "malformed"),
        (Some(Bytes::from(large)), "malformed"),
        (text(format!(r#"{{"userId":"u","postId":"p","type":"comment","text":"{long}"}}"#)), "text"),
        (
            Some(Bytes::from_static(b"{\"userId\":\"\xff\xfe\",\"postId\":\"p\",\"type\":\"like\"}")),
            "malformed",
        ),
        (Some(Bytes::from_static(b"\0\0\0\0")), "malformed"),
        (text(r#"{"userId":"u","postId":"p","type":"comment","text":"a\u0000b"}"#.to_owned()), "text"),
        (text(r#"{"userId":"u\u0000","postId":"p","type":"like"}"#.to_owned()), "userId"),
        (text(r#"{"userId":"u","postId":"p","type":"comment","text":"\ud800"}"#.to_owned()), "malformed"),
        (text(deep), "malformed"),
        (text(nested), ""),
        (text("null".to_owned()), "malformed"),
        (text(r#"{"userId":"u","postId":"p","type":"like"} {}"#.to_owned()), "malformed"),
        (Some(like(Some(at(0)), "u")), "too_old"),
        (Some(like(Some(at(4_102_444_800_000)), "u")), "too_new"),
    ]
}

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn hostile_records_are_rejected_and_nothing_stands_still() {
    let seed = seed();
    let topic = NewTopic::new(unique("events")).partitions(4).set("max.message.bytes", "8000000");
    let world = World::with_topic(topic).await;
    let (process, _) = world.started().await;
    let flow = Flow::start(&world.events, &lively(seed), 40, Duration::from_millis(20));
    let hostile = hostile();
    // In every partition, under one key, whatever partition the key belongs to.
    let records = hostile.iter().flat_map(|(value, _)| (0..4).map(|p| (Some("same"), value.clone(), p)));
    raw(&world.events, records.collect()).await;
    let row = (Some("x"), Some(Bytes::from_static(b"{]")), 2);
    raw(&world.events, vec![row; 10_000]).await;
    // An event is valid without a key, and in another partition than its user's.
    raw(
        &world.events,
        vec![(None, Some(like(None, "keyless")), 1), (Some("k"), Some(like(None, "astray")), 3)],
    )
    .await;
    eventually("traffic flows beside it", async || flow.sent() >= 600).await;
    flow.stop().await;
    let end = world.events.ends().await.unwrap();
    let client = world.database.client().await;
    let position = "SELECT coalesce(sum(position), 0)::bigint FROM positions";
    eventually("all of it is read", async || {
        client.query_one(position, &[]).await.unwrap().get::<_, i64>(0) as u64 == end.total()
    })
    .await;
    process.stop().await;
    world.catch_up().await;
    let model = judge(&world).await;
    assert!(model.counts.rejected >= 10_000 + 4 * hostile.len() as u64, "{:?}", model.counts);

    let listed: Value = world.json(&["rejected", "list", "-n", "100000"]).await;
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len() as u64, model.counts.rejected);
    // These are found by their values.
    let rows = client
        .query("SELECT reason || ' ' || coalesce(field, '') || ' ' || detail, octet_length(value)::bigint, size FROM rejected WHERE size > 1000000", &[])
        .await
        .unwrap();
    assert_eq!(rows.len(), 8);
    for row in rows {
        assert_eq!((row.get::<_, i64>(1), row.get::<_, i64>(2) >= 5_000_000), (64 * 1024, true));
    }
    let reasons = client.query("SELECT reason, coalesce(field, '') FROM rejected", &[]).await.unwrap();
    let reasons: Vec<(String, String)> = reasons.iter().map(|row| (row.get(0), row.get(1))).collect();
    for (_, word) in &hostile {
        let found = reasons.iter().filter(|(reason, field)| reason.contains(word) || field == word).count();
        assert!(found >= 4, "{word}: {found}");
    }
    // Sending them again makes none of them valid.
    let again = world.ok(&["rejected", "retry"]).await;
    assert!(again.starts_with("0 records"), "{again}");
}

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn what_a_wider_configuration_accepts_comes_back_once() {
    let world = World::new().await;
    let share = |i: usize| {
        let user = format!("u{i}");
        let value = format!(r#"{{"userId":"{user}","postId":"p","type":"share"}}"#);
        NewRecord::keyed(&user, value.into())
    };
    let sender = Sender::to(&world.events);
    sender.send((0..1200).map(share).collect()).await;
    sender.send(vec![NewRecord::keyed("u", "{".into())]).await;
    world.catch_up().await;
    let model = judge(&world).await;
    assert_eq!((model.counts.rejected, model.counts.accepted), (1201, 0));
    let same = world.ok(&["rejected", "retry"]).await;
    assert!(same.starts_with("0 records") && same.contains("1201"), "{same}");

    let world = world.set("EVENTS_EXTRA_KINDS", "share");
    // Two commands at once send everything twice. Each event has the id that its place gave it.
    let (one, two) = tokio::join!(world.ok(&["rejected", "retry"]), world.ok(&["rejected", "retry"]));
    println!("{one}{two}");
    let third = world.ok(&["rejected", "retry"]).await;
    assert!(third.starts_with("0 records") && third.contains("1 are still not valid events"), "{third}");
    world.catch_up().await;
    assert_eq!(totals(&world).await["p"]["share"], 1200);
    assert_eq!(world.json(&["rejected", "list"]).await.as_array().unwrap().len(), 1);
    world.ok(&["verify"]).await;

    // The model gets the resent records and the new one, but not the records that were rejected at
    // first.
    let mut records = logged(&world.events).await;
    for records in records.records.values_mut() {
        records.retain(|record| {
            !record.value.ends_with(br#""type":"share"}"#) || record.value.starts_with(br#"{"id""#)
        });
    }
    let policy = EventPolicy::default().extra_kinds(["share".to_owned()].into());
    let model = records.model(JsonCodec::new(policy.clone()));
    assert_eq!((model.counts.accepted, model.counts.rejected), (1200, 1));
    crate::oracle::judge_model(&world, &model).await;
    // From here on such records are valid at once.
    sender.send((0..50).map(share).collect()).await;
    world.catch_up().await;
    assert_eq!(totals(&world).await["p"]["share"], 1250);
}
