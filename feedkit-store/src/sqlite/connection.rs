//! Connections to a database file: one for the writer, and a pool for readers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use feedkit_core::{Error, Result};
use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags, ffi};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::failure::{Failure, Sql, primary};
use super::schema::Schema;

/// How to use a database file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tuning {
    /// The writer's page cache, in KiB.
    pub(crate) writer_cache_kib: u32,
    /// The page cache of each reader, in KiB.
    pub(crate) reader_cache_kib: u32,
    /// Maximum number of readers at the same time.
    pub(crate) readers: usize,
    /// The size of a page in bytes. It is used when the file is made.
    pub(crate) page_size: u32,
}

/// How long to wait for another program's lock, such as a backup's.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum size of a WAL when it is used again. A long read can make it grow beyond this.
const WAL_KEPT_BYTES: u32 = 64 << 20;
/// How many prepared statements each connection keeps.
const STATEMENTS: usize = 128;

/// Opens the connection that writes. Makes the file, or updates its schema, if necessary.
pub(crate) fn open_writer(path: &Path, schema: &Schema, tuning: &Tuning) -> Result<Connection> {
    let open = || -> Sql<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        // The version is checked before anything is changed, so that another program's file stays
        // as it is.
        schema.version(&connection, path)?;
        connection.pragma_update(None, "page_size", tuning.page_size)?;
        let mode: String =
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
        if mode != "wal" {
            let message = format!("{}: this file system cannot hold a write-ahead log", path.display());
            return Err(Error::fatal(message).into());
        }
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.pragma_update(None, "journal_size_limit", WAL_KEPT_BYTES)?;
        connection.pragma_update(None, "cache_size", -i64::from(tuning.writer_cache_kib))?;
        // The pages that a savepoint may have to restore stay until the group's commit. They would
        // need too much memory.
        connection.pragma_update(None, "temp_store", "FILE")?;
        connection.pragma_update(None, "foreign_keys", false)?;
        schema.migrate(&mut connection, path)?;
        Ok(connection)
    };
    open().map_err(|e| e.into_error(path))
}

/// Opens a second connection to the writer's file, which moves its WAL into the database.
pub(crate) fn open_checkpointer(path: &Path) -> Result<Connection> {
    let open = || -> Sql<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        Ok(connection)
    };
    open().map_err(|e| e.into_error(path))
}

/// The readers of one database file. Clones share their connections.
#[derive(Debug, Clone)]
pub(crate) struct Readers {
    pool: Arc<Pool>,
}

#[derive(Debug)]
struct Pool {
    path: PathBuf,
    schema: &'static Schema,
    tuning: Tuning,
    /// The connections that are not in use; `None` once closed.
    idle: Mutex<Option<Vec<Connection>>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    /// Opens readers of the file at `path`, which must exist and have this program's version.
    pub(crate) fn open(path: &Path, schema: &'static Schema, tuning: Tuning) -> Result<Readers> {
        let first = open_reader(path, schema, &tuning).map_err(|e| e.into_error(path))?;
        let pool = Pool {
            path: path.to_owned(),
            schema,
            tuning,
            idle: Mutex::new(Some(vec![first])),
            permits: Arc::new(Semaphore::new(tuning.readers.max(1))),
        };
        Ok(Readers { pool: Arc::new(pool) })
    }

    /// Runs `read` on a thread where it may block, in one read transaction: it sees the data of one
    /// moment.
    ///
    /// It waits while the maximum number of readers are at work. Dropping it changes nothing.
    pub(crate) async fn read<T, F>(&self, read: F) -> Result<T>
    where
        F: FnOnce(&Connection) -> Sql<T> + Send + 'static,
        T: Send + 'static,
    {
        let permit = Arc::clone(&self.pool.permits).acquire_owned().await.map_err(|_| self.pool.closed())?;
        let pool = Arc::clone(&self.pool);
        let work = tokio::task::spawn_blocking(move || {
            // The permit is held until the connection is back, even if the caller is gone.
            let _permit = permit;
            let result = pool.take().and_then(|connection| {
                let result = in_transaction(&connection, read);
                pool.put_back(connection);
                result
            });
            result.map_err(|e| e.into_error(&pool.path))
        });
        work.await.map_err(|e| stopped(&self.pool.path, &e))?
    }

    /// Opens a connection for the caller alone, outside the pool's limit. It is for reads that take
    /// several calls.
    pub(crate) async fn hold(&self) -> Result<HeldReader> {
        let pool = Arc::clone(&self.pool);
        let open = tokio::task::spawn_blocking(move || {
            let connection =
                open_reader(&pool.path, pool.schema, &pool.tuning).map_err(|e| e.into_error(&pool.path))?;
            Ok(HeldReader { connection, path: pool.path.clone() })
        });
        open.await.map_err(|e| stopped(&self.pool.path, &e))?
    }

