//! The whole of a data directory, opened.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use feedkit_core::{Clock, Error, Result, SystemClock};
use rusqlite::Connection;
use tokio::sync::watch;

use super::alert_log::SqliteAlertLog;
use super::checkpoint::{Checkpointer, Limits};
use super::connection::{self, HeldReader, Readers, Tuning};
use super::counters::SqliteCounters;
use super::directory::DataDir;
use super::failure::Sql;
use super::history::SqliteHistory;
use super::leaders::Leaders;
use super::log::SqliteLog;
use super::options::SqliteOptions;
use super::schema::{self, Schema};
use super::writer::{CommitStats, GROUP_WEIGHT, Writer};

/// Bytes of a page.
const STATE_PAGE_BYTES: u32 = 4096;
/// The log's rows are large.
const LOG_PAGE_BYTES: u32 = 4096;

/// A database file: its writer, if this process may write, and its readers.
#[derive(Debug)]
pub(crate) struct State {
    /// First to go: when the last connection closes, SQLite moves the WAL into the database.
    readers: Readers,
    /// `None` in a process that only reads.
    writer: Option<Writer>,
    /// Holds the lock as long as anything may write.
    dir: Arc<DataDir>,
}

impl State {
    /// Opens the file at `path` in `dir`.
    fn open(
        dir: Arc<DataDir>,
        path: &Path,
        schema: &'static Schema,
        tuning: Tuning,
        name: &str,
    ) -> Result<State> {
        let writer = if dir.is_writer() {
            let connection = connection::open_writer(path, schema, &tuning)?;
            let beside = connection::open_checkpointer(path)?;
            let checkpointer = Checkpointer::start(&format!("{name}-wal"), path, beside, Limits::default())?;
            Some(Writer::start(name, path, connection, checkpointer, GROUP_WEIGHT)?)
        } else {
            None
        };
        let readers = Readers::open(path, schema, tuning)?;
        Ok(State { readers, writer, dir })
    }

    /// Runs `job` in a transaction and waits until it is durable; see [`Writer::run`].
    pub(crate) async fn write<T, F>(&self, weight: usize, job: F) -> Result<T>
    where
        F: FnOnce(&Connection) -> Sql<T> + Send + 'static,
        T: Send + 'static,
    {
        match &self.writer {
            Some(writer) => writer.run(weight, job).await,
            None => Err(Error::fatal(format!("{} is opened for reading only", self.dir.path().display()))),
        }
    }

    /// Runs `read` in one read transaction; see [`Readers::read`].
    pub(crate) async fn read<T, F>(&self, read: F) -> Result<T>
    where
        F: FnOnce(&Connection) -> Sql<T> + Send + 'static,
        T: Send + 'static,
    {
        self.readers.read(read).await
    }

    /// A reading connection of the caller's own; see [`Readers::hold`].
    pub(crate) async fn hold(&self) -> Result<HeldReader> {
        self.readers.hold().await
    }

    /// Changes with every commit of this process; `None` when only others write.
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

    /// Works off what is queued and closes the file.
    pub(crate) async fn close(&self) {
        self.readers.close();
        if let Some(writer) = &self.writer {
            writer.close().await;
        }
    }
}

/// Everything of one feed: log, history, counters and alert log in one directory.
#[derive(Clone)]
pub struct Sqlite {
    pub(super) state: Arc<State>,
    log_store: Arc<State>,
    log: SqliteLog,
    clock: Arc<dyn Clock>,
    /// One for all histories made from this: what one commits, another's readers see.
    leaders: Arc<Leaders>,
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite").field("log", &self.log).finish_non_exhaustive()
    }
}

