//! The one thread that writes a database file: what waits is committed together.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use feedkit_core::{Error, Result};
use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};

use super::checkpoint::Checkpointer;
use super::failure::{Failure, Sql};

/// Runs jobs on the writing connection, in the order in which they come, each group of them in one transaction.
///
/// # Contract
///
/// - A job that is answered `Ok` is durable. One that fails changes nothing and does not keep the others of its
///   group from being committed.
/// - If the group's commit fails, all its jobs fail with that error.
/// - A job that panics is rolled back and answered as `Fatal`; the writer goes on.
///
/// No job waits for others to come: a group is what came while the last one was committed.
#[derive(Debug)]
pub(crate) struct Writer {
    path: PathBuf,
    /// `None` once closed: the thread ends when it has worked off the queue.
    queue: Mutex<Option<mpsc::Sender<Box<dyn Job>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    committed: watch::Receiver<u64>,
    stats: Arc<Stats>,
}

#[derive(Debug, Default)]
struct Stats {
    jobs: AtomicU64,
    groups: AtomicU64,
    longest_commit_micros: AtomicU64,
}

/// What a file's writer has done since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommitStats {
    /// Jobs run: appends, commits of batches, steps.
    pub jobs: u64,
    /// Transactions that they were committed in: one sync of the disk each.
    pub groups: u64,
    /// The longest commit.
    pub longest_commit: Duration,
}

/// Jobs that may wait; who comes later waits before the queue.
const QUEUE: usize = 1024;
/// How long closing waits for readers, in order to leave no WAL behind.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(200);
/// A group takes no more jobs once their weights come to this.
pub(crate) const GROUP_WEIGHT: usize = 80_000;

impl Writer {
    /// Starts the thread `name`, which owns `connection` to the file at `path`.
    pub(crate) fn start(
        name: &str,
        path: &Path,
        connection: Connection,
        checkpointer: Checkpointer,
        group_weight: usize,
    ) -> Result<Writer> {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let stats = Arc::new(Stats::default());
        let (commits, committed) = watch::channel(0);
        let worker = Worker {
            path: path.to_owned(),
            connection,
            checkpointer,
            jobs,
            group_weight,
            commits,
            stats: Arc::clone(&stats),
        };
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || worker.run())
            .map_err(|e| Error::fatal(format!("the thread {name} cannot be started: {e}")).with_source(e))?;
        Ok(Writer {
            path: path.to_owned(),
            queue: Mutex::new(Some(queue)),
            thread: Mutex::new(Some(thread)),
            committed,
            stats,
        })
    }

    /// Runs `job` in a transaction and waits until it is committed. `weight` is about how many rows it writes.
    ///
    /// # Cancellation
    ///
    /// Dropped before the job was queued, it has no effect; later, the job runs all the same.
    pub(crate) async fn run<T, F>(&self, weight: usize, job: F) -> Result<T>
    where
        F: FnOnce(&Connection) -> Sql<T> + Send + 'static,
        T: Send + 'static,
    {
        let queue = self.queue.lock().clone();
        let queue = queue.ok_or_else(|| self.closed())?;
        let (reply, answer) = oneshot::channel();
        let task = Task { weight, state: State::Waiting(job), reply };
        queue.send(Box::new(task)).await.map_err(|_| self.closed())?;
        drop(queue);
        answer.await.map_err(|_| {
            Error::uncertain(format!("the writer of {} ended before it answered", self.path.display()))
        })?
    }

    /// Changes with every commit, after it and before its jobs are answered; closed when the thread has ended.
    pub(crate) fn committed(&self) -> watch::Receiver<u64> {
        self.committed.clone()
    }

    /// What the writer has done so far.
    pub(crate) fn stats(&self) -> CommitStats {
        CommitStats {
            jobs: self.stats.jobs.load(Ordering::Relaxed),
            groups: self.stats.groups.load(Ordering::Relaxed),
            longest_commit: Duration::from_micros(self.stats.longest_commit_micros.load(Ordering::Relaxed)),
        }
    }

    /// Works off what is queued, moves the WAL into the database, and ends the thread. Jobs that come later fail.
    pub(crate) async fn close(&self) {
        if let Some(thread) = self.end() {
            // A panic outside of jobs has been reported by its hook; the file is as its last commit left it.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    fn end(&self) -> Option<JoinHandle<()>> {
        self.queue.lock().take();
        self.thread.lock().take()
    }

    fn closed(&self) -> Error {
        Error::fatal(format!("{} is closed", self.path.display()))
    }
}

