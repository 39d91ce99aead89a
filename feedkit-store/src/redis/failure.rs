//! What a failing call to Redis means to a caller: the one place that knows.

use feedkit_core::{Error, ErrorKind};
use redis::{ErrorKind as Kind, RedisError, ServerErrorKind};

/// How Redis says within a script that the user has no right to a command or a key; the error has no code of its own.
const NOT_IN_A_SCRIPT: &str = "The user executing the script can't";

/// The error as a caller sees it. All calls may be repeated: those that write are fenced, or do no harm twice.
pub(super) fn explain(doing: &str, error: RedisError) -> Error {
    let (kind, why) = match error.kind() {
        Kind::AuthenticationFailed => (ErrorKind::Fatal, "Redis refuses the user or the password"),
        Kind::Server(ServerErrorKind::NoPerm) => (ErrorKind::Fatal, "the Redis user is not allowed to"),
        Kind::InvalidClientConfig => (ErrorKind::Invalid, "Redis cannot be used with these settings"),
        Kind::RESP3NotSupported => (ErrorKind::Fatal, "Redis cannot be used with these settings"),
        Kind::Parse | Kind::UnexpectedReturnType => (ErrorKind::Corrupt, "Redis answers what is no answer"),
        Kind::Io if error.is_timeout() => (ErrorKind::Retriable, "Redis does not answer in time"),
        Kind::Io | Kind::ClusterConnectionNotFound => (ErrorKind::Retriable, "Redis cannot be reached"),
        _ if error.detail().is_some_and(|d| d.starts_with(NOT_IN_A_SCRIPT)) => {
            (ErrorKind::Fatal, "the Redis user is not allowed to")
        }
        _ => (ErrorKind::Retriable, "Redis refuses"),
    };
    Error::new(kind, format!("{doing}: {why}: {error}")).with_source(error)
}

/// An answer of another form than the script gives.
pub(super) fn unexpected(doing: &str, answer: &redis::Value) -> Error {
    Error::corrupt(format!("{doing}: Redis answers {answer:?}"))
}

/// Whether the connection is of no more use.
pub(super) fn is_lost(error: &RedisError) -> bool {
    // A server that has become a replica may have left its place to another under the same name.
    error.is_unrecoverable_error() || error.kind() == Kind::Server(ServerErrorKind::ReadOnly)
}

/// Whether the same call over a new connection may succeed at once.
pub(super) fn is_worth_another_try(error: &RedisError) -> bool {
    is_lost(error) && matches!(error.kind(), Kind::Io | Kind::Server(_)) && !error.is_timeout()
}
