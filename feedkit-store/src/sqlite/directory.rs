//! The directory with a feed's data, and its lock.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind as IoErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use feedkit_core::{Error, Result};

/// A directory with a feed's log and state. If it was opened for writing, it holds the lock until
/// it is dropped.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    /// The file is locked while it is open. The operating system also unlocks it when the process
    /// dies.
    lock: Option<File>,
}

const LOG: &str = "log.db";
const STATE: &str = "state.db";
const LOCK: &str = "lock";

impl DataDir {
    /// Opens the directory for writing. Makes it if it does not exist. Only one process at a time
    /// can have it open for writing.
    pub(crate) fn open_writer(path: impl Into<PathBuf>) -> Result<DataDir> {
        let path = path.into();
        make(&path).map_err(|e| fault(&path, "cannot be made", e))?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join(LOCK))
            .map_err(|e| fault(&path, "cannot be written to", e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(&path, &mut lock)),
            Err(TryLockError::Error(e)) => return Err(fault(&path, "cannot be locked", e)),
        }
        note_pid(&mut lock).map_err(|e| fault(&path, "cannot be written to", e))?;
        Ok(DataDir { path, lock: Some(lock) })
    }

    /// Opens the directory for reading. Another process may be writing in it.
    pub(crate) fn open_reader(path: impl Into<PathBuf>) -> Result<DataDir> {
        let dir = DataDir { path: path.into(), lock: None };
        let exists = |file: PathBuf| file.try_exists().map_err(|e| fault(&dir.path, "cannot be read", e));
        let shown = dir.path.display();
        match (exists(dir.log())?, exists(dir.state())?) {
            (true, true) => {}
            (false, false) => {
                return Err(Error::fatal(format!(
                    "there is no feedkit data in {shown}: run `feedkit replay FILE --data {shown}` to write some"
                )));
            }
            (true, false) => {
                return Err(Error::fatal(format!(
                    "{shown} has log.db but no state.db: put it back, or run `feedkit replay FILE --data {shown}`, \
                     which first counts the records in the log again"
                )));
            }
            (false, true) => {
                return Err(Error::fatal(format!(
                    "{shown} has state.db but no log.db: put it back, or move state.db away too and replay again"
                )));
            }
        }
        Ok(dir)
    }

    /// The directory's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The log's database.
    pub(crate) fn log(&self) -> PathBuf {
        self.path.join(LOG)
    }

    /// The database of the history, the counters and the alerts.
    pub(crate) fn state(&self) -> PathBuf {
        self.path.join(STATE)
    }

    /// Whether this process may write.
    pub(crate) fn is_writer(&self) -> bool {
        self.lock.is_some()
    }
}

/// Makes the directory and those above it that are missing, and syncs them, so that they survive a
/// crash of the machine.
fn make(path: &Path) -> std::io::Result<()> {
    let missing = path.ancestors().take_while(|above| !above.as_os_str().is_empty() && !above.exists());
    let missing: Vec<_> = missing.collect();
    fs::create_dir_all(path)?;
    for made in missing {
        let above = made.parent().filter(|above| !above.as_os_str().is_empty());
        File::open(above.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

/// Writes the process id, for the messages of other processes. Only the lock protects the
/// directory.
fn note_pid(lock: &mut File) -> std::io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

fn in_use(path: &Path, lock: &mut File) -> Error {
    let mut pid = String::new();
    // Between taking the lock and writing the id, the file may be empty, or have the id of an
    // earlier process.
    let known = lock.take(32).read_to_string(&mut pid).is_ok() && pid.trim().parse::<u32>().is_ok();
    let who = if known { format!(" (pid {})", pid.trim()) } else { String::new() };
    Error::fatal(format!("{} is in use by another feedkit process{who}", path.display()))
}

fn fault(path: &Path, what: &str, error: std::io::Error) -> Error {
    let message = format!("the data directory {} {what}: {error}", path.display());
    match error.kind() {
        IoErrorKind::StorageFull | IoErrorKind::QuotaExceeded | IoErrorKind::Interrupted => {
            Error::retriable(message)
        }
        _ => Error::fatal(message),
    }
    .with_source(error)
}
