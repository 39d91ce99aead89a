//! The error type of all contracts. Its kind says what the caller can do.

use std::error::Error as StdError;
use std::fmt;

/// The error of a sink, a source, a history, a follower or a store.
///
/// [`kind`](Error::kind) says what to do about it. The text says what failed, where, and with which
/// value. The [source](StdError::source) is the error of the backend, if there is one.
///
/// ```
/// use feedkit_core::{Error, ErrorKind};
///
/// let error = Error::retriable("the broker is unavailable").context("partition 3");
/// assert_eq!(error.kind(), ErrorKind::Retriable);
/// assert_eq!(error.to_string(), "partition 3: the broker is unavailable");
/// ```
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What a caller can do about an [`Error`].
///
/// Four questions group the kinds by what the caller does next:
///
/// | kind | [`may_pass`] | [`must_reread`] | [`must_reclaim`] | [`must_set_aside`] |
/// |---|---|---|---|---|
/// | [`Retriable`](Self::Retriable) | yes | | | |
/// | [`Uncertain`](Self::Uncertain) | yes | yes | | |
/// | [`Fenced`](Self::Fenced) | | yes | yes | |
/// | [`Gap`](Self::Gap) | | yes | yes | |
/// | [`Data`](Self::Data) | | | | yes |
/// | [`Invalid`](Self::Invalid) | | | | yes |
/// | [`Corrupt`](Self::Corrupt) | | | | |
/// | [`Fatal`](Self::Fatal) | | | | |
///
/// An error of the last two kinds, and of every kind that a later version adds, ends the work:
/// report it.
///
/// [`may_pass`]: Self::may_pass
/// [`must_reread`]: Self::must_reread
/// [`must_reclaim`]: Self::must_reclaim
/// [`must_set_aside`]: Self::must_set_aside
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Nothing has changed, and the same call may succeed later. Try again with backoff.
    Retriable,
    /// The call may or may not have taken effect. Read the state back before doing anything else.
    Uncertain,
    /// Another process owns this now, by a newer epoch or another lease. Nothing has changed. Stop.
    Fenced,
    /// The request does not follow on what is stored. Nothing has changed. Read the position again.
    Gap,
    /// A value in the batch cannot be stored. Nothing has changed. Find the value and set it aside.
    Data,
    /// The request itself is wrong, such as a malformed name or a value that is too large. It will
    /// never succeed.
    Invalid,
    /// Stored data cannot be read, or has another version. A person has to look at it.
    Corrupt,
    /// The caller cannot do anything about it: the part is closed, misconfigured, or lacks a
    /// permission.
    Fatal,
}

impl ErrorKind {
    /// The fault may pass by itself. A call that is harmless when it takes effect twice may be
    /// repeated as it is.
    ///
    /// Any other call may be repeated only if the kind is [`Retriable`](Self::Retriable).
    pub fn may_pass(self) -> bool {
        matches!(self, ErrorKind::Retriable | ErrorKind::Uncertain)
    }

    /// The caller no longer knows what is stored. It must read the position or the state again
    /// before it writes.
    pub fn must_reread(self) -> bool {
        matches!(self, ErrorKind::Uncertain | ErrorKind::Fenced | ErrorKind::Gap)
    }

    /// The caller has lost its place. It must stop, or claim the partition or the lease again.
    pub fn must_reclaim(self) -> bool {
        matches!(self, ErrorKind::Fenced | ErrorKind::Gap)
    }

    /// The input itself is at fault, and repeating the call never helps. The caller must set the
    /// value aside, or reject it.
    pub fn must_set_aside(self) -> bool {
        matches!(self, ErrorKind::Data | ErrorKind::Invalid)
    }
}

impl Error {
    /// Creates an error of this kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), source: None }
    }

    /// See [`ErrorKind::Retriable`].
    pub fn retriable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Retriable, message)
    }

    /// See [`ErrorKind::Uncertain`].
    pub fn uncertain(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Uncertain, message)
    }

    /// See [`ErrorKind::Fenced`].
    pub fn fenced(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Fenced, message)
    }

    /// See [`ErrorKind::Gap`].
    pub fn gap(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Gap, message)
    }

    /// See [`ErrorKind::Data`].
    pub fn data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Data, message)
    }

    /// See [`ErrorKind::Invalid`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// See [`ErrorKind::Corrupt`].
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    /// See [`ErrorKind::Fatal`].
    pub fn fatal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Fatal, message)
    }

    /// Adds the error that caused this one.
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds where it happened: puts `place` and a colon before the message.
    pub fn context(mut self, place: impl fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// The kind, which says what a caller can do.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later without anybody's help.
    pub fn is_retriable(&self) -> bool {
        self.kind == ErrorKind::Retriable
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.message)?;
        match &self.source {
            Some(source) => write!(f, " ({source})"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|e| e as &(dyn StdError + 'static))
    }
}

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use super::ErrorKind::{self, *};

    #[test]
    fn the_groups_are_those_of_the_table() {
        let groups = |kind: ErrorKind| {
            [kind.may_pass(), kind.must_reread(), kind.must_reclaim(), kind.must_set_aside()].map(u8::from)
        };
        let table = [
            (Retriable, [1, 0, 0, 0]),
            (Uncertain, [1, 1, 0, 0]),
            (Fenced, [0, 1, 1, 0]),
            (Gap, [0, 1, 1, 0]),
            (Data, [0, 0, 0, 1]),
            (Invalid, [0, 0, 0, 1]),
            (Corrupt, [0; 4]),
            (Fatal, [0; 4]),
        ];
        for (kind, expected) in table {
            assert_eq!(groups(kind), expected, "{kind:?}");
        }
    }
}