impl Sqlite {
    /// Opens the directory for this process alone; makes it if it is not there.
    ///
    /// # Errors
    ///
    /// [`Fatal`](feedkit_core::ErrorKind::Fatal) when another process has it, it cannot be written, is not
    /// feedkit's or of a newer version; [`Corrupt`](feedkit_core::ErrorKind::Corrupt) when a file is no database or
    /// damaged.
    pub async fn open(
        path: impl AsRef<Path>,
        options: SqliteOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Sqlite> {
        let (path, partitions) = (path.as_ref().to_owned(), options.partitions);
        let files = blocking(move || open_files(DataDir::open_writer(path)?, &options)).await?;
        Self::assemble(files, partitions, clock).await
    }

    /// Opens the directory for reading, also while another process writes in it.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); [`Fatal`](feedkit_core::ErrorKind::Fatal) also when there is no data.
    pub async fn open_read_only(path: impl AsRef<Path>, options: SqliteOptions) -> Result<Sqlite> {
        let path = path.as_ref().to_owned();
        let files = blocking(move || open_files(DataDir::open_reader(path)?, &options)).await?;
        Self::assemble(files, 0, Arc::new(SystemClock)).await
    }

    async fn assemble(files: Files, partitions: u32, clock: Arc<dyn Clock>) -> Result<Sqlite> {
        let Files { state, log: log_store } = files;
        let log = SqliteLog::open(Arc::clone(&log_store), partitions, Arc::clone(&clock)).await?;
        Ok(Sqlite { state, log_store, log, clock, leaders: Arc::default() })
    }

    /// The log: where records go in and come out.
    pub fn log(&self) -> &SqliteLog {
        &self.log
    }

    /// Where alerts are kept.
    pub fn alert_log(&self) -> SqliteAlertLog {
        SqliteAlertLog::new(Arc::clone(&self.state))
    }

    /// How the log's file was committed to; `None` when this process only reads.
    pub fn log_commits(&self) -> Option<CommitStats> {
        self.log_store.stats()
    }

    /// How the state's file was committed to; `None` when this process only reads.
    pub fn state_commits(&self) -> Option<CommitStats> {
        self.state.stats()
    }

    /// The history, and the answers from it.
    pub fn history(&self) -> SqliteHistory {
        SqliteHistory::new(Arc::clone(&self.state), Arc::clone(&self.clock), Arc::clone(&self.leaders))
    }

    /// Counters that follow a history kept elsewhere. The history of this directory moves its own totals in its
    /// commits and needs none.
    pub fn counters(&self) -> SqliteCounters {
        SqliteCounters::new(Arc::clone(&self.state))
    }

    /// Finishes what was handed in, moves both write-ahead logs into their databases and lets the directory's
    /// files go. Calls that come later fail as [`Fatal`](feedkit_core::ErrorKind::Fatal). The directory stays locked
    /// until all that was made from this is dropped.
    pub async fn close(&self) {
        self.log_store.close().await;
        self.state.close().await;
    }
}

/// Both files, opened.
struct Files {
    state: Arc<State>,
    log: Arc<State>,
}

fn open_files(dir: DataDir, options: &SqliteOptions) -> Result<Files> {
    let dir = Arc::new(dir);
    let kib = |bytes: u64| u32::try_from(bytes / 1024).unwrap_or(u32::MAX);
    let tuning = Tuning {
        writer_cache_kib: kib(options.state_cache_bytes),
        reader_cache_kib: kib(options.reader_cache_bytes),
        readers: options.readers,
        page_size: STATE_PAGE_BYTES,
    };
    let state = State::open(Arc::clone(&dir), &dir.state(), &schema::STATE, tuning, "feedkit-state")?;
    let tuning =
        Tuning { writer_cache_kib: kib(options.log_cache_bytes), page_size: LOG_PAGE_BYTES, ..tuning };
    let log = State::open(Arc::clone(&dir), &dir.log(), &schema::LOG, tuning, "feedkit-log")?;
    Ok(Files { state: Arc::new(state), log: Arc::new(log) })
}

/// Opening may wait for locks and recover a WAL.
async fn blocking<T: Send + 'static>(open: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let opened = tokio::task::spawn_blocking(open).await;
    opened.map_err(|e| Error::fatal(format!("opening the data directory did not end: {e}")))?
}
