//! What happened: one user's action on one post.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};
use smol_str::SmolStr;

use crate::{EventId, PostId, Timestamp, UserId};

/// Longest text of a post or comment, in characters.
pub const MAX_TEXT_CHARS: usize = 10_000;
/// Most attributes of one event.
pub const MAX_ATTRIBUTES: usize = 16;
/// Longest name of an attribute, in bytes.
pub const MAX_ATTRIBUTE_NAME: usize = 64;
/// Longest value of an attribute, in bytes.
pub const MAX_ATTRIBUTE_VALUE: usize = 512;
/// Longest name of a kind, in bytes.
pub const MAX_KIND_LEN: usize = 32;

/// One user's action, complete and checked.
///
/// Identity is `(id, user)`: a second event with the same pair has no effect, whatever else it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// The action's own name, made by the client, the gateway, or derived from its place in the log.
    pub id: EventId,
    /// Who acted.
    #[serde(rename = "userId")]
    pub user: UserId,
    /// What they acted on.
    #[serde(rename = "postId")]
    pub post: PostId,
    /// What they did.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// When it happened, as the client says.
    #[serde(rename = "timestamp")]
    pub time: Timestamp,
    /// When a gateway took it in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received_at: Option<Timestamp>,
    /// What was written, of posts and comments; at most [`MAX_TEXT_CHARS`], no NUL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Anything else the client wants kept: at most [`MAX_ATTRIBUTES`] pairs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

/// What a user did.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// Likes the post. Has an effect only if this user does not like it already.
    Like,
    /// Takes the like back. Has an effect only if this user likes the post.
    Unlike,
    /// Publishes the post: the first one committed makes its user the author.
    Post,
    /// Comments on the post.
    Comment,
    /// A kind that the configuration allows, such as `share` or `view`.
    Other(SmolStr),
}

impl EventKind {
    /// The kind of this name. Any name of the right form gives a kind; whether it is allowed is the
    /// [policy](crate::EventPolicy)'s business.
    pub fn new(name: &str) -> Option<EventKind> {
        Some(match name {
            "like" => EventKind::Like,
            "unlike" => EventKind::Unlike,
            "post" => EventKind::Post,
            "comment" => EventKind::Comment,
            other if is_kind_name(other) => EventKind::Other(SmolStr::new(other)),
            _ => return None,
        })
    }

    /// The kind's name, as on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            EventKind::Like => "like",
            EventKind::Unlike => "unlike",
            EventKind::Post => "post",
            EventKind::Comment => "comment",
            EventKind::Other(name) => name,
        }
    }

    /// The counter of a post that an effect of this kind moves, and by how much.
    ///
    /// `unlike` moves the counter `like` down by one. A `post` moves none: its effect is the author.
    pub fn delta(&self) -> Option<(&str, i64)> {
        match self {
            EventKind::Post => None,
            EventKind::Unlike => Some(("like", -1)),
            other => Some((other.as_str(), 1)),
        }
    }
}

/// Lower-case letters, digits and `_`, a letter first, at most [`MAX_KIND_LEN`].
fn is_kind_name(name: &str) -> bool {
    name.len() <= MAX_KIND_LEN
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for EventKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_names() {
        for name in ["like", "unlike", "post", "comment", "share", "view_2"] {
            assert_eq!(EventKind::new(name).map(|k| k.to_string()).as_deref(), Some(name));
        }
        for name in ["", "Like", "1up", "_x", "a b", &"x".repeat(33)] {
            assert_eq!(EventKind::new(name), None, "{name}");
        }
        assert_eq!(EventKind::Unlike.delta(), Some(("like", -1)));
        assert_eq!(EventKind::Post.delta(), None);
    }
}
