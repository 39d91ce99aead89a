//! An open database file.

use std::path::Path;
use std::sync::Arc;

use feedkit_core::{Error, Result};
use rusqlite::Connection;
use tokio::sync::watch;

use super::checkpoint::{Checkpointer, Limits};
use super::connection::{self, HeldReader, Readers, Tuning};
use super::directory::DataDir;
use super::failure::Sql;
use super::schema::Schema;
use super::writer::{CommitStats, GROUP_WEIGHT, Writer};

/// An open database file: its writer, if this process may write, and its readers.
#[derive(Debug)]
pub(crate) struct Database {
    /// Dropped first: when the last connection closes, SQLite moves the WAL into the database.
    readers: Readers,
    /// `None` in a process that only reads.
    writer: Option<Writer>,
    /// Holds the directory's lock while anything may write.
    dir: Arc<DataDir>,
}

impl Database {
    /// Opens the file at `path` in `dir`.
    pub(super) fn open(
        dir: Arc<DataDir>,
        path: &Path,
        schema: &'static Schema,
        tuning: Tuning,
        name: &str,
    ) -> Result<Database> {
        let writer = if dir.is_writer() {
            let connection = connection::open_writer(path, schema, &tuning)?;
            let beside = connection::open_checkpointer(path)?;
            let checkpointer = Checkpointer::start(&format!("{name}-wal"), path, beside, Limits::default())?;
            Some(Writer::start(name, path, connection, checkpointer, GROUP_WEIGHT)?)
        } else {
            None
        };
        let readers = Readers::open(path, schema, tuning)?;
        Ok(Database { readers, writer, dir })
    }

    /// Runs `job` in a transaction and waits until it is durable. See [`Writer::run`].
    pub(crate) async fn write<T, F>(&self, weight: usize, job: F) -> Result<T>
    where
        F: FnOnce(&Connection) -> Sql<T> + Send + 'static,
        T: Send + 'static,
    {
        match &self.writer {
            Some(writer) => writer.run(weight, job).await,
            None => Err(Error::fatal(format!("{} is open for reading only", self.dir.path().display()))),
        }
    }

    /// Runs `read` in one read transaction. See [`Readers::read`].
    pub(crate) async fn read<T, F>(&self, read: F) -> Result<T>
    where
        F: FnOnce(&Connection) -> Sql<T> + Send + 'static,
        T: Send + 'static,
    {
        self.readers.read(read).await
    }

    /// Opens a reading connection for the caller alone. See [`Readers::hold`].
    pub(crate) async fn hold(&self) -> Result<HeldReader> {
        self.readers.hold().await
    }

    /// Changes with every commit of this process. `None` if another process writes.
    pub(crate) fn committed(&self) -> Option<watch::Receiver<u64>> {
        self.writer.as_ref().map(Writer::committed)
    }

    /// Whether this process may write.
    pub(crate) fn is_writer(&self) -> bool {
        self.writer.is_some()
    }

    /// What the writer has done so far.
    pub(crate) fn stats(&self) -> Option<CommitStats> {
        self.writer.as_ref().map(Writer::stats)
    }

    /// Finishes the queued jobs and closes the file.
    pub(crate) async fn close(&self) {
        self.readers.close();
        if let Some(writer) = &self.writer {
            writer.close().await;
        }
    }
}