    /// Closes the connections. Those in use are closed when their reads end. Later reads fail.
    pub(crate) fn close(&self) {
        self.pool.permits.close();
        self.pool.idle.lock().take();
    }
}

impl Pool {
    fn take(&self) -> Sql<Connection> {
        let idle = match &mut *self.idle.lock() {
            Some(idle) => idle.pop(),
            None => return Err(self.closed().into()),
        };
        idle.map_or_else(|| open_reader(&self.path, self.schema, &self.tuning), Ok)
    }

    fn put_back(&self, connection: Connection) {
        // If its rollback failed, the connection is still in a transaction and cannot be used
        // again.
        if !connection.is_autocommit() {
            return;
        }
        if let Some(idle) = &mut *self.idle.lock() {
            idle.push(connection);
        }
    }

    fn closed(&self) -> Error {
        Error::fatal(format!("{} is closed", self.path.display()))
    }
}

/// A reading connection that belongs to one holder.
#[derive(Debug)]
pub(crate) struct HeldReader {
    connection: Connection,
    path: PathBuf,
}

impl HeldReader {
    /// Runs `read` on a thread where it may block, and returns the connection with the result. It
    /// opens no transaction: one that `read` begins continues in the next call.
    pub(crate) fn start<T, F>(self, read: F) -> JoinHandle<(HeldReader, Result<T>)>
    where
        F: FnOnce(&Connection) -> Sql<T> + Send + 'static,
        T: Send + 'static,
    {
        tokio::task::spawn_blocking(move || {
            let result = read(&self.connection).map_err(|e| e.into_error(&self.path));
            (self, result)
        })
    }

    /// The same as [`start`](Self::start), in one read transaction.
    pub(crate) fn start_consistent<T, F>(self, read: F) -> JoinHandle<(HeldReader, Result<T>)>
    where
        F: FnOnce(&Connection) -> Sql<T> + Send + 'static,
        T: Send + 'static,
    {
        self.start(move |connection| in_transaction(connection, read))
    }
}

/// Runs `read` in one read transaction.
fn in_transaction<T>(connection: &Connection, read: impl FnOnce(&Connection) -> Sql<T>) -> Sql<T> {
    let transaction = connection.unchecked_transaction()?;
    let result = read(&transaction)?;
    // Nothing was written, so this only ends the read transaction.
    transaction.finish()?;
    Ok(result)
}

fn stopped(path: &Path, error: &tokio::task::JoinError) -> Error {
    Error::fatal(format!("a read of {} was interrupted: {error}", path.display()))
}

fn open_reader(path: &Path, schema: &Schema, tuning: &Tuning) -> Sql<Connection> {
    let ready = |connection: Connection| -> Sql<Connection> {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        connection.pragma_update(None, "query_only", true)?;
        connection.pragma_update(None, "cache_size", -i64::from(tuning.reader_cache_kib))?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        schema.check(&connection, path)?;
        Ok(connection)
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let failure = match Connection::open_with_flags(path, flags).map_err(Failure::from).and_then(ready) {
        Ok(connection) => return Ok(connection),
        Err(failure) => failure,
    };
    // A WAL needs an index file beside it, which a read-only directory may not have. If the WAL has
    // no changes, the database file is complete, and nobody can be changing it.
    let code = failure.code().map(primary);
    if !matches!(code, Some(ffi::SQLITE_CANTOPEN | ffi::SQLITE_READONLY)) || !path.exists() {
        return Err(failure);
    }
    if wal_bytes(path) > 0 {
        let message = format!(
            "{} cannot be written and holds changes that are still in {}-wal: copy both to where they can be \
             written, or open them there once with a feedkit that writes",
            path.display(),
            path.display()
        );
        return Err(Error::fatal(message).into());
    }
    ready(Connection::open_with_flags(immutable(path), flags | OpenFlags::SQLITE_OPEN_URI)?)
}

fn wal_bytes(path: &Path) -> u64 {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    std::fs::metadata(wal).map_or(0, |m| m.len())
}

/// The URI that opens `path` as a file that does not change.
fn immutable(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                uri.push(*byte as char)
            }
            other => uri.push_str(&format!("%{other:02x}")),
        }
    }
    uri.push_str("?immutable=1");
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_path_makes_a_uri() {
        assert_eq!(immutable(Path::new("/a b/50%?x#é.db")), "file:/a%20b/50%25%3fx%23%c3%a9.db?immutable=1");
    }
}
