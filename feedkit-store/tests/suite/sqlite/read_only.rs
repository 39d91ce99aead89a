//! Reading a directory without writing to it, also while another process writes.

use std::sync::Arc;
use std::time::Duration;

use feedkit_core::{ErrorKind, EventSink, EventSource, Positions, SystemClock};
use feedkit_store::sqlite::{SourceOptions, Sqlite, SqliteOptions, USER_ACTIONS};
use feedkit_test_services::{Tmpfs, apply, needs_tmpfs};

use super::support::*;

async fn values(store: &Sqlite) -> Vec<bytes::Bytes> {
    read_from(store, &Positions::new()).await.into_iter().map(|(_, r)| r.value).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_the_message_says_what_makes_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("none");
    let error = Sqlite::open_read_only(&data, SqliteOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fatal);
    let text = error.to_string();
    assert!(text.contains(&data.display().to_string()) && text.contains("feedkit replay"), "{text}");
    assert!(!data.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_beside_a_writer_and_without_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let beside = Sqlite::open_read_only(dir.path(), SqliteOptions::default()).await.unwrap();
    let mut source = beside.log().broadcast(USER_ACTIONS, SourceOptions::default()).await.unwrap();
    resume_all(&mut source, &Positions::new()).await;
    // A reader in another process only notices this by looking.
    let (batch, _) = tokio::join!(next_batch(&mut source), async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        send(&store, vec![record("u", "one")]).await
    });
    assert_eq!(batch.records[0].value, "one");
    drop(source);

    let taken = beside.log().sink(USER_ACTIONS).unwrap().send(vec![record("u", "two")]).await;
    assert_eq!(taken[0].as_ref().unwrap_err().kind(), ErrorKind::Fatal);
    assert!(beside.log().member(USER_ACTIONS, "g", SourceOptions::default()).await.is_err());
    drop(beside);

    store.close().await;
    drop(store);
    let alone = Sqlite::open_read_only(dir.path(), SqliteOptions::default()).await.unwrap();
    assert_eq!(values(&alone).await, ["one"]);
    // A reader does not keep the writer from anything.
    send(&open(dir.path()).await, vec![record("u", "two")]).await;
    assert_eq!(values(&alone).await, ["one", "two"]);
}

#[apply(needs_tmpfs!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_directory_is_readable_and_named_when_written_to() {
    let disk = Tmpfs::mount(64 << 20);
    let store = open(&disk.path().join("data")).await;
    send(&store, vec![record("u", "one")]).await;
    store.close().await;
    drop(store);
    disk.make_read_only();
    let error = Sqlite::open(disk.path().join("data"), SqliteOptions::default(), Arc::new(SystemClock))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fatal);
    let expected = format!("the data directory {} cannot be written to", disk.path().join("data").display());
    assert!(error.to_string().starts_with(&expected), "{error}");

    let store = Sqlite::open_read_only(disk.path().join("data"), SqliteOptions::default()).await.unwrap();
    assert_eq!(values(&store).await, ["one"]);
    let mut source = broadcast(&store, SourceOptions::default()).await;
    assert_eq!(source.ends().await.unwrap().total(), 1);
    assert!(source.next().await.is_ok());
}

#[apply(needs_tmpfs!)]
#[tokio::test(flavor = "multi_thread")]
async fn changes_in_a_wal_on_a_read_only_directory_are_not_passed_over() {
    let disk = Tmpfs::mount(64 << 20);
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    send(&store, vec![record("u", "one")]).await;
    let copy = copy_live(dir.path());
    std::fs::create_dir(disk.path().join("data")).unwrap();
    for file in std::fs::read_dir(copy.path()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), disk.path().join("data").join(file.file_name())).unwrap();
    }
    disk.make_read_only();
    let error = Sqlite::open_read_only(disk.path().join("data"), SqliteOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fatal);
    let text = error.to_string();
    assert!(
        text.contains(".db-wal") && text.contains(&disk.path().join("data").display().to_string()),
        "{text}"
    );
}
