//! Decodes records into events, checks them, and encodes events.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::event::{MAX_ATTRIBUTE_NAME, MAX_ATTRIBUTE_VALUE, MAX_ATTRIBUTES, MAX_TEXT_CHARS};
use crate::source::Record;
use crate::wire::{self, UnknownFields, WireEvent};
use crate::{Event, EventId, EventKind, Partition, PostId, Timestamp, UserId};

/// Decodes the records of a log.
///
/// # Contract
///
/// - The same record at the same place always gives the same event or the same error. An event
///   without an id gets an id derived from its place.
/// - `decode` never panics, whatever the bytes are.
pub trait Codec: Send + Sync + 'static {
    /// Decodes `record`, or says why it is not a valid event.
    fn decode(&self, place: &Place, record: &Record) -> Result<Event, InvalidEvent>;
}

/// Where a record was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The log's incarnation. A log that was created again has another one.
    pub log: u128,
    /// The partition.
    pub partition: Partition,
}

/// Why a record is not a valid event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{detail}", self.field.as_ref().map(|f| format!("`{f}` ")).unwrap_or_default())]
pub struct InvalidEvent {
    /// The kind of fault, for programs.
    pub reason: InvalidReason,
    /// The field at fault, if the fault concerns a single field.
    pub field: Option<String>,
    /// What is wrong, for people. The text follows the field's name.
    pub detail: String,
}

/// The kind of fault of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InvalidReason {
    /// The record is not JSON, not UTF-8, or not an object.
    Malformed,
    /// A field is missing, unknown, or has an invalid value.
    Invalid,
    /// The event's id was created before the retention horizon.
    TooOld,
    /// The time of the event or of its id is further ahead than the maximum skew.
    TooNew,
    /// The store cannot store the event.
    Unstorable,
}

impl InvalidReason {
    /// The reason's stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            InvalidReason::Malformed => "malformed",
            InvalidReason::Invalid => "invalid",
            InvalidReason::TooOld => "too_old",
            InvalidReason::TooNew => "too_new",
            InvalidReason::Unstorable => "unstorable",
        }
    }
}

impl InvalidEvent {
    /// Creates the fault of one field.
    pub fn of(field: impl Into<String>, detail: impl Into<String>) -> Self {
        InvalidEvent { reason: InvalidReason::Invalid, field: Some(field.into()), detail: detail.into() }
    }

    /// Creates a fault of the whole record.
    pub fn malformed(detail: impl Into<String>) -> Self {
        InvalidEvent { reason: InvalidReason::Malformed, field: None, detail: detail.into() }
    }

    fn because(mut self, reason: InvalidReason) -> Self {
        self.reason = reason;
        self
    }
}

/// Decides which events are accepted.
///
/// ```
/// use std::time::Duration;
/// use feedkit_core::EventPolicy;
///
/// let policy = EventPolicy::default()
///     .extra_kinds(["share".to_owned()].into())
///     .max_skew(Duration::from_secs(60));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventPolicy {
    /// Which kinds are accepted besides `like`, `unlike`, `post` and `comment`.
    pub extra_kinds: BTreeSet<String>,
    /// How far after the reference time the time of an event and the time of its id may be.
    pub max_skew: Duration,
    /// How old the **id** of an event may be, measured from the reference time. An older id could
    /// belong to a repeat of an event that is no longer stored.
    pub horizon: Duration,
}

impl Default for EventPolicy {
    /// Accepts the four standard kinds, up to five minutes ahead, with ids of the last ten years.
    fn default() -> Self {
        EventPolicy {
            extra_kinds: BTreeSet::new(),
            max_skew: Duration::from_secs(300),
            horizon: Duration::from_secs(3653 * 86_400),
        }
    }
}

/// Values for what an event does not contain, and the time that its own times are compared with.
#[derive(Debug, Clone, Copy)]
pub struct Defaults {
    /// The current time of the gateway, or the time of the record in the log.
    pub reference: Timestamp,
    /// The id of an event without one.
    pub id: EventId,
    /// The time of an event without one.
    pub time: Timestamp,
}

