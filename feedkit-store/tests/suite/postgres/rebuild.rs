//! Rebuilding the rollups in pieces, while commits and retention go on.

use std::sync::Arc;
use std::time::Duration;

use feedkit_core::follower::FollowerPosition;
use feedkit_core::history::RetentionPolicy;
use feedkit_core::testkit::conformance::support::{at, batch, event};
use feedkit_core::{ErrorKind, Follower, History, Inspect, Offset, Partition, Result};
use feedkit_store::postgres::{Postgres, PostgresHistory, PostgresRollups, RollupOptions};
use feedkit_test_services::{apply, eventually, needs_postgres};
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use super::support::{Databases, client, connect, follow, options};
use crate::histories::NONE;

const P0: Partition = Partition(0);
/// How many events a piece sums up.
const PIECE: usize = 4;

/// Where a rebuild can be held.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// Two pieces are stored, and the next one is being summed up.
    Middle,
    /// Everything is summed up, and the totals are being replaced.
    Replacing,
}

struct World {
    _databases: Databases,
    store: Postgres,
    history: PostgresHistory,
    client: Client,
    epoch: u64,
    next: Offset,
}

impl World {
    /// A history with events, whose totals are wrong.
    async fn damaged() -> World {
        let databases = Databases::new();
        let url = databases.url().await;
        let store = connect(options(&url)).await;
        let history = store.history();
        let epoch = history.claim(P0, "group").await.unwrap().epoch;
        let client = client(&url).await;
        let mut world = World { store, history, client, epoch, next: 0, _databases: databases };
        for _ in 0..6 {
            world.commit().await;
        }
        follow(&world.history, &world.rollups()).await.unwrap();
        let damage = "UPDATE post_totals SET count = count + 7; DELETE FROM post_hourly WHERE kind = 'comment'; \
                      INSERT INTO post_totals VALUES ('ghost', 'like', 3, 0, 0)";
        world.client.batch_execute(damage).await.unwrap();
        assert_ne!(world.history.verify().await.unwrap().difference_count, 0);
        world
    }

    fn rollups(&self) -> PostgresRollups {
        let mut options = RollupOptions::default();
        options.rebuild_rows = PIECE;
        self.store.rollups_with(options)
    }

    /// Commits three events.
    async fn commit(&mut self) {
        let (from, to) = (self.next, self.next + 3);
        self.next = to;
        let events = vec![
            event(from, &format!("u{from}"), "p", "like"),
            event(from + 1, &format!("u{from}"), &format!("q{from}"), "comment"),
            event(from + 2, &format!("u{}", from / 2), "r", "unlike"),
        ];
        self.history.commit(Arc::new(batch(self.epoch, from, to, events))).await.unwrap();
    }

    /// Begins a rebuild that waits at `place` until [`release`](World::release).
    async fn hold_a_rebuild(&self, place: Place) -> JoinHandle<Result<()>> {
        let (hold, waits) = match place {
            Place::Middle => {
                let wait = "CREATE OR REPLACE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                    IF (SELECT summed FROM rollup_rebuild) = 8 THEN PERFORM pg_advisory_xact_lock_shared(1); END IF; \
                    RETURN NEW; END $$; \
                    CREATE OR REPLACE TRIGGER wait BEFORE INSERT ON rebuilt_totals \
                    FOR EACH ROW EXECUTE FUNCTION wait()";
                self.client.batch_execute(wait).await.unwrap();
                (
                    "BEGIN; SELECT pg_advisory_xact_lock(1)",
                    "SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'advisory' AND database = \
                     (SELECT oid FROM pg_database WHERE datname = current_database())",
                )
            }
            Place::Replacing => (
                "BEGIN; LOCK TABLE post_hourly IN SHARE MODE",
                "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'post_hourly'::regclass",
            ),
        };
        self.client.batch_execute(hold).await.unwrap();
        let (rollups, history) = (self.rollups(), self.history.clone());
        let rebuild = tokio::spawn(async move { rollups.rebuild(&history).await });
        eventually("the rebuild waits", async || !self.client.query(waits, &[]).await.unwrap().is_empty())
            .await;
        rebuild
    }

