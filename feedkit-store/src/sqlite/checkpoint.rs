//! Moving the write-ahead log (WAL) into the database, outside the writer's commits.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use feedkit_core::{Error, Result};
use rusqlite::Connection;

/// Moves WAL pages into the database on a thread of its own, when the writer asks for it.
///
/// SQLite begins a WAL again only when all of it was moved. While the writer is busy, a second
/// thread can never move all of it. So the thread moves most of the pages, and the writer moves the
/// few that it has written in the meantime.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    /// `None` when it is closing.
    requests: Option<Sender<()>>,
    done: Receiver<()>,
    /// Whether the thread is working on a request.
    pending: bool,
    limits: Limits,
    thread: Option<JoinHandle<()>>,
}

/// When to move WAL pages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// How many pages the WAL must have before they are moved.
    pub(crate) due: i64,
    /// Maximum number of pages that the writer moves itself.
    pub(crate) rest: i64,
    /// Maximum number of pages in the WAL while the thread moves pages. With more, the writer
    /// waits.
    pub(crate) most: i64,
}

impl Default for Limits {
    /// 31 MiB, 4 MiB and 125 MiB of pages of 4 KiB.
    fn default() -> Self {
        Limits { due: 8000, rest: 1000, most: 32_000 }
    }
}

impl Checkpointer {
    /// Starts the thread `name`, which owns `connection`, a second connection to the writer's file.
    pub(crate) fn start(
        name: &str,
        path: &Path,
        connection: Connection,
        limits: Limits,
    ) -> Result<Checkpointer> {
        let (requests, requested) = channel();
        let (finished, done) = channel();
        let path = path.to_owned();
        let work = move || {
            while requested.recv().is_ok() {
                move_pages(&connection, &path);
                if finished.send(()).is_err() {
                    break;
                }
            }
        };
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(work)
            .map_err(|e| Error::fatal(format!("cannot start the thread {name}: {e}")).with_source(e))?;
        Ok(Checkpointer { requests: Some(requests), done, pending: false, limits, thread: Some(thread) })
    }

    /// Moves pages if there are enough. The writer calls it between two transactions.
    pub(crate) fn run_if_due(&mut self, connection: &Connection, path: &Path) {
        let Ok(wal) = Wal::ask(connection, "PRAGMA wal_checkpoint(NOOP)") else { return };
        if wal.pages < self.limits.due {
            return;
        }
        if self.pending
            && (self.done.try_recv().is_ok() || wal.pages >= self.limits.most && self.done.recv().is_ok())
        {
            self.pending = false;
        }
        if self.pending {
            return;
        }
        match &self.requests {
            Some(requests) if wal.pages - wal.moved > self.limits.rest && wal.pages < self.limits.most => {
                self.pending = requests.send(()).is_ok();
            }
            _ => move_pages(connection, path),
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Wal {
    /// The pages in the WAL.
    pages: i64,
    /// The pages that have been moved into the database.
    moved: i64,
}

impl Wal {
    fn ask(connection: &Connection, pragma: &str) -> rusqlite::Result<Wal> {
        connection
            .prepare_cached(pragma)?
            .query_row([], |row| Ok(Wal { pages: row.get(1)?, moved: row.get(2)? }))
    }
}

/// Moves the pages that no reader needs in the WAL.
fn move_pages(connection: &Connection, path: &Path) {
    if let Err(error) = Wal::ask(connection, "PRAGMA wal_checkpoint(PASSIVE)") {
        // If the disk is full, the pages stay in the WAL, where they are just as safe. A later call
        // tries again.
        tracing::warn!(file = %path.display(), %error, "the write-ahead log could not be moved into the database; trying again later");
    }
}

#[cfg(test)]
mod tests {
    use super::super::{connection, schema, writer::Writer};
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_wal_stays_bounded_though_the_writer_never_rests() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.db");
        let tuning =
            connection::Tuning { writer_cache_kib: 1024, reader_cache_kib: 64, readers: 1, page_size: 4096 };
        let writing = connection::open_writer(&path, &schema::LOG, &tuning).unwrap();
        writing.execute_batch("CREATE TABLE t (data BLOB)").unwrap();
        let limits = Limits { due: 100, rest: 20, most: 400 };
        let beside = connection::open_checkpointer(&path).unwrap();
        let checkpointer = Checkpointer::start("test-wal", &path, beside, limits).unwrap();
        let writer = Writer::start("test", &path, writing, checkpointer, 1).unwrap();
        let wal = dir.path().join("log.db-wal");
        let mut largest = 0;
        for _ in 0..400 {
            let insert = |c: &Connection| Ok(c.execute("INSERT INTO t VALUES (zeroblob(40000))", [])?);
            writer.run(1, insert).await.unwrap();
            largest = largest.max(std::fs::metadata(&wal).unwrap().len() / 4120);
        }
        // One transaction takes less than 20 pages.
        assert!((100..440).contains(&largest), "the WAL grew to {largest} pages");
        writer.close().await;
        assert!(!wal.exists());
    }
}
