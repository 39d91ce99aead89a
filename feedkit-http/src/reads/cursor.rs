//! Page cursors. They are opaque to clients: the base64url form of a place in a list.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::Problem;
use feedkit_core::queries::{Comment, CommentCursor};
use feedkit_core::{EventId, Timestamp, UserId};

/// The cursor after `last`.
pub(super) fn of_comment(last: &Comment) -> String {
    let mut bytes = Vec::with_capacity(24 + last.user_id.as_str().len());
    bytes.extend_from_slice(&last.timestamp.as_millis().to_be_bytes());
    bytes.extend_from_slice(last.id.as_bytes());
    bytes.extend_from_slice(last.user_id.as_str().as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The place among comments that `text` names.
pub(super) fn comment(text: &str) -> Result<CommentCursor, Problem> {
    read_comment(text).ok_or_else(not_one)
}

/// The cursor after the alert of this number.
pub(super) fn of_alert(number: u64) -> String {
    URL_SAFE_NO_PAD.encode(number.to_be_bytes())
}

/// The number of the alert that `text` names.
pub(super) fn alert(text: &str) -> Result<u64, Problem> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    // In every store, alert numbers fit into a signed integer.
    let number = bytes.map(u64::from_be_bytes).filter(|number| i64::try_from(*number).is_ok());
    number.ok_or_else(not_one)
}

fn read_comment(text: &str) -> Option<CommentCursor> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (millis, rest) = bytes.split_first_chunk::<8>()?;
    let (id, user) = rest.split_first_chunk::<16>()?;
    let time = Timestamp::from_millis(i64::from_be_bytes(*millis));
    // Only times that RFC 3339 can express reach a store.
    let range = Timestamp::from_millis(-62_167_219_200_000)..=Timestamp::MAX;
    Some(CommentCursor {
        time: Some(time).filter(|time| range.contains(time))?,
        id: EventId::from_bytes(*id).ok()?,
        user: UserId::new(std::str::from_utf8(user).ok()?).ok()?,
    })
}

fn not_one() -> Problem {
    Problem::invalid("`cursor` was not issued by this endpoint").field("cursor")
}
