use std::time::Duration;

use feedkit_core::alert::{Keeping, Key, OwnedKey, RuleContext};
use feedkit_core::effect::Effect;
use feedkit_core::notification::{Audience, Notification, Severity};
use feedkit_core::{AlertRule, EventKind, PostId, Timestamp};
use serde::{Deserialize, Serialize};

use super::window::{BUCKETS, Left, Placed, Window};
use crate::config::{self, InvalidSetting, Span, invalid, object};

/// Notices likes of a post that come far faster than its own recent rate: like farms.
///
/// # How it decides
///
/// Event time is cut into buckets of a tenth of `window`. The last ten make up the *window*; each bucket that
/// leaves it goes into the *baseline*, a sum and a number of buckets that both fade with the time constant
/// `baseline` (an exponentially weighted mean that is right from the first bucket on, and never contains the
/// likes it is held against). With `n` likes in the window, `m` expected of the baseline's upper confidence bound
/// (the mean and two standard deviations), the score is
///
/// ```text
/// n ln(n / m) - (n - m)
/// ```
///
/// the log-likelihood ratio by which spatial scan statistics find clusters (Kulldorff, "A spatial scan statistic",
/// 1997), and Chernoff's bound: at a rate of `m` as many likes come by chance in fewer than `exp(-score)` of all
/// windows. `FRAUD` is raised when the score is at least `min_score`, and `n` at least `min_likes`, and at least
/// `min_factor` times `m`, and the post has been watched for `warm_up`. The factor is what keeps growth, which is
/// no chance, from being taken for a farm: a post whose likes double every five minutes has 2.4 times its
/// baseline in the window, one that doubles every hour 1.1 times.
///
/// While an episode lasts the baseline stands still, for at most its own time constant: the farm does not become
/// the new normal. When the window is down to twice what is expected, `FRAUD_RESOLVED` is raised, and there is
/// no other `FRAUD` of the post before `cooldown` has passed since the last. Unlikes do not count.
///
/// # What it sees, and what not
///
/// - With the defaults, a farm of ten times the post's rate is noticed within 10 s of its start in 99 of 100 cases
///   from a rate of 0.35 likes a second on, in 93 at 0.3, in 57 at 0.2, and after four seconds from one like a
///   second on. At 0.1 and below most go unseen: whatever the rate, it takes `min_likes` in a window.
/// - A post that is new, or was forgotten because `max_keys` others came up since, is not judged for `warm_up`: a
///   farm that begins with the post is not seen.
/// - A farm that grows slowly, by less than a doubling every three minutes, passes for popularity.
/// - Events may be late or out of order by up to `window`. Later ones count into the baseline.
///
/// # Tuning
///
/// Fewer false alarms on feeds where posts are shared by accounts with many followers: raise `min_factor` and
/// `min_likes`. Smaller farms: a longer `window` (60 s sees ten times a rate of 0.06), at the price of a later
/// notice. `min_score` is chance only; 22 is one window in three billion.
///
/// Raises to the role `moderator`, with the ids `spike:POST:MILLIS` and `spike:POST:MILLIS:resolved`, and `data`
/// `{postId, rule, rate, expected, score, window, sampleUsers}`, rates in likes a second. The sample are the first
/// twenty users since the post became conspicuous.
#[derive(Debug, Clone)]
pub struct Spike {
    config: SpikeConfig,
    bucket_ms: i64,
    /// What a bucket's age by one makes of its weight.
    fading: f32,
    /// Buckets, in the sum of weights, that make up `warm_up`.
    warm: f32,
    cooldown_ms: i64,
    /// How long an episode keeps the baseline from moving.
    standstill_ms: i64,
}

/// How [`Spike`] is set: `[rules.spike]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpikeConfig {
    /// Whether the rule runs.
    pub enabled: bool,
    /// How much event time is held against the baseline; from 1 s to 1 h.
    #[serde(deserialize_with = "config::duration")]
    pub window: Duration,
    /// The fewest likes in a window that are worth a notice.
    pub min_likes: u32,
    /// How many times what is expected.
    pub min_factor: f64,
    /// How improbable by chance, as the natural logarithm.
    pub min_score: f64,
    /// The time constant of what a post's usual rate is; longer than ten windows.
    #[serde(deserialize_with = "config::duration")]
    pub baseline: Duration,
    /// How long a post is watched before it is judged; at most `baseline`.
    #[serde(deserialize_with = "config::duration")]
    pub warm_up: Duration,
    /// How long after a notice there is no other of the same post.
    #[serde(deserialize_with = "config::duration")]
    pub cooldown: Duration,
    /// Most posts remembered; those not liked for longest go first. 80 bytes each.
    pub max_keys: usize,
}

impl Default for SpikeConfig {
    /// 10 s against 10 minutes: at least 20 likes, four times the expected, a score of 22, after three minutes,
    /// once in 10 minutes; a million posts.
    fn default() -> Self {
        SpikeConfig {
            enabled: true,
            window: Duration::from_secs(10),
            min_likes: 20,
            min_factor: 4.0,
            min_score: 22.0,
            baseline: Duration::from_secs(600),
            warm_up: Duration::from_secs(180),
            cooldown: Duration::from_secs(600),
            max_keys: 1_000_000,
        }
    }
}

/// What [`Spike`] remembers of a post: 48 bytes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SpikeState {
    window: Window<Phase>,
    /// When the last `FRAUD` was raised, in milliseconds; 0 if there was none.
    raised_at: i64,
    /// Likes of the buckets that have left the window, faded.
    likes: f32,
    /// The number of those buckets, faded alike.
    buckets: f32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    #[default]
    Quiet,
    /// Conspicuous: users are sampled.
    Elevated,
    /// `FRAUD` is raised and not resolved.
    Raised,
}

