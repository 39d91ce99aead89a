//! The rule.

use feedkit_core::alert::{Keeping, Key, OwnedKey, RuleContext};
use feedkit_core::effect::Effect;
use feedkit_core::{AlertRule, EventKind, PostId, Timestamp};

use super::config::SpikeConfig;
use super::state::{Phase, Reading, SpikeState};
use crate::config::InvalidSetting;
use crate::rules::window::{BUCKETS, Placed};

/// Detects likes of a post that come far faster than the post's own recent rate, as like farms
/// cause them.
///
/// # Algorithm
///
/// Event time is cut into buckets of a tenth of `window`. The last ten buckets are the *window*.
/// Each bucket that leaves the window is added to the *baseline*: a sum of likes and a number of
/// buckets. Both fade with the time constant `baseline`. So the baseline is an exponentially
/// weighted mean. It is right from the first bucket on, and it never contains the likes that are
/// compared with it.
///
/// Let `n` be the number of likes in the window, and `m` the number that is expected at the upper
/// confidence bound of the baseline (the mean plus two standard deviations). The score is
///
/// ```text
/// n ln(n / m) - (n - m)
/// ```
///
/// This is the log-likelihood ratio by which spatial scan statistics find clusters (Kulldorff, "A
/// spatial scan statistic", 1997). It is also Chernoff's bound: at a rate of `m`, fewer than
/// `exp(-score)` of all windows have that many likes by chance.
///
/// The rule raises `FRAUD` when all of these hold:
///
/// - The score is at least `min_score`.
/// - `n` is at least `min_likes`, and at least `min_factor` times `m`.
/// - The post has been watched for `warm_up`.
///
/// The factor keeps growth, which is not chance, from being taken for a farm. A post whose likes
/// double every five minutes has 2.4 times its baseline in the window. One that doubles every hour
/// has 1.1 times its baseline.
///
/// During an episode the baseline does not change, for at most its own time constant, so that the
/// farm does not become the new normal. When the window is down to twice the expected number, the
/// rule raises `FRAUD_RESOLVED`. It raises no other `FRAUD` of the post before `cooldown` has
/// passed since the last one. Unlikes do not count.
///
/// # What it detects
///
/// - With the defaults, a farm of ten times the post's rate is detected within 10 s of its start in
///   99 of 100 cases if the post has at least 0.35 likes a second. It is 93 of 100 cases at 0.3
///   likes a second, and 57 at 0.2. From one like a second on, it takes four seconds. At 0.1 and
///   below, most farms are missed: whatever the rate is, a window needs `min_likes`.
/// - A post is not judged during its `warm_up`, so a farm that begins with the post is missed. The
///   same holds for a post that was dropped because `max_keys` other posts were liked since.
/// - A farm that grows slowly, by less than a doubling every three minutes, passes for popularity.
/// - Events may be late or out of order by up to `window`. Later events count into the baseline.
///
/// # Tuning
///
/// Accounts with many followers share posts on some feeds. For fewer false alarms there, raise
/// `min_factor` and `min_likes`. To detect smaller farms, use a longer `window`: 60 s detects ten
/// times a rate of 0.06, but later. `min_score` is about chance only: 22 is one window in three
/// billion.
///
/// # Alerts
///
/// Raises to the role `moderator`, with the ids `spike:POST:MILLIS` and
/// `spike:POST:MILLIS:resolved`. The `data` is `{postId, rule, rate, expected, score, window,
/// sampleUsers}`, with rates in likes a second. The sample has the first twenty users since the
/// post became conspicuous.
#[derive(Debug, Clone)]
pub struct Spike {
    pub(super) config: SpikeConfig,
    bucket_ms: i64,
    /// The factor by which the baseline fades with each bucket.
    fading: f32,
    /// The weight of the baseline's buckets after `warm_up`.
    warm: f32,
    cooldown_ms: i64,
    /// How long an episode keeps the baseline from changing.
    standstill_ms: i64,
}

