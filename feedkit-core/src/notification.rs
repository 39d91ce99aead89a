//! Notifications: what alerts tell people.

use serde::{Deserialize, Serialize};

use crate::{PostId, Timestamp, UserId};

/// A notification in the form in which it is stored, published and pushed to clients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// The id. It depends on the rule, the key and the threshold or episode, so that the same alert
    /// always has the same id.
    pub id: String,
    /// The kind: `MILESTONE`, `FRAUD`, `FRAUD_RESOLVED`, or a name in capitals that a rule defines.
    #[serde(rename = "type")]
    pub kind: String,
    /// The severity.
    pub severity: Severity,
    /// The audience.
    pub audience: Audience,
    /// One line of text for people.
    pub title: String,
    /// Details for programs.
    #[cfg_attr(feature = "schema", schema(value_type = Object))]
    pub data: serde_json::Map<String, serde_json::Value>,
    /// When it happened, in the time of the events.
    pub occurred_at: Timestamp,
}

/// The severity of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// For information only.
    Info,
    /// A person should look at it.
    Warning,
    /// A person should look at it now.
    Critical,
}

/// The audience of a notification.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Audience {
    /// One user.
    User(UserId),
    /// The followers of a post.
    Post(PostId),
    /// Everyone with a role, such as `moderator`.
    Role(String),
    /// Everyone.
    All,
}

impl Audience {
    /// The key of the notifications for this audience in the log. Notifications for one audience
    /// keep their order.
    pub fn key(&self) -> String {
        match self {
            Audience::User(user) => format!("user:{user}"),
            Audience::Post(post) => format!("post:{post}"),
            Audience::Role(role) => format!("role:{role}"),
            Audience::All => "all".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_documented_form() {
        let notification = Notification {
            id: "milestone:p9:100".into(),
            kind: "MILESTONE".into(),
            severity: Severity::Info,
            audience: Audience::User(UserId::new("u1").unwrap()),
            title: "Your post got 100 likes".into(),
            data: serde_json::Map::from_iter([("likes".to_owned(), 100.into())]),
            occurred_at: Timestamp::EPOCH,
        };
        let json = serde_json::json!({
            "id": "milestone:p9:100", "type": "MILESTONE", "severity": "info", "audience": {"user": "u1"},
            "title": "Your post got 100 likes", "data": {"likes": 100}, "occurredAt": "1970-01-01T00:00:00Z"
        });
        assert_eq!(serde_json::to_value(&notification).unwrap(), json);
        assert_eq!(serde_json::from_value::<Notification>(json).unwrap(), notification);
        assert_eq!(serde_json::to_value(Audience::All).unwrap(), "all");
    }
}
