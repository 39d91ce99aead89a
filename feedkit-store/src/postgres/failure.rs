//! The kinds of PostgreSQL's errors. Only this file decides them.

use std::error::Error as _;
use std::io;

use feedkit_core::{Error, ErrorKind};
use tokio_postgres::error::{DbError, SqlState};

/// Why work on a connection failed. `?` converts errors of PostgreSQL and of feedkit into it.
#[derive(Debug)]
pub(super) enum Failure {
    /// The driver's error.
    Sql(tokio_postgres::Error),
    /// An error of feedkit, which already has a kind.
    Feed(Error),
    /// Another writer came first. The work must be rolled back and repeated.
    Overtaken,
    /// No answer came in time.
    Silent,
}

/// The result of work on a connection.
pub(super) type Sql<T> = Result<T, Failure>;

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Failure::Sql(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Feed(error)
    }
}

impl From<Failure> for Error {
    /// The error for the caller, of work that was rolled back or only read.
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Feed(error) => error,
            Failure::Overtaken => Error::retriable("PostgreSQL: other writers came first at each attempt"),
            Failure::Silent => Error::retriable("PostgreSQL did not answer"),
            Failure::Sql(error) => {
                let (kind, message) = explain(&error);
                Error::new(kind, message).with_source(error)
            }
        }
    }
}

impl Failure {
    /// The error of a COMMIT.
    pub(super) fn of_commit(error: tokio_postgres::Error) -> Error {
        match error.as_db_error() {
            // The server says that it has rolled the transaction back.
            Some(db) if matches!(class(db), "22" | "23" | "25" | "40") => Failure::Sql(error).into(),
            _ => {
                let message = format!(
                    "PostgreSQL: whether a transaction was committed is not known: {}",
                    words(&error)
                );
                Error::uncertain(message).with_source(error)
            }
        }
    }

    pub(super) fn code(&self) -> Option<&SqlState> {
        match self {
            Failure::Sql(error) => error.code(),
            _ => None,
        }
    }

    /// Whether the transaction conflicted with others, so that a second attempt may succeed at
    /// once.
    pub(super) fn is_victim(&self) -> bool {
        let code = self.code();
        code == Some(&SqlState::T_R_DEADLOCK_DETECTED) || code == Some(&SqlState::T_R_SERIALIZATION_FAILURE)
    }
}

fn class(db: &DbError) -> &str {
    db.code().code().get(..2).unwrap_or_default()
}

/// The error's message, with those of its sources.
pub(super) fn words(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(db), _) => {
            let place = db.column().or(db.constraint()).or(db.table());
            let place = place.map(|place| format!(" ({place})")).unwrap_or_default();
            format!("{}{place} [SQLSTATE {}]", db.message(), db.code().code())
        }
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}

fn explain(error: &tokio_postgres::Error) -> (ErrorKind, String) {
    let message = format!("PostgreSQL: {}", words(error));
    match error.as_db_error() {
        Some(db) => (kind_of(db), message),
        None => (kind_without_server(error), message),
    }
}

fn kind_of(db: &DbError) -> ErrorKind {
    match (class(db), db.code().code()) {
        (_, "25006") => ErrorKind::Retriable, // Read-only: a standby that is not promoted yet.
        (_, "57P04" | "3D000") => ErrorKind::Fatal, // The database is not there.
        (_, "XX001" | "XX002") => ErrorKind::Corrupt,
        // Row or index entry too large.
        ("22" | "23", _) | (_, "54000") => ErrorKind::Data,
        // Connections, rolled back transactions, resources, operators, time-outs, the operating
        // system.
        ("08" | "25" | "40" | "53" | "55" | "57" | "58" | "XX", _) => ErrorKind::Retriable,
        _ => ErrorKind::Fatal,
    }
}

/// The kind of an error without a server's code. The driver tells errors apart only by their texts.
fn kind_without_server(error: &tokio_postgres::Error) -> ErrorKind {
    let words = error.to_string();
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| words.starts_with(prefix));
    if starts(&["error serializing parameter", "error encoding message"]) {
        return ErrorKind::Data;
    }
    if starts(&["error deserializing column", "invalid column", "expected ", "query returned an unexpected"])
    {
        return ErrorKind::Corrupt;
    }
    if starts(&["invalid connection string", "invalid configuration"]) {
        return ErrorKind::Invalid;
    }
    if starts(&["authentication error"]) {
        return ErrorKind::Fatal;
    }
    if starts(&["error performing TLS handshake"]) {
        // A broken connection may be opened again. A certificate that is refused stays refused.
        let broke = error.source().and_then(|e| e.downcast_ref::<io::Error>()).is_some_and(|e| {
            use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof};
            matches!(e.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | TimedOut | UnexpectedEof)
        });
        return if broke { ErrorKind::Retriable } else { ErrorKind::Fatal };
    }
    ErrorKind::Retriable
}

/// The error of a stored value that feedkit cannot have written.
pub(super) fn damaged(error: impl std::fmt::Display) -> Error {
    Error::corrupt(format!("a stored value {error}"))
}
