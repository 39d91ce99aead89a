//! The notifications that the rule raises.

use feedkit_core::notification::{Audience, Notification, Severity};
use feedkit_core::{AlertRule, PostId, Timestamp, UserId};
use serde_json::{Map, Value};

use super::rule::Spike;
use super::state::Reading;
use crate::config::Span;
use crate::rules::data::{object, rounded};

impl Spike {
    pub(super) fn fraud(
        &self,
        post: &PostId,
        reading: &Reading,
        time: Timestamp,
        users: &[UserId],
    ) -> Notification {
        let (rate, expected) = self.rates(reading);
        Notification {
            id: format!("spike:{post}:{}", time.as_millis()),
            kind: "FRAUD".into(),
            severity: Severity::Critical,
            audience: Audience::Role("moderator".into()),
            title: format!("{post} gets {rate:.1} likes a second; {expected:.2} are usual"),
            data: self.data(post, reading, users),
            occurred_at: time,
        }
    }

    pub(super) fn resolved(
        &self,
        post: &PostId,
        reading: &Reading,
        raised_at: i64,
        time: Timestamp,
        users: &[UserId],
    ) -> Notification {
        let (rate, _) = self.rates(reading);
        Notification {
            id: format!("spike:{post}:{raised_at}:resolved"),
            kind: "FRAUD_RESOLVED".into(),
            severity: Severity::Info,
            audience: Audience::Role("moderator".into()),
            title: format!("{post} is back to {rate:.1} likes a second"),
            data: self.data(post, reading, users),
            occurred_at: time,
        }
    }

    fn data(&self, post: &PostId, reading: &Reading, users: &[UserId]) -> Map<String, Value> {
        let (rate, expected) = self.rates(reading);
        object([
            ("postId", post.as_str().into()),
            ("rule", self.name().into()),
            ("rate", rounded(rate)),
            ("expected", rounded(expected)),
            ("score", rounded(reading.score())),
            ("window", Span(self.config.window).to_string().into()),
            ("sampleUsers", users.iter().map(|user| user.as_str()).collect()),
        ])
    }

    /// Likes a second in the window, and the expected likes a second.
    fn rates(&self, reading: &Reading) -> (f64, f64) {
        let seconds = self.config.window.as_secs_f64();
        (reading.likes / seconds, reading.expected / seconds)
    }
}
