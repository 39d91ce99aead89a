//! From bytes to events and back: the wire form, checked.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::event::{MAX_ATTRIBUTE_NAME, MAX_ATTRIBUTE_VALUE, MAX_ATTRIBUTES, MAX_TEXT_CHARS};
use crate::source::Record;
use crate::wire::{self, UnknownFields, WireEvent};
use crate::{Event, EventId, EventKind, Partition, PostId, Timestamp, UserId};

/// Reads a log's records.
///
/// # Contract
///
/// - The same record at the same place always gives the same event, or the same refusal: an event that came
///   without an id gets one derived from its place.
/// - Never panics, whatever the bytes are.
pub trait Codec: Send + Sync + 'static {
    /// The event in `record`, or why there is none.
    fn decode(&self, place: &Place, record: &Record) -> Result<Event, InvalidEvent>;
}

/// Where records are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The log's incarnation: another one when the log was made anew.
    pub log: u128,
    /// The partition.
    pub partition: Partition,
}

/// Why bytes are no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{detail}", self.field.as_ref().map(|f| format!("`{f}` ")).unwrap_or_default())]
pub struct InvalidEvent {
    /// The sort of fault, for programs.
    pub reason: InvalidReason,
    /// The field at fault, when it is one field's.
    pub field: Option<String>,
    /// What is wrong, for people; it follows on the field's name.
    pub detail: String,
}

/// The sort of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InvalidReason {
    /// Not JSON, not UTF-8, or not an object.
    Malformed,
    /// A field is missing, unknown, or has a value that it cannot have.
    Invalid,
    /// The event's id was made before the retention horizon.
    TooOld,
    /// The event's time, or its id's, lies further ahead than the allowed skew.
    TooNew,
    /// The store could not keep it.
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
    /// A fault of the named field.
    pub fn of(field: impl Into<String>, detail: impl Into<String>) -> Self {
        InvalidEvent { reason: InvalidReason::Invalid, field: Some(field.into()), detail: detail.into() }
    }

    /// A fault of the whole.
    pub fn malformed(detail: impl Into<String>) -> Self {
        InvalidEvent { reason: InvalidReason::Malformed, field: None, detail: detail.into() }
    }

    fn because(mut self, reason: InvalidReason) -> Self {
        self.reason = reason;
        self
    }
}

/// What is allowed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPolicy {
    /// Kinds besides `like`, `unlike`, `post` and `comment`.
    pub extra_kinds: BTreeSet<String>,
    /// How far ahead of the reference time an event may be.
    pub max_skew: Duration,
    /// How far behind the reference time an event's **id** may have been made; older ones could be repeats of
    /// events that are no longer kept.
    pub horizon: Duration,
}

impl Default for EventPolicy {
    /// The four standard kinds, five minutes ahead, ten years back.
    fn default() -> Self {
        EventPolicy {
            extra_kinds: BTreeSet::new(),
            max_skew: Duration::from_secs(300),
            horizon: Duration::from_secs(3653 * 86_400),
        }
    }
}

/// What an event gets that the client left out, and what its times are held against.
#[derive(Debug, Clone, Copy)]
pub struct Defaults {
    /// The clock of who takes it in: the gateway's now, or the record's time in the log.
    pub reference: Timestamp,
    /// The id, when there is none.
    pub id: EventId,
    /// The time, when there is none.
    pub time: Timestamp,
}

impl EventPolicy {
    /// The event that `wire` describes, completed with `defaults` and checked.
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
        let detail = format!("is {shown:?}, allowed are like, unlike, post, comment{extra}");
        Err(InvalidEvent::of("type", detail))
    }

    fn check_times(&self, id: EventId, time: Timestamp, reference: Timestamp) -> Result<(), InvalidEvent> {
        let latest = reference.saturating_add(self.max_skew);
        if time > latest {
            let detail = format!("is {time}, more than {:?} ahead of {reference}", self.max_skew);
            return Err(InvalidEvent::of("timestamp", detail).because(InvalidReason::TooNew));
        }
        if time < Timestamp::EPOCH {
            return Err(InvalidEvent::of(
                "timestamp",
                format!("is {time}, the earliest is 1970-01-01T00:00:00Z"),
            ));
        }
        if id.time() > latest {
            let detail =
                format!("was made {}, more than {:?} ahead of {reference}", id.time(), self.max_skew);
            return Err(InvalidEvent::of("id", detail).because(InvalidReason::TooNew));
        }
        let oldest = reference.saturating_sub(self.horizon);
        if id.time() < oldest {
            let detail = format!("was made {}, events are kept from {oldest} on", id.time());
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
        return Err(InvalidEvent::of("text", format!("is for posts and comments, this is a {kind}")));
    }
    // Counting characters is only worth it when there are more bytes than characters allowed.
    if text.len() > MAX_TEXT_CHARS && text.chars().count() > MAX_TEXT_CHARS {
        return Err(InvalidEvent::of("text", format!("is longer than {MAX_TEXT_CHARS} characters")));
    }
    if text.contains('\0') {
        return Err(InvalidEvent::of("text", "has a NUL character"));
    }
    Ok(())
}

fn check_attributes(attributes: &BTreeMap<String, String>) -> Result<(), InvalidEvent> {
    if attributes.len() > MAX_ATTRIBUTES {
        return Err(InvalidEvent::of("attributes", format!("has more than {MAX_ATTRIBUTES} entries")));
    }
    for (name, value) in attributes {
        if name.is_empty() || name.len() > MAX_ATTRIBUTE_NAME || name.contains('\0') {
            let detail = format!("has a name that is empty, over {MAX_ATTRIBUTE_NAME} bytes, or has a NUL");
            return Err(InvalidEvent::of("attributes", detail));
        }
        if value.len() > MAX_ATTRIBUTE_VALUE || value.contains('\0') {
            let detail = format!("has a value that is over {MAX_ATTRIBUTE_VALUE} bytes, or has a NUL");
            return Err(InvalidEvent::of(format!("attributes.{name}"), detail));
        }
    }
    Ok(())
}

/// The wire form of the HTTP body and the log's values: one JSON object.
///
/// Unknown fields are ignored here, since a newer gateway may add some.
#[derive(Debug, Clone, Default)]
pub struct JsonCodec {
    policy: EventPolicy,
}

impl JsonCodec {
    /// A codec that lets in what `policy` allows.
    pub fn new(policy: EventPolicy) -> Self {
        JsonCodec { policy }
    }

    /// The event as bytes of the log.
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
                // Not used: saves the hash.
                Some(_) => EventId::derived(record.time, 0),
                None => derived_id(place, record),
            },
            time: record.time,
        };
        self.policy.admit(wire, &defaults)
    }
}

/// An id that follows from where a record lies, for one that came without.
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
