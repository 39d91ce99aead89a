//! Decoding a body into complete, validated events.

use poem::Request;
use poem::http::HeaderName;
use serde::Deserializer;
use serde::de::{SeqAccess, Visitor};
use serde_json::value::RawValue;

use feedkit_core::codec::{Defaults, InvalidEvent};
use feedkit_core::sink::NewRecord;
use feedkit_core::wire::{self, UnknownFields};
use feedkit_core::{Event, EventId, EventPolicy, JsonCodec, Timestamp};

use crate::Problem;

/// Decodes `json` into an event for the log. The event has an id and a time, and its receive time
/// is `now`, whatever the client sends.
///
/// `key` is the id from the header `Idempotency-Key`.
pub(crate) fn event(
    policy: &EventPolicy,
    json: &[u8],
    now: Timestamp,
    key: Option<EventId>,
) -> Result<Event, InvalidEvent> {
    let wire = wire::parse(json, UnknownFields::Refuse)?;
    let id = match (&wire.id, key) {
        (_, Some(key)) => key,
        (None, None) => EventId::new(now),
        // This value is not used. A constant saves random bits.
        (Some(_), None) => EventId::derived(now, 0),
    };
    let mut event = policy.admit(wire, &Defaults { reference: now, id, time: now })?;
    if let Some(key) = key.filter(|key| *key != event.id) {
        return Err(InvalidEvent::of(
            "id",
            format!("is {}, but the header `Idempotency-Key` is {key}", event.id),
        ));
    }
    event.received_at = Some(now);
    Ok(event)
}

/// The record of an event for the log.
pub(crate) fn record(event: &Event) -> NewRecord {
    NewRecord::keyed(event.user.as_str(), JsonCodec::encode(event))
}

static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The event id in `Idempotency-Key`, with or without quotes.
pub(crate) fn idempotency_key(request: &Request) -> Result<Option<EventId>, Problem> {
    let Some(value) = request.headers().get(&IDEMPOTENCY_KEY) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    let text = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text);
    text.parse().map(Some).map_err(|error| {
        Problem::invalid(format!("`Idempotency-Key` {error}: it becomes the event's id"))
            .field("Idempotency-Key")
    })
}

/// Refuses `Idempotency-Key` on a batch, where it could not become the id of an event.
pub(crate) fn no_idempotency_key(request: &Request) -> Result<(), Problem> {
    if request.headers().contains_key(&IDEMPOTENCY_KEY) {
        let detail = "`Idempotency-Key` is for single events; give each event of a batch its own `id`";
        return Err(Problem::invalid(detail).field("Idempotency-Key"));
    }
    Ok(())
}

/// The items of a JSON array, without decoding them.
///
/// # Errors
///
/// 400 when `json` is not an array; 413 when it has more than `max` items.
pub(crate) fn array(json: &[u8], max: usize) -> Result<Vec<&[u8]>, Problem> {
    let mut too_many = false;
    let mut reader = serde_json::Deserializer::from_slice(json);
    let items = reader
        .deserialize_seq(Items { max, too_many: &mut too_many })
        .and_then(|items| reader.end().map(|()| items));
    match items {
        Ok(items) => Ok(items),
        Err(_) if too_many => Err(over(max)),
        Err(error) => Err(Problem::malformed(format!("the body is not a JSON array: {error}"))),
    }
}

/// The lines of NDJSON that are not blank.
///
/// # Errors
///
/// 413 when there are more than `max` lines.
pub(crate) fn lines(text: &[u8], max: usize) -> Result<Vec<&[u8]>, Problem> {
    let mut items = Vec::new();
    for line in text.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()) {
        if items.len() == max {
            return Err(over(max));
        }
        items.push(line);
    }
    Ok(items)
}

fn over(max: usize) -> Problem {
    Problem::too_large(format!("a batch has at most {max} events"))
}

/// Collects array items, and stops at the maximum.
struct Items<'a> {
    max: usize,
    too_many: &'a mut bool,
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = Vec<&'de [u8]>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<&RawValue>()? {
            if items.len() == self.max {
                *self.too_many = true;
                return Err(serde::de::Error::custom("too many"));
            }
            items.push(item.get().as_bytes());
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_split_and_bounded() {
        let two = [&br#"{"a":[1,{"b":"]"}]}"#[..], b"7"];
        assert_eq!(array(br#" [ {"a":[1,{"b":"]"}]} , 7 ] "#, 2).unwrap(), two);
        assert_eq!(array(b"[]", 2).unwrap(), Vec::<&[u8]>::new());
        assert_eq!(array(b"[1,2,3]", 2).unwrap_err().kind, "too-large");
        for bad in [&b""[..], b"{}", b"[1", b"[1,]", b"[1] 2", b"[\"\xff\"]", b"null"] {
            assert_eq!(array(bad, 2).unwrap_err().kind, "malformed", "{bad:?}");
        }
        assert_eq!(lines(b"\n{}\r\n\n  7\n", 2).unwrap(), [&b"{}"[..], b"7"]);
        assert_eq!(lines(b"", 2).unwrap().len(), 0);
        assert_eq!(lines(b"1\n2\n3", 2).unwrap_err().kind, "too-large");
        // Depth costs nothing.
        let deep = format!("[{}{}]", "[".repeat(500_000), "]".repeat(500_000));
        assert_eq!(array(deep.as_bytes(), 2).map(|items| items.len()), Ok(1));
    }

    #[test]
    fn what_the_gateway_knows_better_is_not_the_clients() {
        let now = Timestamp::from_millis(1_795_500_000_000);
        let of = |json: &str, key| event(&EventPolicy::default(), json.as_bytes(), now, key);
        let json = r#"{"userId":"u1","postId":"p9","type":"like","receivedAt":"2001-01-01T00:00:00Z"}"#;
        let event = of(json, None).unwrap();
        assert_eq!((event.received_at, event.time, event.id.time()), (Some(now), now, now));
        assert_ne!(of(json, None).unwrap().id, event.id);
        let key = EventId::derived(now, 7);
        assert_eq!(of(json, Some(key)).unwrap().id, key);
        let named = format!(r#"{{"userId":"u1","postId":"p9","type":"like","id":"{key}"}}"#);
        assert_eq!(of(&named, None).unwrap().id, key);
        assert_eq!(of(&named, Some(key)).unwrap().id, key);
        let other = of(&named, Some(EventId::derived(now, 8))).unwrap_err();
        assert_eq!(other.field.as_deref(), Some("id"));
    }
}
