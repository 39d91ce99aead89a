//! The whole of a data directory, opened.

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

/// Bytes of a page.
const STATE_PAGE_BYTES: u32 = 4096;
/// The log's rows are large.
const LOG_PAGE_BYTES: u32 = 4096;

/// Everything of one feed: log, history, counters and alert log in one directory.
#[derive(Clone)]
pub struct Sqlite {
    pub(super) state: Arc<Database>,
    log_database: Arc<Database>,
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
        let Files { state, log: log_database } = files;
        let log = SqliteLog::open(Arc::clone(&log_database), partitions, Arc::clone(&clock)).await?;
        Ok(Sqlite { state, log_database, log, clock, leaders: Arc::default() })
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
        self.log_database.stats()
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
        self.log_database.close().await;
        self.state.close().await;
    }
}

/// Both files, opened.
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

/// Opening may wait for locks and recover a WAL.
async fn blocking<T: Send + 'static>(open: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let opened = tokio::task::spawn_blocking(open).await;
    opened.map_err(|e| Error::fatal(format!("opening the data directory did not end: {e}")))?
}
