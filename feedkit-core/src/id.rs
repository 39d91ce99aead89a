//! Identifiers of users, posts and events.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smol_str::SmolStr;
use uuid::Uuid;

use crate::Timestamp;

/// Maximum length of the identifier of a user or a post, in characters. All characters are ASCII.
pub const MAX_ID_LEN: usize = 128;

/// Why a text is not an identifier of a user or a post.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidId {
    /// The text is empty.
    #[error("is empty")]
    Empty,
    /// The text is longer than [`MAX_ID_LEN`].
    #[error("has {0} characters; the maximum is {MAX_ID_LEN}")]
    TooLong(usize),
    /// The text contains a character outside `A-Z a-z 0-9 . _ ~ : @ -`.
    #[error("contains {0:?}; the allowed characters are A-Z a-z 0-9 . _ ~ : @ -")]
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
        /// It has 1 to 128 characters of `A-Z a-z 0-9 . _ ~ : @ -`. It is cheap to clone and
        /// ordered by bytes.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(SmolStr);

        impl $name {
            /// Checks `text` and creates an identifier from it.
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
    /// The identifier of a user.
    UserId
}

text_id! {
    /// The identifier of a post.
    PostId
}

/// The identifier of one action, usually created by the client: a UUIDv7, which contains its own
/// time.
///
/// An event is identified by its id together with its user. A second event with the same id and
/// user has no effect.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(Uuid);

/// The text or the bytes are not a UUIDv7.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not a UUIDv7 (such as 01935d8e-7a00-7000-8000-000000000000)")]
pub struct InvalidEventId;

impl EventId {
    /// Creates an id for an action that happens at `now`. All bits besides the time are random.
    pub fn new(now: Timestamp) -> Self {
        let millis = millis_of(now);
        let seconds = millis / 1000;
        let nanos = u32::try_from(millis % 1000).unwrap_or(0) * 1_000_000;
        EventId(Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos)))
    }

    /// Creates an id in the form of a UUIDv7 from `time` and `seed` alone. Reading the same record
    /// again therefore gives the same id.
    pub fn derived(time: Timestamp, seed: u128) -> Self {
        let mut bytes = seed.to_be_bytes();
        bytes[..6].copy_from_slice(&millis_of(time).to_be_bytes()[2..]);
        bytes[6] = 0x70 | (bytes[6] & 0x0f);
        bytes[8] = 0x80 | (bytes[8] & 0x3f);
        EventId(Uuid::from_bytes(bytes))
    }

    /// Creates an id from its 16 bytes, which must be a UUIDv7.
    pub fn from_bytes(bytes: [u8; 16]) -> Result<Self, InvalidEventId> {
        Self::checked(Uuid::from_bytes(bytes))
    }

    /// The id's 16 bytes. Their order is the order of the ids' times.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// When the id was created, according to the id itself.
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

/// The milliseconds of `time`, limited to the 48 bits of a UUIDv7.
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
