//! Identifiers of users, posts and events.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smol_str::SmolStr;
use uuid::Uuid;

use crate::Timestamp;

/// Longest identifier of a user or a post, in characters (all of them are ASCII).
pub const MAX_ID_LEN: usize = 128;

/// Why a text is no identifier of a user or a post.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidId {
    /// The text is empty.
    #[error("is empty")]
    Empty,
    /// The text is longer than [`MAX_ID_LEN`].
    #[error("has {0} characters, the most is {MAX_ID_LEN}")]
    TooLong(usize),
    /// A character outside `A-Z a-z 0-9 . _ ~ : @ -`.
    #[error("has the character {0:?}, allowed are A-Z a-z 0-9 . _ ~ : @ -")]
    Character(char),
}

fn check_id(text: &str) -> Result<(), InvalidId> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'~' | b':' | b'@' | b'-');
    if text.is_empty() {
        return Err(InvalidId::Empty);
    }
    if text.len() > MAX_ID_LEN {
        return Err(InvalidId::TooLong(text.chars().count().max(MAX_ID_LEN + 1)));
    }
    match text.bytes().position(|b| !allowed(b)) {
        None => Ok(()),
        // All bytes before it are ASCII, so this is a character boundary.
        Some(at) => Err(InvalidId::Character(text[at..].chars().next().unwrap_or('\u{fffd}'))),
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// 1 to 128 characters of `A-Z a-z 0-9 . _ ~ : @ -`; cheap to clone; ordered by bytes.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(SmolStr);

        impl $name {
            /// Checks the text and keeps it.
            pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidId> {
                check_id(text.as_ref())?;
                Ok($name(SmolStr::new(text)))
            }

            /// The identifier's text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(s: &str) -> Result<Self, InvalidId> {
                Self::new(s)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::new(text).map_err(serde::de::Error::custom)
            }
        }
    };
}

text_id! {
    /// Who acted.
    UserId
}

text_id! {
    /// What was acted on.
    PostId
}

/// A client's name for one action: a UUIDv7, which carries its own time.
///
/// Together with the user it is the event's identity: a repeat of both has no effect.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(Uuid);

/// Why a text is no event id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not a UUIDv7 (such as 01935d8e-7a00-7000-8000-000000000000)")]
pub struct InvalidEventId;

impl EventId {
    /// A new id for an action that happens at `now`; random but for its time.
    pub fn new(now: Timestamp) -> Self {
        let millis = millis_of(now);
        let seconds = millis / 1000;
        let nanos = u32::try_from(millis % 1000).unwrap_or(0) * 1_000_000;
        EventId(Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos)))
    }

    /// A UUIDv7-shaped id for an action that came without one: `time`, and bits that follow from `seed` alone,
    /// so that reading the same record again gives the same id.
    pub fn derived(time: Timestamp, seed: u128) -> Self {
        let mut bytes = seed.to_be_bytes();
        bytes[..6].copy_from_slice(&millis_of(time).to_be_bytes()[2..]);
        bytes[6] = 0x70 | (bytes[6] & 0x0f);
        bytes[8] = 0x80 | (bytes[8] & 0x3f);
        EventId(Uuid::from_bytes(bytes))
    }

    /// The id in these bytes, if they are a UUIDv7.
    pub fn from_bytes(bytes: [u8; 16]) -> Result<Self, InvalidEventId> {
        Self::checked(Uuid::from_bytes(bytes))
    }

    /// The id's 16 bytes; they sort by time.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// When the id was made, as the id itself says.
    pub fn time(&self) -> Timestamp {
        let mut millis = [0; 8];
        millis[2..].copy_from_slice(&self.as_bytes()[..6]);
        Timestamp::from_millis(i64::from_be_bytes(millis))
    }

    fn checked(uuid: Uuid) -> Result<Self, InvalidEventId> {
        let rfc = uuid.get_variant() == uuid::Variant::RFC4122;
        if rfc && uuid.get_version_num() == 7 { Ok(EventId(uuid)) } else { Err(InvalidEventId) }
    }
}

/// Milliseconds that fit the 48 bits of a UUIDv7.
fn millis_of(time: Timestamp) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(0).min((1 << 48) - 1)
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for EventId {
    type Err = InvalidEventId;
    fn from_str(s: &str) -> Result<Self, InvalidEventId> {
        Uuid::try_parse(s).map_err(|_| InvalidEventId).and_then(Self::checked)
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.hyphenated().encode_lower(&mut Uuid::encode_buffer()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_checked() {
        assert!(UserId::new("a.B_9~:@-").is_ok());
        assert!(UserId::new("x".repeat(128)).is_ok());
        assert_eq!(UserId::new(""), Err(InvalidId::Empty));
        assert_eq!(UserId::new("x".repeat(129)), Err(InvalidId::TooLong(129)));
        assert_eq!(PostId::new("a/b"), Err(InvalidId::Character('/')));
        assert_eq!(PostId::new("aé"), Err(InvalidId::Character('é')));
        assert_eq!(PostId::new("a\0"), Err(InvalidId::Character('\0')));
    }

    #[test]
    fn event_ids_are_version_7_and_carry_their_time() {
        let time = Timestamp::from_millis(1_700_000_000_123);
        for id in [EventId::new(time), EventId::derived(time, 0), EventId::derived(time, u128::MAX)] {
            assert_eq!(id.time(), time);
            assert_eq!(id.to_string().parse(), Ok(id));
            assert_eq!(EventId::from_bytes(*id.as_bytes()), Ok(id));
        }
        assert_eq!("b6ec4f4c-0c9e-4b6c-9c5c-0d8b8f0f9b5e".parse::<EventId>(), Err(InvalidEventId));
        assert_eq!(EventId::derived(Timestamp::from_millis(-5), 7).time(), Timestamp::EPOCH);
    }
}
