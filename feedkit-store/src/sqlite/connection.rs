//! Connections to a database file: the writer's one, and the readers beside it.

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

/// How a database file is used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tuning {
    /// Page cache of the writer, in KiB.
    pub(crate) writer_cache_kib: u32,
    /// Page cache of each reader, in KiB.
    pub(crate) reader_cache_kib: u32,
    /// Most readers at once.
    pub(crate) readers: usize,
    /// Bytes of a page; counts when the file is made.
    pub(crate) page_size: u32,
}

/// Another program may hold a lock for a moment (a backup, a command line).
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// A WAL that grew beyond this under a long read is cut back when it is reused.
const WAL_KEPT_BYTES: u32 = 64 << 20;
/// Statements kept prepared by each connection.
const STATEMENTS: usize = 128;

/// The connection that writes, the file made and brought up to date if need be.
pub(crate) fn open_writer(path: &Path, schema: &Schema, tuning: &Tuning) -> Result<Connection> {
    let open = || -> Sql<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        // Before anything is changed: somebody else's file stays as it is.
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
        // Not in memory: the pages that a savepoint may have to restore would stay there until the group's commit.
        connection.pragma_update(None, "temp_store", "FILE")?;
        connection.pragma_update(None, "foreign_keys", false)?;
        schema.migrate(&mut connection, path)?;
        Ok(connection)
    };
    open().map_err(|e| e.into_error(path))
}

/// A second connection to a file opened for writing, to move its WAL into the database beside the writer.
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
    /// Connections not in use; `None` once closed.
    idle: Mutex<Option<Vec<Connection>>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    /// Readers of the file at `path`, which must be there in this program's version.
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

    /// Runs `read` on a connection of its own thread, inside one read transaction: all it sees is of one moment.
    ///
    /// Waits while the most readers allowed are at work. Dropped, it changes nothing.
    pub(crate) async fn read<T, F>(&self, read: F) -> Result<T>
    where
        F: FnOnce(&Connection) -> Sql<T> + Send + 'static,
        T: Send + 'static,
    {
        let permit = Arc::clone(&self.pool.permits).acquire_owned().await.map_err(|_| self.pool.closed())?;
        let pool = Arc::clone(&self.pool);
        let work = tokio::task::spawn_blocking(move || {
            // Held until the connection is back, also when nobody waits any more.
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

    /// A connection of the caller's own, outside the pool's limit, for reads that go on over several calls.
    pub(crate) async fn hold(&self) -> Result<HeldReader> {
        let pool = Arc::clone(&self.pool);
        let open = tokio::task::spawn_blocking(move || {
            let connection =
                open_reader(&pool.path, pool.schema, &pool.tuning).map_err(|e| e.into_error(&pool.path))?;
            Ok(HeldReader { connection, path: pool.path.clone() })
        });
        open.await.map_err(|e| stopped(&self.pool.path, &e))?
    }

    /// Closes the connections; those in use close when they are done. Reads fail from now on.
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
        // One left inside a transaction (its rollback failed) is not fit for another.
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

/// A reading connection of its holder's own.
#[derive(Debug)]
pub(crate) struct HeldReader {
    connection: Connection,
    path: PathBuf,
}

impl HeldReader {
    /// Runs `read` on a thread where it may block; gives the connection back with the result. No transaction is
    /// opened: what `read` begins goes on in the next call.
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

    /// As [`start`](Self::start), inside one read transaction.
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
    // Nothing was written: this only ends the view.
    transaction.finish()?;
    Ok(result)
}

fn stopped(path: &Path, error: &tokio::task::JoinError) -> Error {
    Error::fatal(format!("a read of {} did not end: {error}", path.display()))
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
    // A WAL needs an index file beside it, which a directory that is read-only may not have. Without changes in
    // a WAL the database alone is the whole truth, and nobody can be changing it.
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

/// The URI that opens `path` as a file that nobody changes.
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
