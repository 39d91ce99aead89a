//! The contracts' suites.

use std::collections::BTreeMap;

use async_trait::async_trait;
use feedkit_core::Queries;
use feedkit_core::testkit::conformance::support::{post, shared};
use feedkit_core::testkit::conformance::{self, FollowerHarness};
use feedkit_store::postgres::{Postgres, PostgresRollups};
use feedkit_test_services::{apply, needs_postgres};

use super::callers_time::CallersTime;
use super::support::{Databases, followed};

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn the_history_keeps_its_contract() {
    let databases = Databases::new();
    conformance::history(async || databases.store().await.history()).await;
}

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn the_history_keeps_its_contract_with_rollups_in_step() {
    let databases = Databases::new();
    conformance::history(async || followed(&databases.store().await)).await;
}

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn the_queries_keep_their_contract() {
    let databases = Databases::new();
    conformance::queries(async || shared(followed(&databases.store().await))).await;
}

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn what_operators_ask_keeps_its_contract() {
    let databases = Databases::new();
    conformance::inspect(async || shared(followed(&databases.store().await))).await;
}

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn the_alerts_keep_their_contract() {
    let databases = Databases::new();
    conformance::alerts(async || CallersTime::new(&databases).await).await;
}

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn the_outbox_keeps_its_contract() {
    let databases = Databases::new();
    conformance::outbox(async || CallersTime::new(&databases).await).await;
}

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn the_alert_log_keeps_its_contract() {
    let databases = Databases::new();
    conformance::alert_log(async || CallersTime::new(&databases).await).await;
}

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn the_rollups_keep_the_contract_of_followers() {
    let databases = Databases::new();
    let stores = std::sync::Mutex::default();
    conformance::follower(&Rollups { databases, stores }).await;
}

struct Rollups {
    databases: Databases,
    stores: std::sync::Mutex<Vec<Postgres>>,
}

#[async_trait]
impl FollowerHarness for Rollups {
    type Follower = PostgresRollups;

    async fn fresh(&self) -> PostgresRollups {
        let store = self.databases.store().await;
        self.stores.lock().unwrap().push(store.clone());
        store.rollups()
    }

    /// The suite has one follower at a time: the newest store's.
    async fn counts(&self, _: &PostgresRollups) -> BTreeMap<(String, String), i64> {
        let store = self.stores.lock().unwrap().last().unwrap().clone();
        let mut counts = BTreeMap::new();
        for name in ["other", "p", "q"] {
            let view = store.history().post(&post(name)).await.unwrap();
            for (kind, n) in view.into_iter().flat_map(|view| view.counts) {
                counts.insert((name.to_owned(), kind), n);
            }
        }
        counts
    }
}
