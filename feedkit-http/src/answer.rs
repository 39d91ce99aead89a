//! JSON answers.

use bytes::Bytes;
use poem::Response;
use poem::http::StatusCode;
use serde::Serialize;

/// `value` as an answer.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    encoded(status, encode(value))
}

/// An answer whose body is JSON already.
pub(crate) fn encoded(status: StatusCode, json: Bytes) -> Response {
    Response::builder().status(status).content_type("application/json").body(json)
}

/// `value` as JSON.
pub(crate) fn encode(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value)
        .expect("answers have string keys only, and writing to memory never fails")
        .into()
}
