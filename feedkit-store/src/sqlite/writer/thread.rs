//! The thread that owns the writing connection.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use feedkit_core::{Error, Result};
use rusqlite::Connection;
use tokio::sync::{mpsc, watch};

use super::job::{Job, same};
use super::stats::Stats;
use crate::sqlite::checkpoint::Checkpointer;
use crate::sqlite::failure::Failure;

/// How long closing waits for readers, so that it can remove the WAL.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(200);

/// The state of the thread.
pub(super) struct Worker {
    pub(super) path: PathBuf,
    pub(super) connection: Connection,
    pub(super) checkpointer: Checkpointer,
    pub(super) jobs: mpsc::Receiver<Box<dyn Job>>,
    pub(super) group_weight: usize,
    pub(super) commits: watch::Sender<u64>,
    pub(super) stats: Arc<Stats>,
}

impl Worker {
    /// Runs jobs until the queue is closed and empty.
    pub(super) fn run(mut self) {
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
            self.stats.add_group(group.len());
            for job in group.drain(..) {
                job.answer(fault.as_ref());
            }
            self.checkpointer.run_if_due(&self.connection, &self.path);
        }
        self.finish();
    }

    /// Runs the group in one transaction. An error is the error of all its jobs.
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
                // In some cases, such as a full disk, SQLite rolls back the whole transaction by
                // itself.
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
        self.stats.note_commit(start.elapsed());
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

    /// Moves the WAL into the database and removes it, unless somebody is reading an older state.
    fn finish(self) {
        let path = self.path;
        drop(self.checkpointer);
        // Moving the WAL waits for readers of an older state.
        let _ = self.connection.busy_timeout(CLOSE_TIMEOUT);
        let moved = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        let closed = self.connection.close().map_err(|(_, error)| error);
        if let Err(error) = moved.and(closed) {
            // Nothing is lost: the next opening of the database reads the WAL.
            tracing::warn!(file = %path.display(), %error, "the write-ahead log could not be removed; the next start reads it");
        }
    }
}
