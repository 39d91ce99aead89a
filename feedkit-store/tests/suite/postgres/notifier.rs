//! Followers are notified of commits.

use std::sync::Arc;
use std::time::Duration;

use feedkit_core::testkit::conformance::support::{batch, event};
use feedkit_core::{History, Partition};
use feedkit_test_services::{apply, eventually, needs_postgres};
use tokio_util::sync::CancellationToken;

use super::support::{Databases, client, connect, options};

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn others_hear_of_commits_also_after_the_connection_broke() {
    let databases = Databases::new();
    let url = databases.url().await;
    let (here, there) = (connect(options(&url)).await, connect(options(&url)).await);
    let (teller, hearer) = (here.notifier(), there.notifier());
    let (mut own, mut commits) = (teller.commits(), hearer.commits());
    let stop = CancellationToken::new();
    let running = [tokio::spawn(teller.run(stop.clone())), tokio::spawn(hearer.run(stop.clone()))];
    let history = here.history();
    let epoch = history.claim(Partition(0), "g").await.unwrap().epoch;
    let mut at = 0;
    let mut tell = async || {
        history
            .commit(Arc::new(batch(epoch, at, at + 1, vec![event(at, "a", "p", "comment")])))
            .await
            .unwrap();
        at += 1;
    };
    // Both report once that they have begun to listen.
    tokio::time::timeout(Duration::from_secs(60), own.changed()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(60), commits.changed()).await.unwrap();
    tell().await;
    tokio::time::timeout(Duration::from_secs(60), commits.changed()).await.unwrap();

    let admin = client(&url).await;
    let broken = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                  WHERE datname = current_database() AND query LIKE '%feedkit_commits%' AND pid <> pg_backend_pid()";
    admin.batch_execute(broken).await.unwrap();
    // They connect again, and report it.
    tokio::time::timeout(Duration::from_secs(60), commits.changed()).await.unwrap();
    eventually("the other hears again", async || {
        // The teller may not be connected yet.
        tell().await;
        tokio::time::timeout(Duration::from_millis(200), commits.changed()).await.is_ok()
    })
    .await;
    stop.cancel();
    for task in running {
        task.await.unwrap();
    }
}