impl EventPolicy {
    /// Sets `extra_kinds`.
    #[must_use]
    pub fn extra_kinds(mut self, extra_kinds: BTreeSet<String>) -> Self {
        self.extra_kinds = extra_kinds;
        self
    }

    /// Sets `max_skew`.
    #[must_use]
    pub fn max_skew(mut self, max_skew: Duration) -> Self {
        self.max_skew = max_skew;
        self
    }

    /// Sets `horizon`.
    #[must_use]
    pub fn horizon(mut self, horizon: Duration) -> Self {
        self.horizon = horizon;
        self
    }

    /// Completes `wire` with `defaults`, checks the result, and returns the event.
    pub fn admit(&self, wire: WireEvent<'_>, defaults: &Defaults) -> Result<Event, InvalidEvent> {
        let user = required("userId", wire.user_id.as_deref(), |t| UserId::new(t))?;
        let post = required("postId", wire.post_id.as_deref(), |t| PostId::new(t))?;
        let kind = self.kind(wire.kind.as_deref())?;
        let id = optional("id", wire.id.as_deref(), str::parse)?.unwrap_or(defaults.id);
        let time = optional("timestamp", wire.timestamp.as_deref(), str::parse)
            .map_err(|e| InvalidEvent { detail: format!("is {}", e.detail), ..e })?
            .unwrap_or(defaults.time);
        let received_at = optional("receivedAt", wire.received_at.as_deref(), str::parse)
            .map_err(|e| InvalidEvent { detail: format!("is {}", e.detail), ..e })?;
        self.check_times(id, time, defaults.reference)?;
        let text = wire.text.map(std::borrow::Cow::into_owned);
        check_text(text.as_deref(), &kind)?;
        check_attributes(&wire.attributes)?;
        Ok(Event { id, user, post, kind, time, received_at, text, attributes: wire.attributes })
    }

    fn kind(&self, name: Option<&str>) -> Result<EventKind, InvalidEvent> {
        let name = name.ok_or_else(|| InvalidEvent::of("type", "is missing"))?;
        match EventKind::new(name) {
            Some(EventKind::Other(_)) if !self.extra_kinds.contains(name) => {}
            Some(kind) => return Ok(kind),
            None => {}
        }
        let extra: String = self.extra_kinds.iter().map(|k| format!(", {k}")).collect();
        let shown: String = name.chars().take(40).collect();
        let detail = format!("is {shown:?}; the allowed values are like, unlike, post, comment{extra}");
        Err(InvalidEvent::of("type", detail))
    }

    fn check_times(&self, id: EventId, time: Timestamp, reference: Timestamp) -> Result<(), InvalidEvent> {
        let latest = reference.saturating_add(self.max_skew);
        if time > latest {
            let detail = format!("is {time}, which is more than {:?} after {reference}", self.max_skew);
            return Err(InvalidEvent::of("timestamp", detail).because(InvalidReason::TooNew));
        }
        if time < Timestamp::EPOCH {
            return Err(InvalidEvent::of(
                "timestamp",
                format!("is {time}; the earliest allowed time is 1970-01-01T00:00:00Z"),
            ));
        }
        if id.time() > latest {
            let detail = format!(
                "was created at {}, which is more than {:?} after {reference}",
                id.time(),
                self.max_skew
            );
            return Err(InvalidEvent::of("id", detail).because(InvalidReason::TooNew));
        }
        let oldest = reference.saturating_sub(self.horizon);
        if id.time() < oldest {
            let detail = format!("was created at {}; the oldest accepted time is {oldest}", id.time());
            return Err(InvalidEvent::of("id", detail).because(InvalidReason::TooOld));
        }
        Ok(())
    }
}