    /// Begins a rebuild, and ends it at `place`, as the end of its process would.
    async fn interrupt_a_rebuild(&self, place: Place) {
        let rebuild = self.hold_a_rebuild(place).await;
        rebuild.abort();
        assert!(rebuild.await.unwrap_err().is_cancelled());
        self.release().await;
        eventually("the server has rolled back", async || {
            let locks = "SELECT count(*) FROM pg_locks WHERE relation = 'rollup_rebuild'::regclass \
                         AND pid <> pg_backend_pid()";
            self.number(locks).await == 0
        })
        .await;
        assert_eq!(self.number("SELECT count(*) FROM rollup_rebuild").await, 1);
    }

    async fn release(&self) {
        self.client.batch_execute("COMMIT").await.unwrap();
    }

    async fn number(&self, select: &str) -> i64 {
        self.client.query_one(select, &[]).await.unwrap().get(0)
    }

    /// Follows to the end, and compares everything with the raw events.
    async fn assert_exact(&self) {
        follow(&self.history, &self.rollups()).await.unwrap();
        assert_eq!(self.history.verify().await.unwrap().differences, NONE);
        assert_eq!(self.number("SELECT count(*) FROM rollup_rebuild").await, 0);
        assert_eq!(self.number("SELECT count(*) FROM post_totals WHERE post_id = 'ghost'").await, 0);
        assert_eq!(self.number("SELECT count(*) FROM rebuilt_totals").await, 0);
        let position = self.rollups().position(P0).await.unwrap();
        assert_eq!(position, FollowerPosition::At(self.next));
    }
}

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn commits_go_on_during_a_rebuild_and_are_counted_once() {
    for place in [Place::Middle, Place::Replacing] {
        let mut world = World::damaged().await;
        let rebuild = world.hold_a_rebuild(place).await;
        for _ in 0..4 {
            world.commit().await;
        }
        world.release().await;
        rebuild.await.unwrap().unwrap();
        world.commit().await;
        world.assert_exact().await;
    }
}

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_rebuild_continues_where_it_stopped() {
    for (place, summed) in [(Place::Middle, 8), (Place::Replacing, 18)] {
        let mut world = World::damaged().await;
        world.interrupt_a_rebuild(place).await;
        world.commit().await;
        assert_eq!(world.number("SELECT summed FROM rollup_rebuild").await, summed, "{place:?}");

        // A follower is told to go on with it, and nothing changes or compares the totals.
        let rollups = world.rollups();
        let position = rollups.position(P0).await.unwrap();
        assert!(matches!(position, FollowerPosition::Rebuild(_)), "{position:?}");
        let error = world.history.verify().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Retriable, "{error}");

        rollups.rebuild(&world.history).await.unwrap();
        world.assert_exact().await;
    }
}

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn retention_does_not_fail_during_a_rebuild_and_drops_nothing() {
    let world = World::damaged().await;
    let rebuild = world.hold_a_rebuild(Place::Replacing).await;
    let mut policy = RetentionPolicy::default();
    (policy.events, policy.journal) = (Duration::from_secs(1), Duration::from_secs(1));
    let later = at(400 * 86_400);
    let retained = world.history.retain(&policy, later).await.unwrap();
    assert_eq!((retained.events, retained.journal_entries), (0, 0));
    world.release().await;
    rebuild.await.unwrap().unwrap();
    let retained = world.history.retain(&policy, later).await.unwrap();
    assert!(retained.events > 0 && retained.journal_entries > 0, "{retained:?}");
    world.assert_exact().await;
    // Now the sums come from the baseline.
    world.rollups().rebuild(&world.history).await.unwrap();
    world.assert_exact().await;
}

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_starts_again_after_an_older_release_has_changed_the_totals() {
    let mut world = World::damaged().await;
    world.interrupt_a_rebuild(Place::Middle).await;
    // The release before this one takes the next entries, as it does not know of the rebuild.
    world.commit().await;
    let older = format!("UPDATE rollup_positions SET position = {}", world.next);
    world.client.batch_execute(&older).await.unwrap();
    world.rollups().rebuild(&world.history).await.unwrap();
    world.assert_exact().await;
}

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn two_processes_rebuild_together() {
    let mut world = World::damaged().await;
    let (a, b) = (world.rollups(), world.rollups());
    let (a, b) = tokio::join!(a.rebuild(&world.history), b.rebuild(&world.history));
    a.unwrap();
    b.unwrap();
    world.commit().await;
    world.assert_exact().await;
}
