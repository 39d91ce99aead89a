//! An open data directory, from which all parts are made.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use feedkit_core::{Clock, Error, Result, SystemClock};

use super::alert_log::SqliteAlertLog;
use super::connection::Tuning;
use super::counters::SqliteCounters;
use super::database::Database;
use super::directory::DataDir;
use super::history::SqliteHistory;
use super::leaders::Leaders;
use super::log::SqliteLog;
use super::options::SqliteOptions;
use super::schema;
use super::writer::CommitStats;

/// The size of a page of the state, in bytes.
const STATE_PAGE_BYTES: u32 = 4096;
/// The size of a page of the log, in bytes.
const LOG_PAGE_BYTES: u32 = 4096;

/// Log, history, counters and alert log of one feed, in one directory.
#[derive(Clone)]
pub struct Sqlite {
    pub(super) state: Arc<Database>,
    log_database: Arc<Database>,
    log: SqliteLog,
    clock: Arc<dyn Clock>,
    /// All histories share it, because a reader of one must see the commits of another.
    leaders: Arc<Leaders>,
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite").field("log", &self.log).finish_non_exhaustive()
    }
}

impl Sqlite {
    /// Opens the directory for writing. Makes it if it does not exist. Only one process at a time
    /// can have it open for writing.
    ///
    /// # Errors
    ///
    /// [`Fatal`](feedkit_core::ErrorKind::Fatal) if another process has it open, if it cannot be
    /// written, or if it belongs to another program or a newer version.
    /// [`Corrupt`](feedkit_core::ErrorKind::Corrupt) if a file is damaged or is not a database.
    pub async fn open(
        path: impl AsRef<Path>,
        options: SqliteOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Sqlite> {
        let (path, partitions) = (path.as_ref().to_owned(), options.partitions);
        let files = blocking(move || open_files(DataDir::open_writer(path)?, &options)).await?;
        Self::assemble(files, partitions, clock).await
    }

    /// Opens the directory for reading. Another process may be writing in it.
    ///
    /// # Errors
    ///
    /// The same as of [`open`](Self::open), and [`Fatal`](feedkit_core::ErrorKind::Fatal) if there
    /// is no data.
    pub async fn open_read_only(path: impl AsRef<Path>, options: SqliteOptions) -> Result<Sqlite> {
        let path = path.as_ref().to_owned();
        let files = blocking(move || open_files(DataDir::open_reader(path)?, &options)).await?;
        Self::assemble(files, 0, Arc::new(SystemClock)).await
    }

    async fn assemble(files: Files, partitions: u32, clock: Arc<dyn Clock>) -> Result<Sqlite> {
        let Files { state, log: log_database } = files;
        let log = SqliteLog::open(Arc::clone(&log_database), partitions, Arc::clone(&clock)).await?;
        Ok(Sqlite { state, log_database, log, clock, leaders: Arc::default() })
    }

    /// Returns the log.
    pub fn log(&self) -> &SqliteLog {
        &self.log
    }

    /// Returns the alert log.
    pub fn alert_log(&self) -> SqliteAlertLog {
        SqliteAlertLog::new(Arc::clone(&self.state))
    }

    /// Returns figures about the commits to the log's file; `None` if this process only reads.
    pub fn log_commits(&self) -> Option<CommitStats> {
        self.log_database.stats()
    }

    /// Returns figures about the commits to the state's file; `None` if this process only reads.
    pub fn state_commits(&self) -> Option<CommitStats> {
        self.state.stats()
    }

    /// Returns the history, which also answers queries.
    pub fn history(&self) -> SqliteHistory {
        SqliteHistory::new(Arc::clone(&self.state), Arc::clone(&self.clock), Arc::clone(&self.leaders))
    }

    /// Returns counters that follow a history in another store. The history of this directory does
    /// not need them: it changes its totals in its own commits.
    pub fn counters(&self) -> SqliteCounters {
        SqliteCounters::new(Arc::clone(&self.state))
    }

    /// Finishes the queued work, moves both write-ahead logs into their databases, and closes the
    /// files. Later calls fail as [`Fatal`](feedkit_core::ErrorKind::Fatal). The directory stays
    /// locked until everything that was made from this is dropped.
    pub async fn close(&self) {
        self.log_database.close().await;
        self.state.close().await;
    }
}

/// Both files, open.
struct Files {
    state: Arc<Database>,
    log: Arc<Database>,
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
    let state = Database::open(Arc::clone(&dir), &dir.state(), &schema::STATE, tuning, "feedkit-state")?;
    let tuning =
        Tuning { writer_cache_kib: kib(options.log_cache_bytes), page_size: LOG_PAGE_BYTES, ..tuning };
    let log = Database::open(Arc::clone(&dir), &dir.log(), &schema::LOG, tuning, "feedkit-log")?;
    Ok(Files { state: Arc::new(state), log: Arc::new(log) })
}

/// Opens files on a thread where it may block: opening may wait for locks and recover a WAL.
async fn blocking<T: Send + 'static>(open: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let opened = tokio::task::spawn_blocking(open).await;
    opened.map_err(|e| Error::fatal(format!("opening the data directory was interrupted: {e}")))?
}
