//! Values of the alerts in the form in which they are stored.

use feedkit_core::{Error, Result};
use serde_json::{from_str, to_string};

use super::failure::Sql;

/// Writes a value down as JSON.
pub(super) fn json<T: serde::Serialize>(value: &T) -> Result<String> {
    to_string(value).map_err(|e| Error::data(format!("an alert cannot be stored: {e}")).with_source(e))
}

/// Reads a value that was stored as JSON.
pub(super) fn stored<T: serde::de::DeserializeOwned>(text: &str) -> Sql<T> {
    from_str(text)
        .map_err(|e| Error::corrupt(format!("the stored alerts cannot be read: {e}")).with_source(e).into())
}

/// A limit as SQLite's signed integer.
pub(super) fn limited(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
