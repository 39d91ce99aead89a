//! Connections that break, servers that fall, writers that come too late: what was committed is
//! there once.

use std::sync::Arc;
use std::time::Duration;

use feedkit_core::effect::LikePolicy;
use feedkit_core::history::{CommitBatch, Committed};
use feedkit_core::source::Record;
use feedkit_core::testkit::conformance::support::{LOG, batch as small_batch, entry, event, post};
use feedkit_core::testkit::split::{batch, model, partitions};
use feedkit_core::{AlertLog, ErrorKind, Follower, History, Inspect, Offset, Partition, Queries, Timestamp};
use feedkit_store::postgres::PostgresHistory;
use feedkit_test_services::{
    Cut, PostgresServer, Proxy, Stop, Watch, apply, eventually, needs_postgres, needs_postgres_server,
};

use super::support::{Databases, client, connect, follow, options, reached};
use crate::histories::NONE;
use crate::histories::traffic::{dense, seed};

const P0: Partition = Partition(0);

/// Commits until everything is settled, as the pipeline does. Returns no partitions that were
/// settled before.
async fn settle(history: &PostgresHistory, batch: CommitBatch) -> (Option<Committed>, u32) {
    let (batch, mut uncertain) = (Arc::new(batch), 0);
    loop {
        match history.commit(Arc::clone(&batch)).await {
            Ok(committed) => return (Some(committed), uncertain),
            Err(error) if error.kind() == ErrorKind::Uncertain => {
                uncertain += 1;
                let claim = loop {
                    match history.claimed(batch.partition).await {
                        Ok(claim) => break claim,
                        Err(error) => assert_eq!(error.kind(), ErrorKind::Retriable, "{error}"),
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                };
                assert_eq!(claim.epoch, batch.epoch);
                if claim.position == batch.to {
                    return (None, uncertain);
                }
                assert_eq!(claim.position, batch.from);
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Retriable, "{error}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

async fn proxied(url: &str) -> (Proxy, String) {
    let config: tokio_postgres::Config = url.parse().unwrap();
    let host = match config.get_hosts().first() {
        Some(tokio_postgres::config::Host::Tcp(host)) => host.clone(),
        other => panic!("no host: {other:?}"),
    };
    let proxy = Proxy::to(format!("{host}:{}", config.get_ports()[0]), Watch::Commit).await;
    let url = reached(url, |config| {
        config.host("127.0.0.1").port(proxy.port);
    });
    (proxy, url)
}

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_in_commit_is_settled_exactly() {
    let databases = Databases::new();
    let url = databases.url().await;
    let (proxy, through) = proxied(&url).await;
    let history = connect(options(&through)).await.history();
    let seed = seed();
    let partitions = partitions(&dense(seed));
    let epoch = history.claim(P0, "g").await.unwrap().epoch;
    let records = &partitions[0];
    let mut uncertain = 0;
    for (i, part) in records.chunks(40).enumerate() {
        let cut = [Cut::Before, Cut::After, Cut::Never][i % 3];
        proxy.cut_next(cut);
        let (committed, unsure) = settle(&history, batch(P0, epoch, part[0].offset, part)).await;
        assert_eq!(committed.is_some(), cut != Cut::After, "seed {seed}, {cut:?}");
        assert_eq!(unsure, u32::from(cut != Cut::Never), "seed {seed}, {cut:?}");
        uncertain += u64::from(unsure);
    }
    assert_eq!(proxy.cuts(), uncertain);
    // Looked at without the proxy.
    let store = connect(options(&url)).await;
    follow(&store.history(), &store.rollups()).await.unwrap();
    let model = model(&partitions[..1], LikePolicy::Unique);
    assert_eq!(model.compare_queries(&store.history()).await.unwrap(), NONE, "seed {seed}");
    assert_eq!(model.compare_journal(&store.history()).await.unwrap(), NONE, "seed {seed}");
}

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn alert_steps_and_rollups_cut_in_commit_are_uncertain() {
    let databases = Databases::new();
    let (proxy, through) = proxied(&databases.url().await).await;
    let store = connect(options(&through)).await;
    let log = store.alert_log();
    let lease = log.acquire("a", Timestamp::EPOCH, Duration::from_secs(9)).await.unwrap().unwrap();
    for (i, cut) in [Cut::Before, Cut::After].into_iter().enumerate() {
        let number = log.recover(&lease).await.unwrap().steps.len() as u64 + 1;
        let step = feedkit_core::alert_log::AlertStep {
            number,
            watermark: Timestamp::EPOCH,
            consumed: vec![],
            alerts: vec![],
        };
        proxy.cut_next(cut);
        let error = log.step(&lease, &step).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Uncertain, "{error}");
        assert_eq!(log.recover(&lease).await.unwrap().steps.len(), i);
    }

    let rollups = store.rollups();
    let one = [entry(0, 10, &[("a", "p", "like")])];
    for (cut, stored) in [(Cut::Before, 0), (Cut::After, 10)] {
        rollups.apply(P0, &one).await.unwrap();
        proxy.cut_next(cut);
        assert_eq!(rollups.close().await.unwrap_err().kind(), ErrorKind::Uncertain);
        let at = feedkit_core::follower::FollowerPosition::At(stored);
        assert_eq!(rollups.position(P0).await.unwrap(), at);
    }
    rollups.apply(P0, &one).await.unwrap();
    rollups.close().await.unwrap();
    assert_eq!(store.history().post(&post("p")).await.unwrap().unwrap().likes, 1);
}

#[apply(needs_postgres_server!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_falls_under_commits_loses_nothing_acknowledged() {
    let server = PostgresServer::start("");
    let seed = seed();
    let partitions = Arc::new(partitions(&dense(seed)));
    let store = connect(options(&server.url())).await;
    let mut writers = Vec::new();
    for p in 0..4u32 {
        let (history, partitions) = (store.history(), Arc::clone(&partitions));
        writers.push(tokio::spawn(async move {
            let records: &[Record] = &partitions[p as usize];
            let epoch = history.claim(Partition(p), "g").await.unwrap().epoch;
            for part in records.chunks(5) {
                settle(&history, batch(Partition(p), epoch, part[0].offset, part)).await;
            }
        }));
    }
    let watched = store.history();
    let total = partitions.iter().map(|p| p.len() as u64).sum::<u64>();
    for quarter in 1..4 {
        eventually("commits go on", async || {
            watched.positions().await.is_ok_and(|at| at.total() >= quarter * total / 4)
        })
        .await;
        tokio::task::block_in_place(|| server.restart(Stop::Immediate));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    follow(&store.history(), &store.rollups()).await.unwrap();
    let model = model(&partitions, LikePolicy::Unique);
    assert_eq!(model.compare_queries(&store.history()).await.unwrap(), NONE, "seed {seed}");
    assert_eq!(model.compare_journal(&store.history()).await.unwrap(), NONE, "seed {seed}");
}

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn two_writers_take_turns_by_epoch_only() {
    let databases = Databases::new();
    let url = databases.url().await;
    let (one, two) = (connect(options(&url)).await.history(), connect(options(&url)).await.history());
    let old = one.claim(P0, "g").await.unwrap().epoch;
    let like = |offset: Offset| vec![event(offset, "a", &format!("p{offset}"), "like")];
    one.commit(Arc::new(small_batch(old, 0, 10, like(0)))).await.unwrap();
    let mut epochs = (old, 0);
    for round in 1..10u64 {
        let (from, to) = (round * 10, round * 10 + 10);
        epochs = (two.claim(P0, "g").await.unwrap().epoch, epochs.0);
        // The zombie tries the same, and something of its own, at the same time.
        let new = small_batch(epochs.0, from, to, like(from));
        let stale = small_batch(epochs.1, from, to, like(from + 1));
        let (done, refused) = tokio::join!(two.commit(Arc::new(new)), one.commit(Arc::new(stale)));
        done.unwrap();
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Fenced);
    }
    assert_eq!(two.claimed(P0).await.unwrap().position, 100);
    assert_eq!(two.verify().await.unwrap().events, 10);
    assert_eq!(two.verify().await.unwrap().differences, NONE);
}

/// A process that was stopped in the middle of its transaction holds the partition's row; the
/// server ends it.
#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_in_mid_transaction_is_ended_by_the_server() {
    let databases = Databases::new();
    let url = databases.url().await;
    let history = connect(options(&url)).await.history();
    history.claim(P0, "g").await.unwrap();
    let zombie = client(&url).await;
    zombie
        .batch_execute(
            "SET idle_in_transaction_session_timeout = 300; BEGIN; UPDATE positions SET position = position",
        )
        .await
        .unwrap();
    let claim = history.claim(P0, "g").await.unwrap();
    assert_eq!(claim.epoch, 2);
    assert!(zombie.batch_execute("COMMIT").await.is_err());
}

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_is_tried_again() {
    let databases = Databases::new();
    let url = databases.url().await;
    let store = connect(options(&url)).await;
    let rollups = Arc::new(store.rollups());
    rollups.apply(P0, &[entry(0, 10, &[("a", "p1", "like"), ("a", "p2", "like")])]).await.unwrap();
    rollups.close().await.unwrap();

    let other = client(&url).await;
    // The store's transaction is to be the victim: who looks for deadlocks later is not.
    other.batch_execute("SET deadlock_timeout = '2min'; BEGIN").await.unwrap();
    let lock = |name: &str| format!("UPDATE post_totals SET count = count WHERE post_id = '{name}'");
    other.batch_execute(&lock("p2")).await.unwrap();
    rollups.apply(P0, &[entry(10, 20, &[("b", "p1", "like"), ("b", "p2", "like")])]).await.unwrap();
    let writing = tokio::spawn({
        let rollups = Arc::clone(&rollups);
        async move { rollups.close().await }
    });
    let watch = client(&url).await;
    eventually("the store waits for the other's lock", async || {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                       AND wait_event_type = 'Lock' AND application_name = 'feedkit'";
        watch.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) > 0
    })
    .await;
    other.batch_execute(&lock("p1")).await.unwrap();
    other.batch_execute("COMMIT").await.unwrap();
    writing.await.unwrap().unwrap();
    let deadlocks = async || {
        let count = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
        watch.query_one(count, &[]).await.unwrap().get::<_, i64>(0) > 0
    };
    eventually("the server counts the deadlock", deadlocks).await;
    for name in ["p1", "p2"] {
        assert_eq!(store.history().post(&post(name)).await.unwrap().unwrap().likes, 2);
    }
}

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_full_pool_makes_callers_wait_and_then_says_so() {
    let databases = Databases::new();
    let url = databases.url().await;
    let mut few = options(&url);
    few.pool_size = 1;
    let patient = connect(few.clone()).await.history();
    let mut calls = Vec::new();
    for p in 0..40 {
        let history = patient.clone();
        calls.push(tokio::spawn(async move {
            let epoch = history.claim(Partition(p), "g").await.unwrap().epoch;
            let mut one = small_batch(epoch, 0, 10, vec![event(0, &format!("u{p}"), "p", "like")]);
            one.partition = Partition(p);
            history.commit(Arc::new(one)).await.unwrap();
        }));
    }
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(patient.positions().await.unwrap().total(), 400);

    few.pool_wait = Duration::from_millis(20);
    let hurried = connect(few).await.history();
    let snapshot = hurried.snapshot().await.unwrap();
    let error = hurried.claimed(P0).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retriable, "{error}");
    assert!(error.to_string().contains("in use"), "{error}");
    drop(snapshot);
    eventually("the connection is free again", async || hurried.claimed(P0).await.is_ok()).await;
}

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_takes_too_long_is_given_up() {
    let databases = Databases::new();
    let url = databases.url().await;
    let mut hurried = options(&url);
    hurried.statement_timeout = Duration::from_millis(300);
    let history = connect(hurried).await.history();
    let epoch = history.claim(P0, "g").await.unwrap().epoch;
    let other = client(&url).await;
    other.batch_execute("BEGIN; SELECT * FROM positions FOR UPDATE").await.unwrap();
    let one = Arc::new(small_batch(epoch, 0, 10, vec![event(0, "a", "p", "like")]));
    let error = history.commit(Arc::clone(&one)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retriable, "{error}");
    assert!(error.to_string().contains("57014"), "{error}");
    other.batch_execute("ROLLBACK").await.unwrap();
    // A loaded machine may need longer than that for it.
    eventually("it is committed", async || match history.commit(Arc::clone(&one)).await {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::Gap,
    })
    .await;
    assert_eq!(history.claimed(P0).await.unwrap().log, Some(LOG));
}
