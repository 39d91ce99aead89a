//! Opening, locking and refusing data directories.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use feedkit_core::{Error, ErrorKind, Positions, SystemClock};
use feedkit_store::sqlite::{Sqlite, SqliteOptions, USER_ACTIONS};
use rusqlite::Connection;

use super::support::*;

async fn refused(dir: &Path) -> Error {
    Sqlite::open(dir, SqliteOptions::default(), Arc::new(SystemClock)).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_opening_again() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("made/on the way?#%");
    let store = open(&data).await;
    let log = store.log().incarnation();
    send(&store, vec![record("u1", "one"), record("u1", "two")]).await;
    store.close().await;
    drop(store);
    let names: Vec<_> = fs::read_dir(&data).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "closing leaves two databases and the lock, not {names:?}");

    let store = open(&data).await;
    assert_eq!(store.log().incarnation(), log);
    let values: Vec<_> =
        read_from(&store, &Positions::new()).await.into_iter().map(|(_, r)| r.value).collect();
    assert_eq!(values, ["one", "two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_partitions_is_what_it_was_at_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = SqliteOptions::default();
    options.partitions = 3;
    drop(Sqlite::open(dir.path(), options, Arc::new(SystemClock)).await.unwrap());
    assert_eq!(open(dir.path()).await.log().partitions(USER_ACTIONS).unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_writer_is_refused_until_the_first_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let error = refused(dir.path()).await;
    assert_eq!(error.kind(), ErrorKind::Fatal);
    let pid = std::process::id();
    let expected = format!("{} is in use by another feedkit process (pid {pid})", dir.path().display());
    assert_eq!(error.to_string(), expected);
    drop(store);
    open(dir.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_of_a_newer_version_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).await.close().await;
    for (file, name) in [("state.db", "state"), ("log.db", "log")] {
        let path = dir.path().join(file);
        let set = |version: i32| {
            Connection::open(&path).unwrap().pragma_update(None, "user_version", version).unwrap();
        };
        set(7);
        let shown = dir.path().display();
        let expected = format!(
            "{shown} was written by a newer feedkit ({name} version 7, this program knows 1); use that version"
        );
        let error = refused(dir.path()).await;
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Fatal, expected.clone()));
        let reading = Sqlite::open_read_only(dir.path(), SqliteOptions::default()).await.unwrap_err();
        assert_eq!((reading.kind(), reading.to_string()), (ErrorKind::Fatal, expected));
        set(1);
    }
    open(dir.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_database_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.db");
    let garbage = b"to be, or not to be; ".repeat(1000);
    fs::write(&path, &garbage).unwrap();
    let error = refused(dir.path()).await;
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().starts_with(&format!("{} is not a database", path.display())), "{error}");
    assert_eq!(fs::read(&path).unwrap(), garbage);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_programs_database_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    for id in [0, 0x1234] {
        let _ = fs::remove_file(&path);
        let theirs = Connection::open(&path).unwrap();
        theirs.execute_batch("CREATE TABLE theirs (x)").unwrap();
        theirs.pragma_update(None, "application_id", id).unwrap();
        drop(theirs);
        let before = fs::read(&path).unwrap();
        let error = refused(dir.path()).await;
        assert_eq!(error.kind(), ErrorKind::Fatal);
        let expected = format!("{} belongs to another program", path.display());
        assert!(error.to_string().starts_with(&expected), "{error}");
        assert_eq!(fs::read(&path).unwrap(), before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_made_half_way_is_finished() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("log.db"), b"").unwrap();
    let store = open(dir.path()).await;
    send(&store, vec![record("u", "x")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_cannot_be_a_directory_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    let error = refused(&file).await;
    assert_eq!(error.kind(), ErrorKind::Fatal);
    assert!(error.to_string().contains(&file.display().to_string()), "{error}");
}
