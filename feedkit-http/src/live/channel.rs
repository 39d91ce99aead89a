//! The channels that a client can subscribe to.

use std::fmt;

use feedkit_core::notification::Audience;
use feedkit_core::{PostId, UserId};

/// Maximum length of a role's name in bytes.
const MAX_ROLE: usize = 128;

/// A channel.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Channel {
    /// Notifications for the client's user, and for everybody.
    Me,
    /// Notifications about a post, and its counts.
    Post(PostId),
    /// Notifications for the users with a role.
    Role(String),
    /// The counts of the posts with the most likes.
    Top,
}

impl Channel {
    /// The channel with this name, or the fault of the name.
    pub(super) fn parse(name: &str) -> Result<Self, String> {
        match (name, name.split_once(':')) {
            ("me", _) => Ok(Channel::Me),
            ("top", _) => Ok(Channel::Top),
            (_, Some(("post", id))) => match PostId::new(id) {
                Ok(post) => Ok(Channel::Post(post)),
                Err(error) => Err(format!("the post's id {error}")),
            },
            (_, Some(("role", ""))) => Err("the role has no name".to_owned()),
            (_, Some(("role", role))) if role.len() > MAX_ROLE || role.contains(char::is_control) => {
                Err(format!("a role's name has at most {MAX_ROLE} bytes, and no control characters"))
            }
            (_, Some(("role", role))) => Ok(Channel::Role(role.to_owned())),
            _ => Err("a channel is me, post:ID, role:NAME or top".to_owned()),
        }
    }

    /// The audience that the client needs permission for.
    pub(super) fn guarded(&self, user: &UserId) -> Audience {
        match self {
            Channel::Me => Audience::User(user.clone()),
            Channel::Post(post) => Audience::Post(post.clone()),
            Channel::Role(role) => Audience::Role(role.clone()),
            Channel::Top => Audience::All,
        }
    }

    /// The audiences whose notifications arrive on this channel.
    pub(super) fn audiences(&self, user: &UserId) -> Vec<Audience> {
        match self {
            Channel::Me => vec![Audience::User(user.clone()), Audience::All],
            Channel::Post(_) | Channel::Role(_) => vec![self.guarded(user)],
            Channel::Top => Vec::new(),
        }
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Channel::Me => f.write_str("me"),
            Channel::Post(post) => write!(f, "post:{post}"),
            Channel::Role(role) => write!(f, "role:{role}"),
            Channel::Top => f.write_str("top"),
        }
    }
}

/// The name of the channel for an audience. Notifications for everybody arrive on `me`.
pub(super) fn channel_of(audience: &Audience) -> String {
    match audience {
        Audience::User(_) | Audience::All => "me".to_owned(),
        Audience::Post(post) => format!("post:{post}"),
        Audience::Role(role) => format!("role:{role}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_names_it_prints() {
        for name in ["me", "top", "post:p9", "post:a:b", "role:moderator", "role:a:b"] {
            assert_eq!(Channel::parse(name).unwrap().to_string(), name);
        }
        let long = format!("role:{}", "x".repeat(MAX_ROLE + 1));
        for name in ["", "Me", "me:", "post:", "post:a/b", "role:", "role:a\nb", "user:u1", "posts", &long] {
            assert!(Channel::parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn audiences_are_told_on_the_channels_that_list_them() {
        let user = UserId::new("u1").unwrap();
        for name in ["me", "post:p9", "role:moderator"] {
            for audience in Channel::parse(name).unwrap().audiences(&user) {
                assert_eq!(channel_of(&audience), name);
            }
        }
        assert!(Channel::Me.audiences(&user).contains(&Audience::All));
        assert!(Channel::Top.audiences(&user).is_empty());
    }
}
