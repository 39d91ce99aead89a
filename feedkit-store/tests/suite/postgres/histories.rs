//! The scenarios of all histories, in databases.

use std::sync::Arc;

use feedkit_core::Inspect;
use feedkit_core::inspect::Verification;
use feedkit_core::memory::MemoryCounters;
use feedkit_store::postgres::{Postgres, PostgresHistory};
use feedkit_test_services::{apply, needs_postgres};

use super::support::{Databases, client, connect_at, follow, options};
use crate::histories::{Opening, Store, Stores};

crate::histories::tests!(Databases::new(), needs_postgres);

impl Stores for Databases {
    type Store = Opened;
    const SEEDS: usize = 4;
    const JOURNAL_GOES_BY_DAYS: bool = true;
    const COLUMNS: [&str; 2] = ["post_id", "user_id"];

    async fn place(&self) -> String {
        self.url().await
    }

    async fn open(&self, place: &str, opening: Opening) -> Opened {
        Opened::at(place, opening).await
    }

    /// Restores the table afterwards.
    async fn verify_damaged(&self, place: &str, store: &Opened, sql: &str) -> Verification {
        let admin = client(place).await;
        let is_table = |word: &&str| word.contains('_') || ["journal", "likes", "posts"].contains(word);
        let table = sql.split(' ').find(is_table).unwrap();
        admin.batch_execute(&format!("CREATE TABLE whole AS SELECT * FROM {table}")).await.unwrap();
        assert_eq!(admin.execute(sql, &[]).await.unwrap(), 1, "{sql}");
        let found = store.history().verify().await.unwrap();
        let mend = format!(
            "BEGIN; DELETE FROM {table}; INSERT INTO {table} SELECT * FROM whole; DROP TABLE whole; COMMIT"
        );
        admin.batch_execute(&mend).await.unwrap();
        found
    }
}

pub(super) struct Opened {
    url: String,
    store: Postgres,
    opening: Opening,
}

impl Opened {
    async fn at(url: &str, opening: Opening) -> Opened {
        let store = connect_at(options(url), Arc::clone(&opening.clock)).await;
        let store = store.with_like_policy(opening.policy).with_trending(opening.trending);
        Opened { url: url.to_owned(), store, opening }
    }
}

impl Store for Opened {
    type History = PostgresHistory;
    type Counters = MemoryCounters;

    fn history(&self) -> PostgresHistory {
        self.store.history()
    }

    fn counters(&self) -> MemoryCounters {
        MemoryCounters::new(self.opening.trending)
    }

    async fn follow(&self) {
        follow(&self.store.history(), &self.store.rollups()).await.unwrap();
    }

    async fn rebuild_totals(&self) {
        self.store.history().rebuild_totals().await.unwrap();
    }

    async fn another(&self) -> Opened {
        Opened::at(&self.url, self.opening.clone()).await
    }

    async fn close(&self) {
        self.store.close();
    }
}