impl Drop for Writer {
    /// Waits for the thread. A job may hold the last reference to this, and cannot wait for itself.
    fn drop(&mut self) {
        if let Some(thread) = self.end()
            && thread.thread().id() != thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

/// A job, its result, and who waits for it, behind one type for the queue.
trait Job: Send {
    fn weight(&self) -> usize;

    /// Runs the job. False: it failed, and what it wrote must be rolled back.
    fn run(&mut self, connection: &Connection, path: &Path) -> bool;

    /// The error that the job ended with.
    fn fault(&self) -> Option<&Error>;

    /// Answers who waits: with the result if the group was committed, else with `fault`.
    fn answer(self: Box<Self>, fault: Option<&Error>);
}

struct Task<T, F> {
    weight: usize,
    state: State<T, F>,
    reply: oneshot::Sender<Result<T>>,
}

enum State<T, F> {
    Waiting(F),
    Running,
    Done(Result<T>),
}

impl<T, F> Job for Task<T, F>
where
    F: FnOnce(&Connection) -> Sql<T> + Send,
    T: Send,
{
    fn weight(&self) -> usize {
        self.weight
    }

    fn run(&mut self, connection: &Connection, path: &Path) -> bool {
        let State::Waiting(job) = std::mem::replace(&mut self.state, State::Running) else { return false };
        // What the job borrowed of the connection are statements, which unwinding resets; all it wrote is rolled
        // back.
        let result = match catch_unwind(AssertUnwindSafe(|| job(connection))) {
            Ok(result) => result.map_err(|e| e.into_error(path)),
            Err(panic) => {
                Err(Error::fatal(format!("a job on {} panicked: {}", path.display(), said(&*panic))))
            }
        };
        let ok = result.is_ok();
        self.state = State::Done(result);
        ok
    }

    fn fault(&self) -> Option<&Error> {
        match &self.state {
            State::Done(Err(error)) => Some(error),
            _ => None,
        }
    }

    fn answer(self: Box<Self>, fault: Option<&Error>) {
        let result = match (self.state, fault) {
            (State::Done(Err(own)), _) => Err(own),
            (_, Some(fault)) => Err(same(fault)),
            (State::Done(done), None) => done,
            // Every job of a group that was committed has run.
            (State::Waiting(_) | State::Running, None) => Err(Error::retriable("the job was not run")),
        };
        // Who waited may be gone.
        let _ = self.reply.send(result);
    }
}

fn said(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

/// The same error for another one who waits.
fn same(error: &Error) -> Error {
    Error::new(error.kind(), error.to_string())
}

/// What the thread owns.
struct Worker {
    path: PathBuf,
    connection: Connection,
    checkpointer: Checkpointer,
    jobs: mpsc::Receiver<Box<dyn Job>>,
    group_weight: usize,
    commits: watch::Sender<u64>,
    stats: Arc<Stats>,
}

impl Worker {
    fn run(mut self) {
        let mut group = Vec::new();
        while let Some(first) = self.jobs.blocking_recv() {
            let mut weight = first.weight();
            group.push(first);
            while weight < self.group_weight
                && let Ok(next) = self.jobs.try_recv()
            {
                weight = weight.saturating_add(next.weight());
                group.push(next);
            }
            let fault = self.commit(&mut group).err();
            self.stats.jobs.fetch_add(group.len() as u64, Ordering::Relaxed);
            self.stats.groups.fetch_add(1, Ordering::Relaxed);
            for job in group.drain(..) {
                job.answer(fault.as_ref());
            }
            self.checkpointer.run_if_due(&self.connection, &self.path);
        }
        self.finish();
    }

    /// Runs the group in one transaction. An error is that of all its jobs.
    fn commit(&self, group: &mut [Box<dyn Job>]) -> Result<()> {
        let result = self.try_commit(group);
        if result.is_err() && !self.connection.is_autocommit() {
            self.roll_back();
        }
        result
    }

    fn try_commit(&self, group: &mut [Box<dyn Job>]) -> Result<()> {
        if !self.connection.is_autocommit() {
            self.roll_back();
        }
        self.execute("BEGIN IMMEDIATE")?;
        let alone = group.len() == 1;
        let mut succeeded = 0;
        for job in group.iter_mut() {
            if !alone {
                self.execute("SAVEPOINT job")?;
            }
            let ok = job.run(&self.connection, &self.path);
            if self.connection.is_autocommit() {
                // On a full disk, among others, SQLite rolls back the whole transaction by itself.
                return Err(job
                    .fault()
                    .filter(|fault| fault.is_retriable())
                    .map_or_else(|| self.rolled_back(), same));
            }
            match (ok, alone) {
                (true, true) | (false, true) => {}
                (true, false) => self.execute("RELEASE job")?,
                (false, false) => self.execute("ROLLBACK TO job; RELEASE job")?,
            }
            succeeded += usize::from(ok);
        }
        if succeeded == 0 {
            self.roll_back();
            return Ok(());
        }
        let start = Instant::now();
        let committed = self.connection.execute_batch("COMMIT");
        let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.stats.longest_commit_micros.fetch_max(micros, Ordering::Relaxed);
        committed.map_err(|e| Failure::from(e).into_commit_error(&self.path))?;
        self.commits.send_modify(|n| *n = n.wrapping_add(1));
        Ok(())
    }

    fn execute(&self, sql: &str) -> Result<()> {
        self.connection.execute_batch(sql).map_err(|e| Failure::from(e).into_error(&self.path))
    }

    fn roll_back(&self) {
        if let Err(error) = self.connection.execute_batch("ROLLBACK") {
            tracing::warn!(file = %self.path.display(), %error, "a transaction could not be rolled back");
        }
    }

    fn rolled_back(&self) -> Error {
        Error::retriable(format!("{} was rolled back", self.path.display()))
    }

    /// Leaves a database without a WAL, if nobody is reading an older state of it.
    fn finish(self) {
        let path = self.path;
        drop(self.checkpointer);
        // A reader in the midst of an old state would be waited for.
        let _ = self.connection.busy_timeout(CLOSE_TIMEOUT);
        let moved = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        let closed = self.connection.close().map_err(|(_, error)| error);
        if let Err(error) = moved.and(closed) {
            // Nothing is lost: the WAL is read when the database is opened next.
            tracing::warn!(file = %path.display(), %error, "the write-ahead log stays as it is");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc as std_mpsc;

    use feedkit_core::ErrorKind;

    use super::super::checkpoint::Limits;
    use super::*;

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

    /// Keeps the writer in a job until the sender returned is dropped: all that is queued meanwhile is one group.
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
                            // What SQLite does by itself on a full disk.
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
}
