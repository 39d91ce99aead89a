//! The codec of the wire form.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::contract::{Codec, Place};
use super::fault::InvalidEvent;
use super::policy::{Defaults, EventPolicy};
use crate::source::Record;
use crate::wire::{self, UnknownFields};
use crate::{Event, EventId};

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
    use std::time::Duration;

    use super::*;
    use crate::codec::InvalidReason;
    use crate::{EventKind, Partition, Timestamp};

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
