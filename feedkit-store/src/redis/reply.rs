//! Reading the replies of scripts.

use redis::Value;

/// Splits an array into its first member, which is the reply's name, and the rest.
pub(super) fn named(answer: Value) -> Option<(String, Vec<Value>)> {
    let Value::Array(mut members) = answer else { return None };
    if members.is_empty() {
        return None;
    }
    let rest = members.split_off(1);
    Some((text(&members.pop()?)?, rest))
}

/// Reads a string; `None` for nil and for anything else.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.clone()),
        Value::Int(n) => Some(n.to_string()),
        _ => None,
    }
}

/// Reads the string at a place of an array; `None` for nil and beyond the end.
pub(super) fn text_at(values: &[Value], place: usize) -> Option<String> {
    values.get(place).and_then(text)
}

/// Takes the array at a place of an array.
pub(super) fn array_at(values: &mut [Value], place: usize) -> Option<Vec<Value>> {
    match values.get_mut(place).map(|value| std::mem::replace(value, Value::Nil)) {
        Some(Value::Array(members)) => Some(members),
        _ => None,
    }
}

/// Reads a number that is written as a string; `None` for nil and for anything else.
pub(super) fn number<T: std::str::FromStr>(value: &Value) -> Option<T> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
        other => text(other)?.parse().ok(),
    }
}
