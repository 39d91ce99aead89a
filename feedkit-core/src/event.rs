//! Events: one action of one user on one post.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};
use smol_str::SmolStr;

use crate::{EventId, PostId, Timestamp, UserId};

/// Maximum length of the text of a post or comment, in characters.
pub const MAX_TEXT_CHARS: usize = 10_000;
/// Maximum number of attributes of an event.
pub const MAX_ATTRIBUTES: usize = 16;
/// Maximum length of the name of an attribute, in bytes.
pub const MAX_ATTRIBUTE_NAME: usize = 64;
/// Maximum length of the value of an attribute, in bytes.
pub const MAX_ATTRIBUTE_VALUE: usize = 512;
/// Maximum length of the name of a kind, in bytes.
pub const MAX_KIND_LEN: usize = 32;

/// A complete and checked action of one user.
///
/// An event is identified by `(id, user)`. A second event with the same pair has no effect, even if
/// its other fields differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// The id of the action. The client or the gateway creates it, or it is derived from the place
    /// in the log.
    pub id: EventId,
    /// The user who acted.
    #[serde(rename = "userId")]
    pub user: UserId,
    /// The post that the user acted on.
    #[serde(rename = "postId")]
    pub post: PostId,
    /// The kind of action.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// When it happened, according to the client.
    #[serde(rename = "timestamp")]
    pub time: Timestamp,
    /// When a gateway received it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received_at: Option<Timestamp>,
    /// The text of a post or comment: at most [`MAX_TEXT_CHARS`] characters, none of them NUL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Other data from the client: at most [`MAX_ATTRIBUTES`] pairs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

/// The kind of an action.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// Likes the post. It has an effect only if this user does not like the post yet.
    Like,
    /// Takes the like back. It has an effect only if this user likes the post.
    Unlike,
    /// Publishes the post. The user of the first committed `post` event becomes the author.
    Post,
    /// Comments on the post.
    Comment,
    /// A kind that the configuration allows, such as `share` or `view`.
    Other(SmolStr),
}

impl EventKind {
    /// The kind with this name, or `None` if the name is malformed. The
    /// [policy](crate::EventPolicy) decides whether a kind is allowed.
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

    /// The name of the kind in the wire form.
    pub fn as_str(&self) -> &str {
        match self {
            EventKind::Like => "like",
            EventKind::Unlike => "unlike",
            EventKind::Post => "post",
            EventKind::Comment => "comment",
            EventKind::Other(name) => name,
        }
    }

    /// Which counter of the post an effect of this kind changes, and by how much.
    ///
    /// `unlike` decreases the counter `like` by one. `post` changes no counter; its effect is the
    /// author.
    pub fn delta(&self) -> Option<(&str, i64)> {
        match self {
            EventKind::Post => None,
            EventKind::Unlike => Some(("like", -1)),
            other => Some((other.as_str(), 1)),
        }
    }
}

/// Whether the name consists of at most [`MAX_KIND_LEN`] lower-case letters, digits and `_`, and
/// starts with a letter.
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
