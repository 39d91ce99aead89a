//! The alert lease: the server's clock decides when it ends, whatever the owners' clocks say.

use std::time::Duration;

use feedkit_core::{AlertLog, Clock, ErrorKind, SystemClock, Timestamp};
use feedkit_test_services::{apply, needs_postgres};

use super::support::{Databases, client, connect, options};

const TTL: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_callers_clock_neither_keeps_a_lease_nor_ends_one() {
    let databases = Databases::new();
    let log = databases.store().await.alert_log();
    let now = SystemClock.now();
    let lease = log.acquire("ahead", now.saturating_add(HOUR), TTL).await.unwrap().unwrap();
    assert!(lease.until < now.saturating_add(HOUR), "{lease:?}");
    // One that is two hours ahead does not see an expired lease.
    for others in [now.saturating_add(2 * HOUR), now, Timestamp::EPOCH] {
        assert_eq!(log.acquire("other", others, TTL).await.unwrap(), None);
    }
    let renewed = log.renew(&lease, Timestamp::EPOCH, TTL).await.unwrap();
    assert!(renewed.until >= lease.until, "{renewed:?} after {lease:?}");
}

/// An older release stored its own clock's time.
#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_a_clock_ahead_has_stored_is_taken_at_once() {
    let databases = Databases::new();
    let url = databases.url().await;
    let log = connect(options(&url)).await.alert_log();
    let dead = log.acquire("dead", SystemClock.now(), TTL).await.unwrap().unwrap();
    let ahead = "UPDATE alert_lease SET until = now() + interval '1 hour'";
    client(&url).await.batch_execute(ahead).await.unwrap();
    let taken = log.acquire("next", SystemClock.now(), TTL).await.unwrap().expect("the lease is free");
    assert_eq!(taken.epoch, dead.epoch + 1);
    let error = log.renew(&dead, SystemClock.now(), TTL).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
}
