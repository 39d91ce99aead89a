//! Alert rules with faults.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use feedkit_core::EventKind;
use feedkit_core::alert::{AlertRule, Keeping, Key, RuleContext};
use feedkit_core::effect::Effect;
use feedkit_core::notification::{Audience, Notification, Severity};

use super::faults::faults;

faults! {
    /// The faults of a [`MutantRule`].
    RuleFault {
        /// Counts its alerts in their ids.
        CountsIds,
        /// Remembers something outside of its state.
        HiddenState,
        /// Does not save all of its state.
        SavesTooLittle,
        /// Uses another key than the one that it returned.
        FickleKey,
        /// Raises the same alert again and again.
        RaisesAgain,
    }
}

/// Raises an alert for every tenth like of a post, with one fault.
pub(crate) struct MutantRule {
    fault: Option<RuleFault>,
    calls: AtomicU64,
    likes: AtomicU64,
}

/// The number of likes of a post.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Likes {
    saved: u64,
    #[serde(skip)]
    not_saved: u64,
}

impl MutantRule {
    /// Creates a rule with this fault, or a correct one.
    pub(crate) fn new(fault: Option<RuleFault>) -> Self {
        MutantRule { fault, calls: AtomicU64::new(0), likes: AtomicU64::new(0) }
    }
}

impl AlertRule for MutantRule {
    type State = Likes;

    fn name(&self) -> &str {
        "tenth"
    }

    fn keeping(&self) -> Keeping {
        Keeping::Exact
    }

    fn key<'e>(&self, effect: &'e Effect) -> Option<Key<'e>> {
        let calls = self.calls.fetch_add(1, Ordering::SeqCst);
        match self.fault {
            Some(RuleFault::FickleKey) if calls % 2 == 1 => Some(Key::User(&effect.user)),
            _ => (effect.kind == EventKind::Like).then_some(Key::Post(&effect.post)),
        }
    }

    fn observe(&self, state: &mut Likes, effect: &Effect, context: &mut dyn RuleContext) {
        let likes = match self.fault {
            Some(RuleFault::HiddenState) => {
                state.saved = self.likes.fetch_add(1, Ordering::SeqCst) + 1;
                state.saved
            }
            Some(RuleFault::SavesTooLittle) => {
                state.not_saved += 1;
                state.not_saved
            }
            _ => {
                state.saved += 1;
                state.saved
            }
        };
        if likes % 10 != 0 {
            return;
        }
        let number = match self.fault {
            Some(RuleFault::CountsIds) => self.likes.fetch_add(1, Ordering::SeqCst),
            Some(RuleFault::RaisesAgain) => 10,
            _ => likes,
        };
        context.raise(Notification {
            id: format!("tenth:{}:{number}", effect.post),
            kind: "TENTH".into(),
            severity: Severity::Info,
            audience: Audience::Post(effect.post.clone()),
            title: format!("{} has {likes} likes", effect.post),
            data: Default::default(),
            occurred_at: effect.time,
        });
    }
}
