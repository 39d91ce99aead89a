//! Parses the JSON form of an event. The fields are not checked yet.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::codec::InvalidEvent;

/// The fields of an event as they occur in the JSON. They borrow from it if they contain no escape.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WireEvent<'a> {
    /// `userId`
    pub user_id: Option<Cow<'a, str>>,
    /// `postId`
    pub post_id: Option<Cow<'a, str>>,
    /// `type`
    pub kind: Option<Cow<'a, str>>,
    /// `id`
    pub id: Option<Cow<'a, str>>,
    /// `timestamp`
    pub timestamp: Option<Cow<'a, str>>,
    /// `receivedAt`
    pub received_at: Option<Cow<'a, str>>,
    /// `text`
    pub text: Option<Cow<'a, str>>,
    /// `attributes`
    pub attributes: BTreeMap<String, String>,
}

/// What to do with a field that is not a field of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownFields {
    /// Reject the event and name the field. In a request such a field is a typing error.
    Refuse,
    /// Ignore the field. In the log a newer gateway may have added it.
    Ignore,
}

/// Parses one JSON object. A field whose value is `null` counts as absent. A field that occurs
/// twice is an error.
pub fn parse(json: &[u8], unknown: UnknownFields) -> Result<WireEvent<'_>, InvalidEvent> {
    let mut fault = None;
    let mut reader = serde_json::Deserializer::from_slice(json);
    let result = reader
        .deserialize_map(EventVisitor { unknown, fault: &mut fault })
        .and_then(|event| reader.end().map(|()| event));
    result.map_err(|e| fault.unwrap_or_else(|| InvalidEvent::malformed(format!("is not a JSON object: {e}"))))
}

/// Stores in `fault` the name of the field at fault, which a plain JSON error cannot carry.
struct EventVisitor<'f> {
    unknown: UnknownFields,
    fault: &'f mut Option<InvalidEvent>,
}

impl<'de> Visitor<'de> for EventVisitor<'_> {
    type Value = WireEvent<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WireEvent<'de>, A::Error> {
        let mut event = WireEvent::default();
        let mut attributes_seen = false;
        let EventVisitor { unknown, fault } = self;
        while let Some(name) = map.next_key_seed(TextSeed)? {
            let slot = match name.as_ref() {
                "userId" => &mut event.user_id,
                "postId" => &mut event.post_id,
                "type" => &mut event.kind,
                "id" => &mut event.id,
                "timestamp" => &mut event.timestamp,
                "receivedAt" => &mut event.received_at,
                "text" => &mut event.text,
                "attributes" => {
                    if std::mem::replace(&mut attributes_seen, true) {
                        return Err(failed(fault, &name, "occurs twice"));
                    }
                    match map.next_value::<Option<BTreeMap<String, String>>>() {
                        Ok(value) => event.attributes = value.unwrap_or_default(),
                        Err(e) => return Err(wrong_type(fault, &name, "is not an object of strings", e)),
                    }
                    continue;
                }
                _ if unknown == UnknownFields::Refuse => {
                    return Err(failed(fault, &name, "is not a field of an event"));
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            if slot.is_some() {
                return Err(failed(fault, &name, "occurs twice"));
            }
            match map.next_value_seed(OptionalTextSeed) {
                Ok(value) => *slot = value,
                Err(e) => return Err(wrong_type(fault, &name, "is not a string", e)),
            }
        }
        Ok(event)
    }
}

fn failed<E: de::Error>(fault: &mut Option<InvalidEvent>, field: &str, detail: &str) -> E {
    let shown: String = field.chars().take(64).collect();
    *fault = Some(InvalidEvent::of(shown, detail));
    E::custom(detail)
}

/// A value of a wrong type is a fault of the field. Broken JSON inside the value is a fault of the
/// whole record.
fn wrong_type<E: de::Error>(fault: &mut Option<InvalidEvent>, field: &str, detail: &str, error: E) -> E {
    if error.to_string().starts_with("invalid type") {
        return failed(fault, field, detail);
    }
    error
}

/// Deserializes a string, and borrows it if possible.
struct TextSeed;

impl<'de> DeserializeSeed<'de> for TextSeed {
    type Value = Cow<'de, str>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for TextSeed {
    type Value = Cow<'de, str>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }
    fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(v))
    }
    fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(v.to_owned()))
    }
}

/// Deserializes a string or null.
struct OptionalTextSeed;

impl<'de> DeserializeSeed<'de> for OptionalTextSeed {
    type Value = Option<Cow<'de, str>>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for OptionalTextSeed {
    type Value = Option<Cow<'de, str>>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }
    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        TextSeed.deserialize(deserializer).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borrows_what_has_no_escapes() {
        let event = parse(br#"{"userId":"u1","text":"a\nb","id":null}"#, UnknownFields::Refuse).unwrap();
        assert!(matches!(event.user_id, Some(Cow::Borrowed("u1"))));
        assert!(matches!(event.text, Some(Cow::Owned(ref t)) if t == "a\nb"));
        assert_eq!(event.id, None);
    }

    #[test]
    fn refuses_unknown_and_repeated_fields_by_name() {
        let fault = |json: &str| parse(json.as_bytes(), UnknownFields::Refuse).unwrap_err().field;
        assert_eq!(fault(r#"{"userID":"u1"}"#).as_deref(), Some("userID"));
        assert_eq!(fault(r#"{"userId":"u1","userId":"u2"}"#).as_deref(), Some("userId"));
        assert_eq!(fault(r#"{"attributes":{"a":1}}"#).as_deref(), Some("attributes"));
        assert_eq!(fault(r#"{"attributes":{},"attributes":{}}"#).as_deref(), Some("attributes"));
        assert_eq!(fault(r#"{"text":"\ud800"}"#), None);
    }
}
