//! The kinds of SQLite's errors. Only this file decides them.

use std::path::Path;

use feedkit_core::{Error, ErrorKind};
use rusqlite::ffi;

/// Why a job on a connection failed. `?` converts errors of SQLite and of feedkit into it.
#[derive(Debug)]
pub(crate) enum Failure {
    /// SQLite's error. It gets its kind where the file's path is known.
    Sql(rusqlite::Error),
    /// An error of feedkit, which already has a kind.
    Feed(Error),
}

/// The result of work on a connection.
pub(crate) type Sql<T> = Result<T, Failure>;

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Failure::Sql(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Feed(error)
    }
}

impl Failure {
    /// The error for the caller, of work on the database at `path` that was rolled back or only
    /// read.
    pub(crate) fn into_error(self, path: &Path) -> Error {
        match self {
            Failure::Feed(error) => error,
            Failure::Sql(error) => {
                let (kind, message) = explain(&error, path);
                Error::new(kind, message).with_source(error)
            }
        }
    }

    /// The error of a COMMIT on the database at `path`.
    pub(crate) fn into_commit_error(self, path: &Path) -> Error {
        match self {
            Failure::Sql(error) if outcome_is_unknown(&error) => {
                let message =
                    format!("it is not known whether a commit to {} is durable: {error}", path.display());
                Error::uncertain(message).with_source(error)
            }
            other => other.into_error(path),
        }
    }

    /// SQLite's extended result code, if the error is SQLite's.
    pub(crate) fn code(&self) -> Option<i32> {
        match self {
            Failure::Sql(error) => extended(error),
            Failure::Feed(_) => None,
        }
    }
}

fn extended(error: &rusqlite::Error) -> Option<i32> {
    error.sqlite_error().map(|e| e.extended_code)
}

/// The primary code of an extended code.
pub(crate) const fn primary(code: i32) -> i32 {
    code & 0xff
}

/// Whether a COMMIT that failed may still be durable. A commit writes its frames, of which the last
/// makes it valid, then syncs them, and then adds them to the index. After an error while writing,
/// it is not valid. After a later error, a recovery may find the frames.
fn outcome_is_unknown(error: &rusqlite::Error) -> bool {
    let Some(code) = extended(error) else { return true };
    match primary(code) {
        ffi::SQLITE_IOERR => code != ffi::SQLITE_IOERR_WRITE,
        ffi::SQLITE_NOMEM | ffi::SQLITE_INTERRUPT | ffi::SQLITE_INTERNAL => true,
        _ => false,
    }
}

fn explain(error: &rusqlite::Error, path: &Path) -> (ErrorKind, String) {
    use ErrorKind::{Corrupt, Data, Fatal, Retriable};
    let shown = path.display();
    let Some(code) = extended(error) else {
        return match error {
            rusqlite::Error::ToSqlConversionFailure(_) => (Data, format!("a value for {shown}: {error}")),
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..) => (Corrupt, format!("a value in {shown}: {error}")),
            _ => (Fatal, format!("{shown}: {error}")),
        };
    };
    let full = || {
        format!(
            "the disk that holds {shown} is full: nothing was changed or lost, and work continues once there is space"
        )
    };
    match (primary(code), code) {
        (ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED, _) => {
            (Retriable, format!("{shown} is locked by another program"))
        }
        (ffi::SQLITE_FULL, _) | (_, ffi::SQLITE_IOERR_SHMSIZE) => (Retriable, full()),
        (_, ffi::SQLITE_IOERR_WRITE) => {
            (Retriable, format!("{shown} cannot be written; the disk may be full or failing: {error}"))
        }
        (_, ffi::SQLITE_IOERR_CORRUPTFS | ffi::SQLITE_IOERR_DATA) => (Corrupt, damaged_file(path, error)),
        (ffi::SQLITE_IOERR, _) => (Retriable, format!("reading or writing {shown} failed: {error}")),
        (ffi::SQLITE_NOMEM | ffi::SQLITE_INTERRUPT | ffi::SQLITE_PROTOCOL | ffi::SQLITE_SCHEMA, _) => {
            (Retriable, format!("{shown}: {error}"))
        }
        (ffi::SQLITE_READONLY, _) => (Fatal, format!("{shown} cannot be written: {error}")),
        (ffi::SQLITE_CANTOPEN, _) => (Fatal, format!("{shown} cannot be opened: {error}")),
        (ffi::SQLITE_NOTADB, _) => (
            Corrupt,
            format!("{shown} is not a database of feedkit; move it away, or name another directory"),
        ),
        (ffi::SQLITE_CORRUPT, _) => (Corrupt, damaged_file(path, error)),
        (ffi::SQLITE_CONSTRAINT | ffi::SQLITE_TOOBIG | ffi::SQLITE_MISMATCH | ffi::SQLITE_RANGE, _) => {
            (Data, format!("a value cannot be stored in {shown}: {error}"))
        }
        _ => (Fatal, format!("{shown}: {error}")),
    }
}

fn damaged_file(path: &Path, error: &rusqlite::Error) -> String {
    format!(
        "{} is damaged ({error}); stop feedkit, keep a copy of the directory, and restore it from a backup",
        path.display()
    )
}

/// The error of a stored value that feedkit cannot have written.
pub(crate) fn damaged(error: impl std::fmt::Display) -> Error {
    Error::corrupt(format!("a stored identifier {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: i32) -> Failure {
        Failure::Sql(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None))
    }

    #[test]
    fn says_what_a_caller_can_do() {
        let path = Path::new("/data/state.db");
        for (code, kind, commit_kind) in [
            (ffi::SQLITE_BUSY, ErrorKind::Retriable, ErrorKind::Retriable),
            (ffi::SQLITE_FULL, ErrorKind::Retriable, ErrorKind::Retriable),
            (ffi::SQLITE_IOERR_WRITE, ErrorKind::Retriable, ErrorKind::Retriable),
            (ffi::SQLITE_IOERR_FSYNC, ErrorKind::Retriable, ErrorKind::Uncertain),
            (ffi::SQLITE_IOERR_SHMSIZE, ErrorKind::Retriable, ErrorKind::Uncertain),
            (ffi::SQLITE_READONLY, ErrorKind::Fatal, ErrorKind::Fatal),
            (ffi::SQLITE_CANTOPEN, ErrorKind::Fatal, ErrorKind::Fatal),
            (ffi::SQLITE_CORRUPT, ErrorKind::Corrupt, ErrorKind::Corrupt),
            (ffi::SQLITE_NOTADB, ErrorKind::Corrupt, ErrorKind::Corrupt),
            (ffi::SQLITE_CONSTRAINT_PRIMARYKEY, ErrorKind::Data, ErrorKind::Data),
            (ffi::SQLITE_TOOBIG, ErrorKind::Data, ErrorKind::Data),
        ] {
            let error = failure(code).into_error(path);
            assert_eq!(error.kind(), kind, "{code}");
            assert!(error.to_string().contains("/data/state.db"), "{error}");
            assert_eq!(failure(code).into_commit_error(path).kind(), commit_kind, "{code} at commit");
        }
        let own = Failure::Feed(Error::fenced("epoch 3")).into_commit_error(path);
        assert_eq!((own.kind(), own.to_string().as_str()), (ErrorKind::Fenced, "epoch 3"));
    }
}
