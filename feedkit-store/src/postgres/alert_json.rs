//! Values of the alerts in the form in which they are stored.

use feedkit_core::{Error, Result};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::failure::Sql;

/// Writes a value down as JSON.
pub(super) fn json<T: serde::Serialize>(value: &T) -> Result<Value> {
    let written = serde_json::to_value(value);
    written.map_err(|e| Error::data(format!("an alert cannot be stored: {e}")).with_source(e))
}

/// The word for a value without fields.
pub(super) fn word<T: serde::Serialize>(value: &T) -> Result<String> {
    Ok(json(value)?.as_str().unwrap_or_default().to_owned())
}

/// Reads a value that was stored as JSON.
pub(super) fn stored<T: DeserializeOwned>(value: Value) -> Sql<T> {
    serde_json::from_value(value)
        .map_err(|e| Error::corrupt(format!("the stored alerts cannot be read: {e}")).with_source(e).into())
}
