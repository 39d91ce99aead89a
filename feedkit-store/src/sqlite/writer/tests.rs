//! Tests of groups of jobs, some of which fail.

use std::path::Path;
use std::sync::{Arc, mpsc as std_mpsc};

use feedkit_core::{Error, ErrorKind, Result};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::writer::{GROUP_WEIGHT, Writer};
use crate::sqlite::checkpoint::{Checkpointer, Limits};
use crate::sqlite::failure::Sql;

fn start(dir: &Path) -> Writer {
    let path = dir.join("test.db");
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch("CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY)").unwrap();
    let beside = Connection::open(&path).unwrap();
    let checkpointer = Checkpointer::start("test-wal", &path, beside, Limits::default()).unwrap();
    Writer::start("test", &path, connection, checkpointer, GROUP_WEIGHT).unwrap()
}

fn insert(connection: &Connection, n: i64) -> Sql<i64> {
    connection.execute("INSERT INTO t VALUES (?1)", [n])?;
    Ok(n)
}

fn stored(dir: &Path) -> Vec<i64> {
    let connection = Connection::open(dir.join("test.db")).unwrap();
    let mut select = connection.prepare("SELECT n FROM t ORDER BY n").unwrap();
    select.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap()
}

/// Keeps the writer in a job until the returned sender is dropped. All jobs that are queued in the
/// meantime are one group.
async fn hold(writer: &Arc<Writer>) -> (std_mpsc::Sender<()>, tokio::task::JoinHandle<Result<()>>) {
    let (release, held) = std_mpsc::channel::<()>();
    let (running, runs) = oneshot::channel();
    let writer = Arc::clone(writer);
    let job = tokio::spawn(async move {
        writer
            .run(1, move |_| {
                running.send(()).unwrap();
                let _ = held.recv();
                Ok(())
            })
            .await
    });
    runs.await.unwrap();
    (release, job)
}

async fn until_queued(writer: &Writer, jobs: usize) {
    let queue = writer.queue.lock().clone().unwrap();
    while queue.max_capacity() - queue.capacity() < jobs {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_committed_together_but_for_what_fails() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Arc::new(start(dir.path()));
    let (release, held) = hold(&writer).await;
    let mut jobs = Vec::new();
    for n in 0..6 {
        let jobs_writer = Arc::clone(&writer);
        jobs.push(tokio::spawn(async move {
            jobs_writer
                .run(1, move |connection| {
                    insert(connection, 10 + n)?;
                    match n {
                        2 => Err(Error::fenced("not yours").into()),
                        3 => insert(connection, 10),
                        4 => panic!("a fault in a job"),
                        _ => Ok(n),
                    }
                })
                .await
        }));
        until_queued(&writer, jobs.len()).await;
    }
    drop(release);
    held.await.unwrap().unwrap();
    let mut results = Vec::new();
    for job in jobs {
        results.push(job.await.unwrap().map_err(|e| e.kind()));
    }
    let (fenced, data, fatal) = (ErrorKind::Fenced, ErrorKind::Data, ErrorKind::Fatal);
    assert_eq!(results, [Ok(0), Ok(1), Err(fenced), Err(data), Err(fatal), Ok(5)]);
    assert_eq!(stored(dir.path()), [10, 11, 15]);
    let stats = writer.stats();
    assert_eq!((stats.jobs, stats.groups), (7, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_alone_is_rolled_back_when_it_fails_or_panics() {
    let dir = tempfile::tempdir().unwrap();
    let writer = start(dir.path());
    let failed = writer.run(1, |c| insert(c, 1).and(Err::<(), _>(Error::gap("no").into()))).await;
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Gap);
    let panicked = writer.run(1, |c| insert(c, 2).map(|_| panic!("no {}", "good"))).await;
    let error: Error = panicked.map(|(): ()| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fatal);
    assert!(error.to_string().contains("no good"), "{error}");
    assert_eq!(writer.run(1, |c| insert(c, 3)).await.unwrap(), 3);
    assert_eq!(stored(dir.path()), [3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_sqlite_rolled_back_fails_the_whole_group() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Arc::new(start(dir.path()));
    let (release, held) = hold(&writer).await;
    let mut jobs = Vec::new();
    for n in 0..3 {
        let jobs_writer = Arc::clone(&writer);
        jobs.push(tokio::spawn(async move {
            jobs_writer
                .run(1, move |connection| {
                    insert(connection, n)?;
                    if n == 1 {
                        // SQLite does this by itself if the disk is full.
                        connection.execute_batch("ROLLBACK")?;
                        return Err(Error::retriable("full").into());
                    }
                    Ok(())
                })
                .await
        }));
        until_queued(&writer, jobs.len()).await;
    }
    drop(release);
    held.await.unwrap().unwrap();
    for job in jobs {
        assert_eq!(job.await.unwrap().unwrap_err().kind(), ErrorKind::Retriable);
    }
    assert_eq!(stored(dir.path()), [0i64; 0]);
    assert_eq!(writer.run(1, |c| insert(c, 7)).await.unwrap(), 7);
    assert_eq!(stored(dir.path()), [7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_works_off_the_queue() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Arc::new(start(dir.path()));
    let (release, held) = hold(&writer).await;
    let queued = tokio::spawn({
        let writer = Arc::clone(&writer);
        async move { writer.run(1, |c| insert(c, 1)).await }
    });
    until_queued(&writer, 1).await;
    let closing = tokio::spawn({
        let writer = Arc::clone(&writer);
        async move { writer.close().await }
    });
    while writer.queue.lock().is_some() {
        tokio::task::yield_now().await;
    }
    assert_eq!(writer.run(1, |c| insert(c, 2)).await.unwrap_err().kind(), ErrorKind::Fatal);
    drop(release);
    held.await.unwrap().unwrap();
    assert_eq!(queued.await.unwrap().unwrap(), 1);
    closing.await.unwrap();
    assert_eq!(stored(dir.path()), [1]);
}
