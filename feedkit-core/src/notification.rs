//! What people are told.

use serde::{Deserialize, Serialize};

use crate::{PostId, Timestamp, UserId};

/// Something worth telling somebody, as it is kept, published and pushed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// Follows from the rule, its key and what was passed, so that the same alert raised again has the same id.
    pub id: String,
    /// What sort: `MILESTONE`, `FRAUD`, `FRAUD_RESOLVED`, or a rule's own, in capitals.
    #[serde(rename = "type")]
    pub kind: String,
    /// How grave.
    pub severity: Severity,
    /// For whom.
    pub audience: Audience,
    /// One line for people.
    pub title: String,
    /// The particulars, for programs.
    #[cfg_attr(feature = "schema", schema(value_type = Object))]
    pub data: serde_json::Map<String, serde_json::Value>,
    /// When, in the events' own time.
    pub occurred_at: Timestamp,
}

/// How grave a notification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Somebody should look.
    Warning,
    /// Somebody should look now.
    Critical,
}

/// Whom a notification concerns.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Audience {
    /// One user.
    User(UserId),
    /// Whoever follows a post.
    Post(PostId),
    /// Everybody with a role, such as `moderator`.
    Role(String),
    /// Everybody.
    All,
}

impl Audience {
    /// The key under which notifications for this audience are published: those of one audience keep their order.
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
