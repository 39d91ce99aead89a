use feedkit_core::alert::{Keeping, Key, RuleContext};
use feedkit_core::effect::Effect;
use feedkit_core::history::PostTotals;
use feedkit_core::notification::{Audience, Notification, Severity};
use feedkit_core::{AlertRule, EventKind, PostId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

use crate::config::{InvalidSetting, invalid, object};

/// Tells authors how far their posts have come: 10, 100, 1,000, … likes.
///
/// Counts the likes that stand: a like adds one, an `unlike` takes one away. A threshold is raised the first time
/// the count reaches it, and never again, however the count moves. As long as nobody has published the post there
/// is nobody to tell; what was reached meanwhile is raised, in order, when the author becomes known. Exact: the
/// states are kept in the alert log, for every post.
///
/// Raises `MILESTONE` to the author, with the id `milestone:POST:THRESHOLD` and `data` `{postId, likes}`.
#[derive(Debug, Clone)]
pub struct Milestone {
    thresholds: Vec<i64>,
}

/// How [`Milestone`] is set: `[rules.milestone]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MilestoneConfig {
    /// Whether the rule runs.
    pub enabled: bool,
    /// The counts of likes to be told of, ascending. Default: the powers of ten from 10 on. Thresholds that are
    /// added later are not raised for posts that have passed them by then; give the old ones first.
    pub thresholds: Vec<i64>,
}

impl Default for MilestoneConfig {
    fn default() -> Self {
        MilestoneConfig { enabled: true, thresholds: (1..=18).map(|power| 10i64.pow(power)).collect() }
    }
}

/// What [`Milestone`] remembers of a post.
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
    /// The rule.
    ///
    /// # Errors
    ///
    /// The thresholds are not positive and ascending.
    pub fn new(config: &MilestoneConfig) -> Result<Self, InvalidSetting> {
        let ascending = config.thresholds.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascending || config.thresholds.first().is_some_and(|first| *first < 1) {
            return Err(invalid("milestone", "thresholds", "must be positive and ascending"));
        }
        Ok(Milestone { thresholds: config.thresholds.clone() })
    }

    /// Notes what the count has reached, and raises what can be raised.
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
                // Most likes reach nothing.
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
        // When it happened is not known any more.
        self.settle(&mut state, &totals.post, Timestamp::EPOCH, context);
        Some(state)
    }
}
