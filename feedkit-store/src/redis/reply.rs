//! Reading what scripts answer.

use redis::Value;

/// An array, its first member taken off as the answer's name.
pub(super) fn named(answer: Value) -> Option<(String, Vec<Value>)> {
    let Value::Array(mut members) = answer else { return None };
    if members.is_empty() {
        return None;
    }
    let rest = members.split_off(1);
    Some((text(&members.pop()?)?, rest))
}

/// A string; `None` for nil, and what is none.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.clone()),
        Value::Int(n) => Some(n.to_string()),
        _ => None,
    }
}

/// The string at a place of an array; `None` for nil, and beyond its end.
pub(super) fn text_at(values: &[Value], place: usize) -> Option<String> {
    values.get(place).and_then(text)
}

/// The array at a place of an array.
pub(super) fn array_at(values: &mut [Value], place: usize) -> Option<Vec<Value>> {
    match values.get_mut(place).map(|value| std::mem::replace(value, Value::Nil)) {
        Some(Value::Array(members)) => Some(members),
        _ => None,
    }
}

/// A number written as a string; `None` for nil, and what is none.
pub(super) fn number<T: std::str::FromStr>(value: &Value) -> Option<T> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
        other => text(other)?.parse().ok(),
    }
}