impl Spike {
    /// Makes the rule.
    ///
    /// # Errors
    ///
    /// Names the setting whose value is out of range.
    pub fn new(config: &SpikeConfig) -> Result<Self, InvalidSetting> {
        let bucket_ms = config.check()? / BUCKETS as i64;
        let baseline = config.baseline.as_millis() as f64 / bucket_ms as f64;
        let warm_up = config.warm_up.as_millis() as f64 / bucket_ms as f64;
        Ok(Spike {
            bucket_ms,
            fading: (-1.0 / baseline).exp() as f32,
            warm: (baseline * (1.0 - (-warm_up / baseline).exp())) as f32,
            cooldown_ms: config.cooldown.as_millis() as i64,
            standstill_ms: config.baseline.as_millis() as i64,
            config: config.clone(),
        })
    }

    /// Whether the baseline must not change, because an episode is under way.
    fn is_frozen(&self, state: &SpikeState, now: i64) -> bool {
        state.window.tag == Phase::Raised && now.saturating_sub(state.raised_at) < self.standstill_ms
    }

    /// Whether a window is so far above its baseline that it is a farm's.
    fn is_spike(&self, reading: &Reading) -> bool {
        reading.likes >= f64::from(self.config.min_likes)
            && reading.likes >= self.config.min_factor * reading.bound
            && reading.score() >= self.config.min_score
    }

    /// Raises what follows from the window as it is now.
    fn judge(&self, state: &mut SpikeState, post: &PostId, time: Timestamp, context: &mut dyn RuleContext) {
        let few = self.config.min_likes.div_ceil(2);
        if state.window.tag == Phase::Quiet && (state.window.total() < few || state.buckets < self.warm) {
            return;
        }
        let (reading, now) = (state.read(), time.as_millis());
        let calm = reading.likes <= 2.0 * reading.bound || reading.likes < f64::from(few);
        if state.window.tag == Phase::Quiet && !calm {
            state.window.tag = Phase::Elevated;
            context.watch();
        }
        let since = now.saturating_sub(state.raised_at);
        match state.window.tag {
            Phase::Elevated if calm => {
                state.window.tag = Phase::Quiet;
                context.unwatch();
            }
            Phase::Elevated
                if self.is_spike(&reading) && (state.raised_at == 0 || since >= self.cooldown_ms) =>
            {
                (state.window.tag, state.raised_at) = (Phase::Raised, now);
                context.raise(self.fraud(post, &reading, time, context.samples()));
            }
            Phase::Raised if calm && since >= self.bucket_ms * BUCKETS as i64 => {
                context.raise(self.resolved(post, &reading, state.raised_at, time, context.samples()));
                state.window.tag = Phase::Quiet;
                context.unwatch();
            }
            _ => {}
        }
    }
}

impl AlertRule for Spike {
    type State = SpikeState;

    fn name(&self) -> &str {
        "spike"
    }

    fn keeping(&self) -> Keeping {
        Keeping::Evictable { max_keys: self.config.max_keys }
    }

    fn key<'e>(&self, effect: &'e Effect) -> Option<Key<'e>> {
        (effect.kind == EventKind::Like).then_some(Key::Post(&effect.post))
    }

    fn observe(&self, state: &mut SpikeState, effect: &Effect, context: &mut dyn RuleContext) {
        let now = effect.time.as_millis();
        let frozen = self.is_frozen(state, now);
        let (window, leave) = state.with_baseline(self.fading, frozen);
        match window.count(now.div_euclid(self.bucket_ms), leave) {
            Placed::Late => state.likes += 1.0,
            Placed::Inside => self.judge(state, &effect.post, effect.time, context),
        }
    }

    fn advance(
        &self,
        state: &mut SpikeState,
        key: &OwnedKey,
        watermark: Timestamp,
        context: &mut dyn RuleContext,
    ) {
        let OwnedKey::Post(post) = key else { return };
        let now = watermark.as_millis();
        let frozen = self.is_frozen(state, now);
        let (window, leave) = state.with_baseline(self.fading, frozen);
        window.advance(now.div_euclid(self.bucket_ms), leave);
        self.judge(state, post, watermark, context);
    }
}