fn required<T, E: std::fmt::Display>(
    field: &str,
    text: Option<&str>,
    read: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, InvalidEvent> {
    optional(field, text, read)?.ok_or_else(|| InvalidEvent::of(field, "is missing"))
}

fn optional<T, E: std::fmt::Display>(
    field: &str,
    text: Option<&str>,
    read: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, InvalidEvent> {
    text.map(read).transpose().map_err(|e| InvalidEvent::of(field, e.to_string()))
}

fn check_text(text: Option<&str>, kind: &EventKind) -> Result<(), InvalidEvent> {
    let Some(text) = text else { return Ok(()) };
    if !matches!(kind, EventKind::Post | EventKind::Comment) {
        return Err(InvalidEvent::of(
            "text",
            format!("is allowed in posts and comments only; this event is a {kind}"),
        ));
    }
    // Counts the characters only if there are more bytes than allowed characters.
    if text.len() > MAX_TEXT_CHARS && text.chars().count() > MAX_TEXT_CHARS {
        return Err(InvalidEvent::of("text", format!("is longer than {MAX_TEXT_CHARS} characters")));
    }
    if text.contains('\0') {
        return Err(InvalidEvent::of("text", "contains a NUL character"));
    }
    Ok(())
}

fn check_attributes(attributes: &BTreeMap<String, String>) -> Result<(), InvalidEvent> {
    if attributes.len() > MAX_ATTRIBUTES {
        return Err(InvalidEvent::of("attributes", format!("has more than {MAX_ATTRIBUTES} entries")));
    }
    for (name, value) in attributes {
        if name.is_empty() || name.len() > MAX_ATTRIBUTE_NAME || name.contains('\0') {
            let detail = format!(
                "has a name that is empty, longer than {MAX_ATTRIBUTE_NAME} bytes, or contains a NUL character"
            );
            return Err(InvalidEvent::of("attributes", detail));
        }
        if value.len() > MAX_ATTRIBUTE_VALUE || value.contains('\0') {
            let detail = format!("is longer than {MAX_ATTRIBUTE_VALUE} bytes or contains a NUL character");
            return Err(InvalidEvent::of(format!("attributes.{name}"), detail));
        }
    }
    Ok(())
}

/// The wire form of HTTP bodies and of the log's values: one JSON object.
///
/// This codec ignores unknown fields, because a newer gateway may add some.
#[derive(Debug, Clone, Default)]
pub struct JsonCodec {
    policy: EventPolicy,
}

impl JsonCodec {
    /// Creates a codec that accepts the events that `policy` allows.
    pub fn new(policy: EventPolicy) -> Self {
        JsonCodec { policy }
    }

    /// Encodes an event as the value of a record.
    pub fn encode(event: &Event) -> Bytes {
        let mut out = Vec::with_capacity(192 + event.text.as_ref().map_or(0, String::len));
        serde_json::to_writer(&mut out, event)
            .expect("an event has only string keys, and memory does not fail");
        out.into()
    }
}

impl Codec for JsonCodec {
    fn decode(&self, place: &Place, record: &Record) -> Result<Event, InvalidEvent> {
        let wire = wire::parse(&record.value, UnknownFields::Ignore)?;
        let defaults = Defaults {
            reference: record.time,
            id: match wire.id {
                // The event has an id. This one is not used, and needs no hash.
                Some(_) => EventId::derived(record.time, 0),
                None => derived_id(place, record),
            },
            time: record.time,
        };
        self.policy.admit(wire, &defaults)
    }
}

/// The id of a record without one. It depends on the place of the record only.
fn derived_id(place: &Place, record: &Record) -> EventId {
    let mut input = [0; 28];
    input[..16].copy_from_slice(&place.log.to_be_bytes());
    input[16..20].copy_from_slice(&place.partition.0.to_be_bytes());
    input[20..].copy_from_slice(&record.offset.to_be_bytes());
    EventId::derived(record.time, xxh3_128_with_seed(&input, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_500_000_000);
    const PLACE: Place = Place { log: 7, partition: Partition(2) };

    fn decode(json: &str) -> Result<Event, InvalidEvent> {
        let record =
            Record { offset: 9, time: NOW, key: None, value: Bytes::copy_from_slice(json.as_bytes()) };
        JsonCodec::default().decode(&PLACE, &record)
    }

    fn fault(json: &str) -> (Option<String>, InvalidReason) {
        let e = decode(json).expect_err(json);
        (e.field, e.reason)
    }

    #[test]
    fn fills_in_what_is_missing_always_alike() {
        let json = r#"{"userId":"u1","postId":"p9","type":"like","later":[1,{"x":null}]}"#;
        let event = decode(json).unwrap();
        assert_eq!((event.time, event.id.time(), &event.kind), (NOW, NOW, &EventKind::Like));
        assert_eq!(decode(json), Ok(event.clone()));
        let again = Record { offset: 10, time: NOW, key: None, value: Bytes::from(json) };
        assert_ne!(JsonCodec::default().decode(&PLACE, &again).unwrap().id, event.id);
    }

    #[test]
    fn encodes_what_it_decodes() {
        let json = r#"{"userId":"u1","postId":"p9","type":"comment","text":"a \"b\" \u00e9 \n","timestamp":"2026-01-02T03:04:05.678Z","attributes":{"via":"web"}}"#;
        let event = decode(json).unwrap();
        let value = JsonCodec::encode(&event);
        assert_eq!(decode(std::str::from_utf8(&value).unwrap()), Ok(event));
    }

    #[test]
    fn names_the_field_at_fault() {
        let f = |name: &str| (Some(name.to_owned()), InvalidReason::Invalid);
        assert_eq!(fault(r#"{"postId":"p","type":"like"}"#), f("userId"));
        assert_eq!(fault(r#"{"userId":"a b","postId":"p","type":"like"}"#), f("userId"));
        assert_eq!(fault(r#"{"userId":"a","postId":"","type":"like"}"#), f("postId"));
        assert_eq!(fault(r#"{"userId":"a","postId":"p"}"#), f("type"));
        assert_eq!(fault(r#"{"userId":"a","postId":"p","type":"share"}"#), f("type"));
        assert_eq!(fault(r#"{"userId":"a","postId":"p","type":"like","id":"x"}"#), f("id"));
        assert_eq!(fault(r#"{"userId":"a","postId":"p","type":"like","timestamp":"x"}"#), f("timestamp"));
        assert_eq!(fault(r#"{"userId":"a","postId":"p","type":"like","text":"x"}"#), f("text"));
        assert_eq!(fault(r#"{"userId":"a","postId":"p","type":"post","text":"x\u0000"}"#), f("text"));
        assert_eq!(fault(r#"{"userId":5,"postId":"p","type":"post"}"#), f("userId"));
        for bad in ["", "null", "[]", "{", "\"x\"", "{\"userId\":\"a\"", "{\"userId\":\"a\"}x"] {
            assert_eq!(fault(bad), (None, InvalidReason::Malformed), "{bad}");
        }
    }

    #[test]
    fn holds_times_against_the_records() {
        let at = |t: Timestamp| format!(r#"{{"userId":"a","postId":"p","type":"like","timestamp":"{t}"}}"#);
        let skew = Duration::from_secs(300);
        assert!(decode(&at(NOW.saturating_add(skew))).is_ok());
        let beyond = NOW.saturating_add(skew + Duration::from_millis(1));
        assert_eq!(fault(&at(beyond)), (Some("timestamp".into()), InvalidReason::TooNew));
        assert!(decode(&at(Timestamp::EPOCH)).is_ok());
        assert_eq!(fault(&at(Timestamp::from_millis(-1))).0.as_deref(), Some("timestamp"));

        let made = |t: Timestamp| {
            format!(r#"{{"userId":"a","postId":"p","type":"like","id":"{}"}}"#, EventId::derived(t, 1))
        };
        let horizon = EventPolicy::default().horizon;
        assert!(decode(&made(NOW.saturating_sub(horizon))).is_ok());
        let before = NOW.saturating_sub(horizon + Duration::from_millis(1));
        assert_eq!(fault(&made(before)), (Some("id".into()), InvalidReason::TooOld));
        assert_eq!(fault(&made(beyond)), (Some("id".into()), InvalidReason::TooNew));
    }
}
