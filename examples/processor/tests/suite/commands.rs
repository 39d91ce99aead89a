//! The output and the errors of each command.

use std::time::Duration;

use feedkit_core::Clock;
use feedkit_core::sink::NewRecord;
use feedkit_test_programs::Process;
use feedkit_test_services::{apply, eventually, free_port, needs_services, unique};
use rustix::process::Signal;
use serde_json::Value;

use crate::answers::{get, readiness};
use crate::oracle::{judge, totals};
use crate::traffic::{Sender, lively, seed};
use crate::world::{World, bare};

/// A world with some traffic that everything has caught up with.
async fn with_traffic() -> World {
    let world = World::new().await;
    let config = lively(seed()).count(600);
    Sender::to(&world.events).send(config.traffic().map(|item| item.record()).collect()).await;
    world.catch_up().await;
    world
}

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn topics_are_made_once_and_missed_when_they_are_not_there() {
    let mut world = World::new().await;
    world.events.topic = unique("later");
    world.notifications.topic = unique("later");
    for args in [&["--check"][..], &[], &["--until-caught-up"]] {
        let said = world.fails(1, args).await;
        assert!(said.contains(&world.events.topic) && said.contains("create-topics"), "{said}");
    }
    let made = world.ok(&["create-topics", "--partitions", "3"]).await;
    assert_eq!(made.matches(": created").count(), 2, "{made}");
    let again = world.ok(&["create-topics", "--partitions", "3"]).await;
    assert_eq!(again.matches("exists already\n").count(), 2, "{again}");
    let differ = world.run(&["create-topics", "--partitions", "5", "--min-in-sync", "2"]).await;
    assert_eq!(differ.status.code(), Some(1), "{differ}");
    for difference in ["the number of partitions is 3, not 5", "min.insync.replicas is 1, not 2"] {
        assert_eq!(differ.stdout.matches(difference).count(), 2, "{differ}");
    }
    assert_eq!(world.events.ends().await.unwrap().iter().count(), 3);
    world.ok(&["--check"]).await;
    world.fails(2, &["create-topics", "--partitions", "0"]).await;
}

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_check_says_what_does_not_answer() {
    let mut world = World::new().await;
    assert!(world.ok(&["--check"]).await.contains("answer"));
    let nobody = free_port();
    let redis = std::mem::replace(&mut world.redis_url, format!("redis://127.0.0.1:{nobody}/"));
    let said = world.fails(1, &["--check"]).await;
    assert!(said.contains("Redis") && said.contains("temporary"), "{said}");
    world.redis_url = redis;
    let postgres = std::mem::replace(&mut world.postgres_url, world.database.url_at_port(nobody));
    assert!(world.fails(1, &["--check"]).await.contains("PostgreSQL"));
    world.postgres_url = postgres;
    world.properties(&[("acks", "1")]);
    assert!(world.fails(2, &["--check"]).await.contains("acks"));
    world.properties(&[]);
    world.redis.ask::<String>("CONFIG SET maxmemory-policy allkeys-lru").await;
    let said = world.fails(1, &["--check"]).await;
    assert!(said.contains("allkeys-lru"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_told_apart_from_failure() {
    // No service is needed for these.
    for (args, named) in [
        (&["--no-such-flag"][..], "no-such-flag"),
        (&["no-such-command"], "no-such-command"),
        (&["--group-max-batch", "0"], "group-max-batch"),
        (&["--alerts-lease", "1s"], "alerts-lease"),
        (&["--json"], "until-caught-up"),
        (&["--config", "/no/such/file.toml", "status"], "/no/such/file.toml"),
        (&["erase-user", "no user"], "no user"),
    ] {
        let ended = Process::start(&mut bare(args)).ended().await;
        assert_eq!(ended.status.code(), Some(2), "{args:?}: {ended}");
        assert!(ended.stderr.contains(named), "{args:?}: {ended}");
    }
    let ended = Process::start(&mut bare(&["--version"])).ended().await;
    assert_eq!(ended.stdout.trim(), format!("feedkit-processor {}", env!("CARGO_PKG_VERSION")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_is_in_step_with_the_program() {
    let ended = Process::start(&mut bare(&["reference"])).ended().await;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration-processor.md");
    assert!(
        std::fs::read_to_string(path).unwrap() == ended.stdout,
        "docs/configuration-processor.md is out of step: `feedkit-processor reference` makes it"
    );
}

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn the_state_is_told() {
    let world = with_traffic().await;
    let status: Value = world.json(&["status"]).await;
    let rows = status.as_array().unwrap();
    assert_eq!(rows.len(), 4);
    for row in rows {
        let end = &row["end"];
        assert!(end.as_u64().unwrap() > 0, "{row}");
        assert_eq!((&row["committed"], &row["counters"], &row["rollups"]), (end, end, end), "{row}");
        assert_eq!((row["lag"].as_u64(), row["epoch"].as_u64() > Some(0)), (Some(0), true), "{row}");
    }
    let (running, _) = world.started().await;
    eventually("a processor runs the alerts", async || {
        let said = world.ok(&["status"]).await;
        said.contains("runs the alerts") && !said.contains("nobody")
    })
    .await;
    running.stop().await;
    assert!(world.ok(&["status"]).await.contains("alerts are stored; nobody runs the alerts"));
    let caught: Value = world.json(&["--until-caught-up"]).await;
    assert_eq!(caught["events"], 0, "{caught}");
    // While Redis is away, its column is unknown and the others are shown.
    let mut world = world;
    world.redis_url = format!("redis://127.0.0.1:{}/", free_port());
    let status: Value = world.json(&["status"]).await;
    assert_eq!((&status[0]["counters"], status[0]["lag"].as_u64()), (&Value::Null, Some(0)));
}

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn damage_is_found_and_mended() {
    let world = with_traffic().await;
    let before = totals(&world).await;
    world.ok(&["verify"]).await;
    let client = world.database.client().await;
    client
        .batch_execute("UPDATE post_totals SET count = count + 1 WHERE post_id = 'promoted'")
        .await
        .unwrap();
    let said = world.fails(1, &["verify"]).await;
    assert!(said.contains("promoted"), "{said}");
    let report = world.run(&["verify", "--json"]).await;
    assert_eq!(report.status.code(), Some(1));
    let report: Value = serde_json::from_str(&report.stdout).unwrap();
    assert!(report["history"]["differenceCount"].as_u64() > Some(0), "{report}");
    world.ok(&["rebuild", "rollups"]).await;
    world.ok(&["verify"]).await;
    assert_eq!(totals(&world).await, before);

    world.redis.ask::<i64>("INCRBY post:promoted:likes 5").await;
    let said = world.fails(1, &["verify"]).await;
    assert!(said.contains("promoted") && said.contains("counters"), "{said}");
    world.ok(&["rebuild", "counters"]).await;
    world.ok(&["verify"]).await;
    // A counter that should not exist.
    world.redis.ask::<String>("FLUSHALL").await;
    assert!(world.ok(&["verify"]).await.contains("not compared"));
    world.ok(&["rebuild", "counters"]).await;
    judge(&world).await;
}

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_erased_and_counts_stay() {
    let world = World::new().await;
    let sender = Sender::to(&world.events);
    let event = |user: &str, kind: &str, text: &str| {
        let value = format!(r#"{{"userId":"{user}","postId":"p","type":"{kind}","text":"{text}"}}"#);
        NewRecord::keyed(user, value.into())
    };
    let plain = |user: &str| {
        NewRecord::keyed(user, format!(r#"{{"userId":"{user}","postId":"p","type":"like"}}"#).into())
    };
    sender
        .send(vec![
            event("ann", "post", "my secret"),
            event("ann", "comment", "my secret too"),
            plain("ann"),
            plain("bob"),
        ])
        .await;
    world.catch_up().await;
    let before = totals(&world).await;
    let said = world.ok(&["erase-user", "ann"]).await;
    assert!(said.contains("3 events") && said.contains("1 posts"), "{said}");
    assert_eq!(totals(&world).await, before);
    world.ok(&["verify"]).await;
    let found = "SELECT count(*) FROM events WHERE user_id = 'ann' OR text LIKE '%secret%'";
    let left: i64 = world.database.client().await.query_one(found, &[]).await.unwrap().get(0);
    assert_eq!(left, 0);
    // The same person again, and an unknown one.
    world.ok(&["erase-user", "ann"]).await;
    world.ok(&["erase-user", "nobody"]).await;
}

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_are_answered() {
    let world = with_traffic().await;
    let (process, address) = world.started().await;
    assert_eq!(get(address, "/health/live").await.unwrap().0, 200);
    assert_eq!(get(address, "/nothing").await.unwrap().0, 404);
    let (_, body) = readiness(address).await.unwrap();
    let names: Vec<_> =
        body["components"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    for name in ["log", "history", "counters", "rollups", "alerts"] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    let sample = lively(1).count(200);
    Sender::to(&world.events).send(sample.traffic().map(|item| item.record()).collect()).await;
    eventually("the records are counted", async || {
        let (status, text) = get(address, "/metrics").await.unwrap();
        assert_eq!(status, 200);
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.map_or(0.0, |value| value.trim().parse::<f64>().unwrap())
        };
        let records: f64 = ["accepted", "duplicate", "rejected"]
            .into_iter()
            .map(|outcome| value(&format!("feedkit_processor_records{{outcome=\"{outcome}\"}}")))
            .sum();
        let well = ["log", "history", "counters", "rollups", "alerts"]
            .into_iter()
            .all(|name| value(&format!("feedkit_processor_component_up{{component=\"{name}\"}}")) == 1.0);
        records == 200.0 && well && value("feedkit_processor_alert_lease") == 1.0
    })
    .await;
    process.stop().await;
}

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_in_time_whatever_is_away() {
    let mut world = World::new().await;
    let deadline = Duration::from_secs(5);
    world = world.set("SHUTDOWN_DEADLINE", "5s");
    let (mut process, address) = world.started().await;
    world.redis.kill();
    eventually("it is not ready", async || readiness(address).await.is_some_and(|(ready, _)| !ready)).await;
    let asked = feedkit_core::SystemClock.now();
    process.signal(Signal::TERM);
    let ended = process.ended().await;
    assert_eq!(ended.status.code(), Some(0), "{ended}");
    println!(
        "stopped after {:?} of {deadline:?}: {}",
        feedkit_core::SystemClock.now().since(asked),
        ended.status
    );
    // It also stops while it waits for PostgreSQL.
    world.postgres_url = world.database.url_at_port(free_port());
    let mut process = Process::start(&mut world.command(&[]));
    process.says("waiting for PostgreSQL").await;
    process.signal(Signal::TERM);
    let ended = process.ended().await;
    assert_eq!(ended.status.code(), Some(0), "{ended}");
    // A stop must not look like the end of catching up.
    let mut process = Process::start(&mut world.command(&["--until-caught-up"]));
    process.says("waiting for PostgreSQL").await;
    process.signal(Signal::TERM);
    assert_eq!(process.ended().await.status.code(), Some(1));
}

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_second_processor_of_another_group_is_refused() {
    let world = with_traffic().await;
    let said = world.fails(2, &["--group", "another"]).await;
    assert!(said.contains("another") && said.contains("group"), "{said}");
}