/// A window against its baseline.
struct Reading {
    likes: f64,
    /// Likes in a window at the baseline's mean.
    expected: f64,
    /// The same at its upper confidence bound.
    bound: f64,
}

impl Spike {
    /// The rule.
    ///
    /// # Errors
    ///
    /// Names the setting whose value is out of range.
    pub fn new(config: &SpikeConfig) -> Result<Self, InvalidSetting> {
        let bucket_ms = config::window("spike", config.window)? / BUCKETS as i64;
        let day = Duration::from_secs(86_400);
        config::within("spike", "baseline", config.baseline, config.window * 10, 30 * day)?;
        config::within("spike", "warm_up", config.warm_up, Duration::ZERO, config.baseline)?;
        config::within("spike", "cooldown", config.cooldown, Duration::ZERO, 365 * day)?;
        config::max_keys("spike", config.max_keys)?;
        if config.min_likes == 0 {
            return Err(invalid("spike", "min_likes", "is 0, it must be at least 1"));
        }
        if config.min_factor.is_nan() || config.min_factor < 1.5 {
            return Err(invalid(
                "spike",
                "min_factor",
                format!("is {}, it must be at least 1.5", config.min_factor),
            ));
        }
        if config.min_score.is_nan() || config.min_score < 1.0 {
            return Err(invalid(
                "spike",
                "min_score",
                format!("is {}, it must be at least 1", config.min_score),
            ));
        }
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

    /// Where a bucket that leaves the window goes.
    fn baseline<'s>(
        &self,
        state: &'s mut SpikeState,
        now: i64,
    ) -> (&'s mut Window<Phase>, impl FnMut(Left) + 's) {
        let still =
            state.window.tag == Phase::Raised && now.saturating_sub(state.raised_at) < self.standstill_ms;
        let SpikeState { window, likes, buckets, .. } = state;
        let fading = self.fading;
        let leave = move |left| match left {
            _ if still => {}
            Left::Bucket(count) => {
                *likes = *likes * fading + f32::from(count);
                *buckets = *buckets * fading + 1.0;
            }
            Left::Empty(many) => {
                let faded = fading.powf(many as f32);
                *likes *= faded;
                *buckets = *buckets * faded + (1.0 - faded) / (1.0 - fading);
            }
        };
        (window, leave)
    }

    fn read(&self, state: &SpikeState) -> Reading {
        let likes = f64::from(state.window.total());
        let sum = f64::from(state.likes);
        let windows = f64::from(state.buckets) / BUCKETS as f64;
        // Two standard deviations of the faded sum of a Poisson process are sqrt(2 sum); two likes are for posts
        // with hardly any.
        Reading { likes, expected: sum / windows, bound: (sum + (2.0 * sum).sqrt() + 2.0) / windows }
    }

    /// Whether a window is far enough above its baseline to be a farm's.
    fn is_spike(&self, reading: &Reading) -> bool {
        reading.likes >= f64::from(self.config.min_likes)
            && reading.likes >= self.config.min_factor * reading.bound
            && reading.score() >= self.config.min_score
    }

    /// What follows from the window as it is now.
    fn judge(&self, state: &mut SpikeState, post: &PostId, time: Timestamp, context: &mut dyn RuleContext) {
        let few = self.config.min_likes.div_ceil(2);
        if state.window.tag == Phase::Quiet && (state.window.total() < few || state.buckets < self.warm) {
            return;
        }
        let (reading, now) = (self.read(state), time.as_millis());
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

    fn fraud(
        &self,
        post: &PostId,
        reading: &Reading,
        time: Timestamp,
        users: &[feedkit_core::UserId],
    ) -> Notification {
        let (rate, expected) = self.rates(reading);
        Notification {
            id: format!("spike:{post}:{}", time.as_millis()),
            kind: "FRAUD".into(),
            severity: Severity::Critical,
            audience: Audience::Role("moderator".into()),
            title: format!("{post} is liked {rate:.1} times a second, {expected:.2} are usual"),
            data: self.data(post, reading, users),
            occurred_at: time,
        }
    }

    fn resolved(
        &self,
        post: &PostId,
        reading: &Reading,
        raised_at: i64,
        time: Timestamp,
        users: &[feedkit_core::UserId],
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

    fn data(
        &self,
        post: &PostId,
        reading: &Reading,
        users: &[feedkit_core::UserId],
    ) -> serde_json::Map<String, serde_json::Value> {
        let (rate, expected) = self.rates(reading);
        object([
            ("postId", post.as_str().into()),
            ("rule", self.name().into()),
            ("rate", config::rounded(rate)),
            ("expected", config::rounded(expected)),
            ("score", config::rounded(reading.score())),
            ("window", Span(self.config.window).to_string().into()),
            ("sampleUsers", users.iter().map(|user| user.as_str()).collect()),
        ])
    }

    /// Likes a second: in the window, and as expected.
    fn rates(&self, reading: &Reading) -> (f64, f64) {
        let seconds = self.config.window.as_secs_f64();
        (reading.likes / seconds, reading.expected / seconds)
    }
}

impl Reading {
    fn score(&self) -> f64 {
        match self.likes > self.bound {
            true => self.likes * (self.likes / self.bound).ln() - (self.likes - self.bound),
            false => 0.0,
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
        let (window, leave) = self.baseline(state, now);
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
        let (window, leave) = self.baseline(state, now);
        window.advance(now.div_euclid(self.bucket_ms), leave);
        self.judge(state, post, watermark, context);
    }
}
