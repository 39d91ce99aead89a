//! The queue of jobs for the thread that writes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use feedkit_core::{Error, Result};
use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};

use super::job::{Job, Task};
use super::stats::{CommitStats, Stats};
use super::thread::Worker;
use crate::sqlite::checkpoint::Checkpointer;
use crate::sqlite::failure::Sql;

/// Runs jobs on the writing connection, in the order in which they arrive. Each group of jobs is
/// one transaction.
///
/// # Contract
///
/// - A job that gets `Ok` is durable. A job that fails changes nothing, and the others
///   of its group are still committed.
/// - If the group's commit fails, all its jobs fail with that error.
/// - A job that panics is rolled back and answered with `Fatal`. The writer continues.
///
/// No job waits for others: a group consists of the jobs that arrived while the last one was
/// committed.
#[derive(Debug)]
pub(crate) struct Writer {
    path: PathBuf,
    /// `None` once closed: the thread ends when the queue is empty.
    pub(super) queue: Mutex<Option<mpsc::Sender<Box<dyn Job>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    committed: watch::Receiver<u64>,
    stats: Arc<Stats>,
}

/// Maximum number of jobs in the queue. More callers wait for a place.
const QUEUE: usize = 1024;
/// How much weight a group may have before it takes no more jobs.
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
            .map_err(|e| Error::fatal(format!("cannot start the thread {name}: {e}")).with_source(e))?;
        Ok(Writer {
            path: path.to_owned(),
            queue: Mutex::new(Some(queue)),
            thread: Mutex::new(Some(thread)),
            committed,
            stats,
        })
    }

    /// Runs `job` in a transaction and waits until it is committed. `weight` is about how many rows
    /// it writes.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped before the job is queued, it has no effect. After that the job
    /// runs.
    pub(crate) async fn run<T, F>(&self, weight: usize, job: F) -> Result<T>
    where
        F: FnOnce(&Connection) -> Sql<T> + Send + 'static,
        T: Send + 'static,
    {
        let queue = self.queue.lock().clone();
        let queue = queue.ok_or_else(|| self.closed())?;
        let (reply, answer) = oneshot::channel();
        queue.send(Box::new(Task::new(weight, job, reply))).await.map_err(|_| self.closed())?;
        drop(queue);
        answer.await.map_err(|_| {
            Error::uncertain(format!("the writer of {} ended before it answered", self.path.display()))
        })?
    }

    /// Changes after every commit, before its jobs are answered. It is closed when the thread has
    /// ended.
    pub(crate) fn committed(&self) -> watch::Receiver<u64> {
        self.committed.clone()
    }

    /// Figures about the writer so far.
    pub(crate) fn stats(&self) -> CommitStats {
        self.stats.read()
    }

    /// Finishes the queued jobs, moves the WAL into the database, and ends the thread. Later jobs
    /// fail.
    pub(crate) async fn close(&self) {
        if let Some(thread) = self.end() {
            // The panic hook has reported a panic outside of jobs. The file is as its last commit
            // left it.
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
    /// Waits for the thread, except on the thread itself: a job may hold the last reference to
    /// this.
    fn drop(&mut self) {
        if let Some(thread) = self.end()
            && thread.thread().id() != thread::current().id()
        {
            let _ = thread.join();
        }
    }
}
