//! A database of version 0.1.0.

use std::fs;

use feedkit_core::Inspect;
use feedkit_test_services::{Database, apply, needs_postgres};

use super::support::{connect, follow, options};
use crate::upgrade::{Expected, alerts_go_on, history_goes_on, history_is_whole, stores};

const EXPECTED: Expected = Expected {
    positions: [43, 71, 69, 77],
    incarnation: 0x2e7d_d9c9_ad74_42ef_8779_ecdb_102d_76c7,
    verified: (123, 12),
    rejected: 9,
    top: &[("p0", 16), ("p1", 12), ("p4", 5), ("p3", 4), ("p5", 4), ("p10", 3)],
    first_post: (8, 16),
};

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_an_older_version_is_read_and_goes_on() {
    let database = Database::new().await;
    let dump = fs::read_to_string(stores().join("postgres.sql")).unwrap();
    database.client().await.batch_execute(&dump).await.unwrap();

    let store = connect(options(&database.url())).await;
    let history = store.history();
    assert_eq!(history.verify().await.unwrap().differences, crate::upgrade::NONE);
    // The dump's rollups are behind in one partition, and continue from there.
    follow(&history, &store.rollups()).await.unwrap();
    history_is_whole(&history, &EXPECTED).await;
    history_goes_on(&history).await;
    follow(&history, &store.rollups()).await.unwrap();
    alerts_go_on(&store.alert_log()).await;
    history.rebuild_totals().await.unwrap();
    assert_eq!(history.verify().await.unwrap().difference_count, 0);
    let again = connect(options(&database.url())).await;
    assert_eq!(again.history().verify().await.unwrap().difference_count, 0);
}
