//! Rollups while one of their writes is held open: entries that come meanwhile follow on it.

use std::sync::Arc;

use feedkit_core::follower::FollowerPosition;
use feedkit_core::history::JournalRead;
use feedkit_core::journal::JournalEntry;
use feedkit_core::testkit::conformance::support::{batch, event};
use feedkit_core::{ErrorKind, Follower, History, Inspect, Offset, Partition, Result};
use feedkit_store::postgres::{PostgresHistory, PostgresRollups};
use feedkit_test_services::{apply, eventually, needs_postgres};
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use super::support::{Databases, client, connect, follow, options};
use crate::histories::NONE;

const PARTITIONS: [Partition; 2] = [Partition(0), Partition(1)];

/// Two partitions, and a connection that can hold a write of the rollups open.
struct World {
    _databases: Databases,
    url: String,
    history: PostgresHistory,
    rollups: Arc<PostgresRollups>,
    client: Client,
    epoch: u64,
    next: Offset,
}

impl World {
    async fn new() -> World {
        let databases = Databases::new();
        let url = databases.url().await;
        let store = connect(options(&url)).await;
        let history = store.history();
        let mut epoch = 0;
        for partition in PARTITIONS {
            epoch = history.claim(partition, "group").await.unwrap().epoch;
        }
        let rollups = Arc::new(store.rollups());
        World { history, rollups, client: client(&url).await, epoch, next: 0, url, _databases: databases }
    }

    /// Commits two likes and a comment in each partition, and returns the entries.
    async fn commit(&mut self) -> Vec<Arc<JournalEntry>> {
        let (from, to) = (self.next, self.next + 3);
        self.next = to;
        let mut entries = Vec::new();
        for partition in PARTITIONS {
            let user = |n: Offset| format!("u{}-{}", partition.0, from + n);
            let events = vec![
                event(from, &user(0), "p", "like"),
                event(from + 1, &user(1), "q", "like"),
                event(from + 2, &user(2), "p", "comment"),
            ];
            let mut batch = batch(self.epoch, from, to, events);
            batch.partition = partition;
            entries.push(self.history.commit(Arc::new(batch)).await.unwrap().entry);
        }
        entries
    }

    /// Hands each entry to the rollups.
    async fn apply(&self, entries: &[Arc<JournalEntry>]) {
        for entry in entries {
            let next = self.rollups.apply(entry.partition, std::slice::from_ref(entry)).await.unwrap();
            assert_eq!(next, entry.to);
        }
    }

    /// Begins a write of what the rollups hold, which waits until [`release`](World::release).
    async fn hold_a_write(&self) -> JoinHandle<Result<()>> {
        self.client.batch_execute("BEGIN; LOCK TABLE post_totals IN EXCLUSIVE MODE").await.unwrap();
        let rollups = self.rollups.clone();
        let write = tokio::spawn(async move { rollups.close().await });
        eventually("the write waits", async || self.waiting().await.is_some()).await;
        write
    }

    /// The server's process that waits for `post_totals`.
    async fn waiting(&self) -> Option<i32> {
        let select = "SELECT pid FROM pg_locks WHERE NOT granted AND relation = 'post_totals'::regclass";
        self.client.query_opt(select, &[]).await.unwrap().map(|row| row.get(0))
    }

    async fn release(&self) {
        self.client.batch_execute("COMMIT").await.unwrap();
    }

    async fn positions(&self) -> Vec<FollowerPosition> {
        let mut positions = Vec::new();
        for partition in PARTITIONS {
            positions.push(self.rollups.position(partition).await.unwrap());
        }
        positions
    }

    async fn assert_all_is_stored(&self) {
        assert_eq!(
            self.positions().await,
            [FollowerPosition::At(self.next), FollowerPosition::At(self.next)]
        );
        // `verify` adds what the journal has beyond the positions. So also look at the table itself.
        let sum: i64 = self
            .client
            .query_one("SELECT coalesce(sum(count), 0)::bigint FROM post_totals", &[])
            .await
            .unwrap()
            .get(0);
        assert_eq!(sum, 2 * self.next as i64);
        assert_eq!(self.history.verify().await.unwrap().differences, NONE);
    }
}

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn entries_that_come_during_a_write_follow_on_it() {
    let mut world = World::new().await;
    let first = world.commit().await;
    world.apply(&first).await;
    let write = world.hold_a_write().await;

    // The database still has the positions from before the write.
    assert_eq!(world.positions().await, [FollowerPosition::At(0), FollowerPosition::At(0)]);
    for _ in 0..2 {
        let entries = world.commit().await;
        world.apply(&entries).await;
        assert_eq!(world.positions().await, [FollowerPosition::At(0), FollowerPosition::At(0)]);
    }

    world.release().await;
    write.await.unwrap().unwrap();
    assert_eq!(world.positions().await, [FollowerPosition::At(3), FollowerPosition::At(3)]);
    world.rollups.close().await.unwrap();
    world.assert_all_is_stored().await;
}

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_fails_is_made_again_with_what_came_meanwhile() {
    let mut world = World::new().await;
    let first = world.commit().await;
    world.apply(&first).await;
    let write = world.hold_a_write().await;
    let second = world.commit().await;
    world.apply(&second).await;

    let pid = world.waiting().await.expect("the write waits");
    world.client.query_one("SELECT pg_terminate_backend($1)", &[&pid]).await.unwrap();
    let failed = write.await.unwrap().unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Retriable, "{failed}");
    world.release().await;

    let third = world.commit().await;
    world.apply(&third).await;
    world.rollups.close().await.unwrap();
    world.assert_all_is_stored().await;
}

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn after_a_write_was_dropped_the_database_is_asked() {
    let mut world = World::new().await;
    let first = world.commit().await;
    world.apply(&first).await;
    let write = world.hold_a_write().await;
    let second = world.commit().await;
    world.apply(&second).await;
    write.abort();
    assert!(write.await.unwrap_err().is_cancelled());
    world.release().await;

    // The rollups have forgotten the entries of the write and those after it: they come again.
    let third = world.commit().await;
    let refused = world.rollups.apply(PARTITIONS[0], &third[..1]).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Gap, "{refused}");
    follow(&world.history, &world.rollups).await.unwrap();
    world.assert_all_is_stored().await;
}

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_another_process_overtakes_applies_nothing_twice() {
    let mut world = World::new().await;
    let other = connect(options(&world.url)).await.rollups();
    let first = world.commit().await;
    world.apply(&first).await;
    let write = world.hold_a_write().await;
    let second = world.commit().await;
    world.apply(&second).await;
    world.release().await;
    write.await.unwrap().unwrap();

    // The other process writes the second entries before this one does.
    for partition in PARTITIONS {
        let JournalRead::Entries(entries) = world.history.journal(partition, 3, 100).await.unwrap() else {
            panic!("the journal is complete");
        };
        other.apply(partition, &entries).await.unwrap();
    }
    other.close().await.unwrap();
    world.rollups.close().await.unwrap();
    world.assert_all_is_stored().await;
}
