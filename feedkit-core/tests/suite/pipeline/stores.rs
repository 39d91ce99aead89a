//! Histories that fail, for a while or for good.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use feedkit_core::history::RetentionPolicy;
use feedkit_core::pipeline::PartitionState;
use feedkit_core::{Error, ErrorKind, EventSink, History, Inspect};

use super::hooked::{Act, hooked};
use super::world::{Running, World, until};

/// Takes the next act for every commit, and begins again after the last one.
fn in_turn(acts: Vec<fn() -> Act>) -> impl FnMut(&feedkit_core::history::CommitBatch) -> Act {
    let mut next = 0;
    move |_| {
        next += 1;
        acts[next % acts.len()]()
    }
}

#[tokio::test]
async fn counts_are_the_models() {
    let world = World::new();
    let running = world.start();
    world.send(11, 3_000).await;
    running.handle.reached(&world.ends()).await.unwrap();
    running.stop().await;
    world.check().await;
}

#[tokio::test]
async fn commits_that_fail_or_whose_outcome_is_unknown_count_once() {
    let world = World::new();
    let hooked = hooked(
        world.history.clone(),
        in_turn(vec![
            || Act::Pass,
            || Act::Fail(Error::retriable("busy")),
            || Act::CommitThenFail(Error::uncertain("the connection broke")),
            || Act::Fail(Error::uncertain("the connection broke")),
        ]),
    );
    let running = Running::start(world.pipeline(hooked));
    world.send(12, 2_000).await;
    let status = running.handle.reached(&world.ends()).await.unwrap();
    assert_eq!(status.troubles(), [] as [String; 0]);
    running.stop().await;
    world.check().await;
}

#[tokio::test]
async fn a_crash_at_any_commit_loses_and_repeats_nothing() {
    let world = World::new();
    world.send(13, 2_000).await;
    // Each run ends in the middle of a later commit than the run before.
    for life in 0.. {
        let mut commits = 0;
        let hooked = hooked(world.history.clone(), move |_| {
            commits += 1;
            if commits > life % 5 { Act::Hold } else { Act::Pass }
        });
        let running = Running::start(world.pipeline(hooked.clone()));
        let ends = world.ends();
        tokio::select! {
            () = hooked.hooks.held.notified() => running.crash().await,
            reached = running.handle.reached(&ends) => {
                reached.unwrap();
                running.stop().await;
                break;
            }
        }
        assert!(life < 500, "no progress over 500 lives");
    }
    world.check().await;
}

#[tokio::test]
async fn a_value_that_cannot_be_stored_is_set_aside_alone() {
    let world = World::new();
    world.send(14, 500).await;
    let poison = r#"{"userId":"u","postId":"p","type":"comment","text":"poison"}"#;
    world.log.send(vec![feedkit_core::sink::NewRecord::keyed("u", poison.into())]).await.remove(0).unwrap();
    world.send(15, 500).await;
    let hooked = hooked(world.history.clone(), |batch| {
        let poisoned = batch.events.iter().any(|e| e.event.text.as_deref() == Some("poison"));
        if poisoned { Act::Fail(Error::data("22021: invalid byte sequence")) } else { Act::Pass }
    });
    let running = Running::start(world.pipeline(hooked));
    running.handle.reached(&world.ends()).await.unwrap();
    running.stop().await;
    let rejected = world.history.rejected(None, 1000).await.unwrap();
    let unstorable: Vec<_> = rejected.iter().filter(|r| r.reason == "unstorable").collect();
    assert_eq!(unstorable.len(), 1);
    assert!(unstorable[0].detail.contains("22021") && unstorable[0].value.contains("poison"));
    let model = world.model();
    let mut expected = model.rejected.clone();
    expected.insert((unstorable[0].partition, unstorable[0].offset));
    assert_eq!(
        rejected.iter().map(|r| (r.partition, r.offset)).collect::<Vec<_>>(),
        Vec::from_iter(expected)
    );
}

#[tokio::test]
async fn while_the_history_is_away_memory_is_bounded_and_status_says_so() {
    let world = World::new();
    let away = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let gone = away.clone();
    let hooked =
        hooked(world.history.clone(), move |_| match gone.load(std::sync::atomic::Ordering::SeqCst) {
            true => Act::Fail(Error::retriable("connection refused")),
            false => Act::Pass,
        });
    let running = Running::start(world.pipeline(hooked));
    world.send(16, 3_000).await;
    let retrying = |state: &PartitionState| matches!(state, PartitionState::Retrying(why) if why.message.contains("refused"));
    until("all partitions are being retried", async || {
        let status = running.handle.status();
        status.partitions.len() == 4 && status.partitions.values().all(|p| retrying(&p.state))
    })
    .await;
    assert_eq!(running.handle.status().troubles().len(), 4);
    away.store(false, std::sync::atomic::Ordering::SeqCst);
    running.handle.reached(&world.ends()).await.unwrap();
    running.stop().await;
    world.check().await;
}

#[tokio::test]
async fn a_history_that_fails_for_good_ends_the_pipeline_with_its_reason() {
    let world = World::new();
    let hooked = hooked(world.history.clone(), |_| Act::Fail(Error::corrupt("page 7 is damaged")));
    let running = Running::start(world.pipeline(hooked));
    world.send(17, 100).await;
    let reached = running.handle.reached(&world.ends()).await.unwrap_err();
    assert_eq!(reached.kind(), ErrorKind::Fatal);
    let error = running.ended().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("page 7 is damaged"), "{error}");
}

#[tokio::test]
async fn a_history_of_another_group_is_refused() {
    let world = World::new();
    world.history.claim(feedkit_core::Partition(0), "other").await.unwrap();
    let running = world.start();
    let error = running.ended().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("other"), "{error}");
}

#[tokio::test]
async fn retention_runs_and_takes_nothing_that_is_needed() {
    let world = World::new();
    let policy = RetentionPolicy::default().journal(std::time::Duration::ZERO);
    let pipeline = world.pipeline(world.history.clone()).configure(|config| {
        config.retention = Some((policy, std::time::Duration::from_millis(1)));
    });
    let running = Running::start(pipeline);
    for seed in 20..24 {
        world.send(seed, 500).await;
        running.handle.reached(&world.ends()).await.unwrap();
    }
    running.stop().await;
    let model = world.model();
    assert_eq!(model.compare_queries(&*world.history).await.unwrap(), [] as [String; 0]);
    world.check_counters(&model).await;
}

#[tokio::test]
async fn no_more_commits_are_under_way_than_are_allowed() {
    let world = World::new();
    let begun = Arc::new(AtomicUsize::new(0));
    let counted = begun.clone();
    let hooked = hooked(world.history.clone(), move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Act::Hold
    });
    let running = Running::start(world.pipeline(hooked.clone()).configure(|config| config.max_commits = 2));
    // Four partitions have records to commit.
    world.send(18, 1_000).await;
    until("two commits are under way", async || begun.load(Ordering::SeqCst) == 2).await;
    let mut done = 0;
    while !running.handle.status().has_reached(&world.ends()) {
        for _ in 0..50 {
            tokio::task::yield_now().await;
            let under_way = begun.load(Ordering::SeqCst) - done;
            assert!(under_way <= 2, "{under_way} commits are under way");
        }
        if begun.load(Ordering::SeqCst) > done {
            done += 1;
            hooked.hooks.go_on.add_permits(1);
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    assert!(done > 2, "{done} commits");
    running.stop().await;
    world.check().await;
}
