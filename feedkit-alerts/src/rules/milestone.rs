//! Milestones of posts.

use feedkit_core::alert::{Keeping, Key, RuleContext};
use feedkit_core::effect::Effect;
use feedkit_core::history::PostTotals;
use feedkit_core::notification::{Audience, Notification, Severity};
use feedkit_core::{AlertRule, EventKind, PostId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

use super::data::object;
use crate::config::{InvalidSetting, invalid};

/// Tells authors when their posts reach 10, 100, 1,000, … likes.
///
/// A like adds one to the post's count, and an `unlike` takes one away. The rule raises a threshold
/// when the count reaches it for the first time, and never again. While the author of the post is
/// unknown, the rule raises nothing. Once the author is known, it raises the thresholds that the
/// post has reached, in order. The rule is exact: the alert log keeps the state of every post.
///
/// Raises `MILESTONE` to the author, with the id `milestone:POST:THRESHOLD` and the `data`
/// `{postId, likes}`.
#[derive(Debug, Clone)]
pub struct Milestone {
    thresholds: Vec<i64>,
}

/// The configuration of [`Milestone`]: the table `[rules.milestone]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct MilestoneConfig {
    /// Whether the rule runs.
    pub enabled: bool,
    /// The numbers of likes to raise, in ascending order. The powers of ten from 10 by default.
    ///
    /// A threshold that is added later is not raised for posts that have already passed it.
    pub thresholds: Vec<i64>,
}

impl Default for MilestoneConfig {
    /// The defaults that each field names. The rule is enabled.
    fn default() -> Self {
        MilestoneConfig { enabled: true, thresholds: (1..=18).map(|power| 10i64.pow(power)).collect() }
    }
}

/// The state that [`Milestone`] keeps for each post.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MilestoneState {
    likes: i64,
    /// The highest threshold reached so far.
    reached: i64,
    /// The highest threshold raised so far.
    raised: i64,
    author: Option<UserId>,
}

impl Milestone {
    /// Makes the rule.
    ///
    /// # Errors
    ///
    /// Fails if the thresholds are not positive and ascending.
    pub fn new(config: &MilestoneConfig) -> Result<Self, InvalidSetting> {
        let ascending = config.thresholds.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascending || config.thresholds.first().is_some_and(|first| *first < 1) {
            return Err(invalid("milestone", "thresholds", "must be positive and ascending"));
        }
        Ok(Milestone { thresholds: config.thresholds.clone() })
    }

    /// Notes which threshold the count has reached, and raises the thresholds that are due.
    fn settle(
        &self,
        state: &mut MilestoneState,
        post: &PostId,
        time: Timestamp,
        context: &mut dyn RuleContext,
    ) {
        let passed = self.thresholds.partition_point(|threshold| *threshold <= state.likes);
        let highest = passed.checked_sub(1).map_or(0, |i| self.thresholds[i]);
        state.reached = state.reached.max(highest);
        let Some(author) = &state.author else { return };
        let from = self.thresholds.partition_point(|threshold| *threshold <= state.raised);
        for likes in self.thresholds[from..].iter().take_while(|threshold| **threshold <= state.reached) {
            context.raise(Notification {
                id: format!("milestone:{post}:{likes}"),
                kind: "MILESTONE".into(),
                severity: Severity::Info,
                audience: Audience::User(author.clone()),
                title: format!("Your post got {likes} likes"),
                data: object([("postId", post.as_str().into()), ("likes", (*likes).into())]),
                occurred_at: time,
            });
        }
        state.raised = state.reached;
    }
}

impl AlertRule for Milestone {
    type State = MilestoneState;

    fn name(&self) -> &str {
        "milestone"
    }

    fn keeping(&self) -> Keeping {
        Keeping::Exact
    }

    fn key<'e>(&self, effect: &'e Effect) -> Option<Key<'e>> {
        matches!(effect.kind, EventKind::Like | EventKind::Unlike | EventKind::Post)
            .then_some(Key::Post(&effect.post))
    }

    fn observe(&self, state: &mut MilestoneState, effect: &Effect, context: &mut dyn RuleContext) {
        match effect.kind {
            EventKind::Like => {
                state.likes += 1;
                // Most likes reach no threshold.
                if self.thresholds.binary_search(&state.likes).is_err() {
                    return;
                }
            }
            EventKind::Unlike => return state.likes -= 1,
            EventKind::Post if state.author.is_none() => state.author = Some(effect.user.clone()),
            _ => return,
        }
        self.settle(state, &effect.post, effect.time, context);
    }

    fn rebuild(&self, totals: &PostTotals, context: &mut dyn RuleContext) -> Option<MilestoneState> {
        let likes = totals.counts.iter().find(|(kind, _)| kind == "like").map_or(0, |(_, count)| *count);
        let mut state = MilestoneState { likes, author: totals.author.clone(), ..MilestoneState::default() };
        // The time at which the post reached a threshold is no longer known.
        self.settle(&mut state, &totals.post, Timestamp::EPOCH, context);
        Some(state)
    }
}
