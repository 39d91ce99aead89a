//! An own rule: it tells the first user who likes a post, once.

use feedkit_core::alert::{Keeping, Key, RuleContext};
use feedkit_core::effect::Effect;
use feedkit_core::history::PostTotals;
use feedkit_core::notification::{Audience, Notification, Severity};
use feedkit_core::{AlertRule, EventKind};

/// Its state says whether the post has had its first like. It is exact: it must never be forgotten.
pub struct FirstFan;

impl AlertRule for FirstFan {
    type State = bool;

    fn name(&self) -> &str {
        "first_fan"
    }

    fn keeping(&self) -> Keeping {
        Keeping::Exact
    }

    fn key<'e>(&self, effect: &'e Effect) -> Option<Key<'e>> {
        (effect.kind == EventKind::Like).then_some(Key::Post(&effect.post))
    }

    fn observe(&self, liked: &mut bool, effect: &Effect, context: &mut dyn RuleContext) {
        if std::mem::replace(liked, true) {
            return;
        }
        context.raise(Notification {
            id: format!("fan:{}", effect.post),
            kind: "FIRST_FAN".to_owned(),
            severity: Severity::Info,
            audience: Audience::User(effect.user.clone()),
            title: format!("You are the first who likes {}", effect.post),
            data: serde_json::Map::new(),
            occurred_at: effect.time,
        });
    }

    // The totals say that a post has likes, not whose came first: it counts as told.
    fn rebuild(&self, totals: &PostTotals, _: &mut dyn RuleContext) -> Option<bool> {
        totals.counts.iter().any(|(kind, count)| kind == "like" && *count > 0).then_some(true)
    }
}
