//! The data that notifications carry.

use serde_json::{Map, Value};

/// A JSON object with these fields.
pub(super) fn object<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A number with three decimals, for people to read.
pub(super) fn rounded(value: f64) -> Value {
    Value::from((value * 1000.0).round() / 1000.0)
}
