//! The scenarios of all histories, in directories.

use std::path::Path;
use std::sync::{Arc, Mutex};

use feedkit_core::Inspect;
use feedkit_core::inspect::Verification;
use feedkit_store::sqlite::{Sqlite, SqliteCounters, SqliteHistory, SqliteOptions};

use super::support::{copy_live, open};
use crate::histories::{Opening, Store, Stores};

crate::histories::tests!(Directories::default());

/// Makes stores in directories that live as long as it does.
#[derive(Default)]
pub(super) struct Directories(Mutex<Vec<tempfile::TempDir>>);

impl Stores for Directories {
    type Store = Opened;
    const SEEDS: usize = 8;
    const JOURNAL_GOES_BY_DAYS: bool = false;
    const COLUMNS: [&str; 2] = ["post", "user"];

    async fn place(&self) -> String {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().to_str().unwrap().to_owned();
        self.0.lock().unwrap().push(dir);
        place
    }

    async fn open(&self, place: &str, opening: Opening) -> Opened {
        let clock = Arc::clone(&opening.clock);
        let store = Sqlite::open(Path::new(place), SqliteOptions::default(), clock).await.unwrap();
        Opened { store, opening }
    }

    /// Changes a copy.
    async fn verify_damaged(&self, place: &str, _: &Opened, sql: &str) -> Verification {
        let copy = copy_live(Path::new(place));
        let connection = rusqlite::Connection::open(copy.path().join("state.db")).unwrap();
        assert_eq!(connection.execute(sql, []).unwrap(), 1, "{sql}");
        drop(connection);
        open(copy.path()).await.history().verify().await.unwrap()
    }
}

#[derive(Clone)]
pub(super) struct Opened {
    pub(super) store: Sqlite,
    opening: Opening,
}

impl Store for Opened {
    type History = SqliteHistory;
    type Counters = SqliteCounters;

    fn history(&self) -> SqliteHistory {
        let Opening { policy, trending, .. } = self.opening;
        self.store.history().with_like_policy(policy).with_trending(trending)
    }

    fn counters(&self) -> SqliteCounters {
        self.store.counters().with_trending(self.opening.trending)
    }

    async fn follow(&self) {}

    async fn rebuild_totals(&self) {
        self.history().rebuild_totals().await.unwrap();
    }

    async fn another(&self) -> Opened {
        self.clone()
    }

    async fn close(&self) {
        self.store.close().await;
    }
}
