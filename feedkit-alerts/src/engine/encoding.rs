//! How states are written to bytes and read from them.

use feedkit_core::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Appends a value to `out`.
pub(super) fn put<T: Serialize + ?Sized>(value: &T, out: Vec<u8>) -> Result<Vec<u8>> {
    postcard::to_extend(value, out)
        .map_err(|e| Error::fatal(format!("a rule state cannot be serialized: {e}")).with_source(e))
}

/// Reads a value, and returns it with the bytes that follow it.
pub(super) fn take<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, &[u8])> {
    postcard::take_from_bytes(bytes).map_err(|e| corrupt(&format!("cannot be read: {e}")).with_source(e))
}

/// The error for a snapshot that is not as it was written.
pub(super) fn corrupt(fault: &str) -> Error {
    Error::corrupt(format!("the rules' snapshot {fault}"))
}
