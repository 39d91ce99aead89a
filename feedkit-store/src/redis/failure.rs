//! The kinds of Redis's errors. Only this file decides them.

use feedkit_core::{Error, ErrorKind};
use redis::{ErrorKind as Kind, RedisError, ServerErrorKind};

/// How Redis says, within a script, that the user has no right to a command or a key. This error
/// has no code of its own.
const NOT_IN_A_SCRIPT: &str = "The user executing the script can't";

/// Converts an error for the caller. All calls may be repeated: those that write are fenced, or do
/// no harm when they run twice.
pub(super) fn explain(doing: &str, error: RedisError) -> Error {
    let (kind, why) = match error.kind() {
        Kind::AuthenticationFailed => (ErrorKind::Fatal, "Redis rejected the user or the password"),
        Kind::Server(ServerErrorKind::NoPerm) => (ErrorKind::Fatal, "the Redis user is not allowed to"),
        Kind::InvalidClientConfig => (ErrorKind::Invalid, "Redis cannot be used with these options"),
        Kind::RESP3NotSupported => (ErrorKind::Fatal, "Redis cannot be used with these options"),
        Kind::Parse | Kind::UnexpectedReturnType => (ErrorKind::Corrupt, "Redis sent an unexpected reply"),
        Kind::Io if error.is_timeout() => (ErrorKind::Retriable, "Redis did not answer in time"),
        Kind::Io | Kind::ClusterConnectionNotFound => (ErrorKind::Retriable, "Redis cannot be reached"),
        _ if error.detail().is_some_and(|d| d.starts_with(NOT_IN_A_SCRIPT)) => {
            (ErrorKind::Fatal, "the Redis user is not allowed to")
        }
        _ => (ErrorKind::Retriable, "Redis refuses"),
    };
    Error::new(kind, format!("{doing}: {why}: {error}")).with_source(error)
}

/// The error of a reply in another form than the script's.
pub(super) fn unexpected(doing: &str, answer: &redis::Value) -> Error {
    Error::corrupt(format!("{doing}: Redis sent an unexpected reply: {answer:?}"))
}

/// Whether the connection can no longer be used.
pub(super) fn is_lost(error: &RedisError) -> bool {
    // If the server has become a replica, the name may now belong to the new master.
    error.is_unrecoverable_error() || error.kind() == Kind::Server(ServerErrorKind::ReadOnly)
}

/// Whether the same call over a new connection may succeed at once.
pub(super) fn is_worth_another_try(error: &RedisError) -> bool {
    is_lost(error) && matches!(error.kind(), Kind::Io | Kind::Server(_)) && !error.is_timeout()
}
