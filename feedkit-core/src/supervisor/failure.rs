//! Which part failed, why, and when.

use std::fmt;
use std::time::Duration;

use crate::{Error, ErrorKind, Timestamp};

/// The error of [`Supervisor::run`](super::Supervisor::run): at least one part failed.
///
/// It converts into an [`Error`] of the first failure's kind, which keeps this error as its source.
#[derive(Debug)]
pub struct PartFailed {
    first: Failure,
    later: Vec<Failure>,
}

/// One part's failure.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The part's name.
    pub part: String,
    /// Why it failed.
    pub cause: Cause,
    /// When the supervisor saw the failure.
    pub since: Timestamp,
}

/// Why a part failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Cause {
    /// It returned this error.
    Error(Error),
    /// It returned although nobody had asked it to stop.
    Ended,
    /// It panicked with this message.
    Panicked(String),
    /// It did not stop within this time, and was cut off.
    Overdue(Duration),
}

impl PartFailed {
    /// `None` without failures.
    pub(super) fn of(mut failures: Vec<Failure>) -> Option<Self> {
        if failures.is_empty() {
            return None;
        }
        let later = failures.split_off(1);
        failures.pop().map(|first| PartFailed { first, later })
    }

    /// The failure that came first: the one that stopped the other parts, if it came before the
    /// shutdown.
    pub fn first(&self) -> &Failure {
        &self.first
    }

    /// The failures that came while the other parts were being stopped, in their order.
    pub fn later(&self) -> &[Failure] {
        &self.later
    }

    /// The name of the part that failed first.
    pub fn part(&self) -> &str {
        &self.first.part
    }
}

impl Cause {
    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Cause::Error(error) => error.kind(),
            Cause::Ended | Cause::Panicked(_) => ErrorKind::Fatal,
            Cause::Overdue(_) => ErrorKind::Uncertain,
        }
    }
}

impl fmt::Display for PartFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        self.later.iter().try_for_each(|failure| write!(f, "; then {failure}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.part, self.cause)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Error(error) => write!(f, "{error}"),
            Cause::Ended => f.write_str("it ended although nobody had asked it to stop"),
            Cause::Panicked(message) => write!(f, "it panicked: {message}"),
            Cause::Overdue(within) => write!(f, "it did not stop within {within:?} and was cut off"),
        }
    }
}

impl std::error::Error for PartFailed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.first.cause {
            Cause::Error(error) => Some(error),
            _ => None,
        }
    }
}

impl From<PartFailed> for Error {
    fn from(failed: PartFailed) -> Self {
        Error::new(failed.first.cause.kind(), failed.to_string()).with_source(failed)
    }
}
