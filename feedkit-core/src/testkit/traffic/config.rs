use std::time::Duration;

use super::Traffic;
use crate::{PostId, Timestamp};

/// What traffic to make.
///
/// ```
/// use feedkit_core::testkit::TrafficConfig;
///
/// let config = TrafficConfig { seed: 7, count: 100, ..TrafficConfig::default() };
/// let again = config.traffic();
/// assert!(config.traffic().eq(again));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct TrafficConfig {
    /// Everything follows from it and the rest of the configuration.
    pub seed: u64,
    /// Most items made.
    pub count: u64,
    /// How much event time is covered at most.
    pub duration: Option<Duration>,
    /// How many users there are, named `u0`, `u1`, ….
    pub users: u32,
    /// How many posts there are, named `p0` (the most popular), `p1`, ….
    pub posts: u32,
    /// How unequal the posts are: the k-th most popular is drawn in proportion to `1 / k^zipf`.
    pub zipf: f64,
    /// When the traffic begins.
    pub start: Timestamp,
    /// Mean events a second, [`steady`](Self::steady), [`viral`](Self::viral) and [`farms`](Self::farms) not
    /// counted.
    pub rate: f64,
    /// Whether rates swing over 24 hours, between a quarter and seven quarters of their mean.
    pub daily_rhythm: bool,
    /// The share of likes.
    pub likes: f64,
    /// The share of unlikes, most of them of what was liked shortly before.
    pub unlikes: f64,
    /// The share of comments; what remains are posts.
    pub comments: f64,
    /// The share of repeats: id and user of an earlier event, in a quarter of the cases with other content.
    pub repeats: f64,
    /// The share of lines that are no events.
    pub malformed: f64,
    /// The share of events that bear no id.
    pub without_id: f64,
    /// The share of events that bear no timestamp.
    pub without_time: f64,
    /// The share of posts that nobody ever publishes; the others are published before anything else is done to
    /// them.
    pub unpublished: f64,
    /// Posts that are liked at a rate of their own.
    pub steady: Vec<Steady>,
    /// Posts that become popular over hours.
    pub viral: Vec<Viral>,
    /// Accounts that act together.
    pub farms: Vec<Farm>,
}

impl Default for TrafficConfig {
    /// 10,000 items of 1,000 users and 500 posts, 50 a second from 2025-01-01 on.
    fn default() -> Self {
        TrafficConfig {
            seed: 1,
            count: 10_000,
            duration: None,
            users: 1_000,
            posts: 500,
            zipf: 1.1,
            start: Timestamp::from_millis(1_735_689_600_000),
            rate: 50.0,
            daily_rhythm: false,
            likes: 0.86,
            unlikes: 0.04,
            comments: 0.07,
            repeats: 0.02,
            malformed: 0.005,
            without_id: 0.1,
            without_time: 0.0,
            unpublished: 0.1,
            steady: Vec::new(),
            viral: Vec::new(),
            farms: Vec::new(),
        }
    }
}

impl TrafficConfig {
    /// The traffic, from its beginning.
    pub fn traffic(&self) -> Traffic {
        Traffic::new(self.clone())
    }
}

/// A post that is liked at a rate of its own, by another user each time.
#[derive(Debug, Clone, PartialEq)]
pub struct Steady {
    /// The post.
    pub post: PostId,
    /// Mean likes a second, subject to the daily rhythm.
    pub rate: f64,
}

/// A post that becomes popular: its likes double every so often up to a peak, stay there, and fade. Each like is
/// another user's.
#[derive(Debug, Clone, PartialEq)]
pub struct Viral {
    /// The post.
    pub post: PostId,
    /// When it begins, after the start of the traffic.
    pub start: Duration,
    /// Likes a second at its beginning; when it has faded to this again, it ends.
    pub first_rate: f64,
    /// How long a doubling takes.
    pub doubling: Duration,
    /// Likes a second at the peak.
    pub peak_rate: f64,
    /// How long it stays at the peak.
    pub plateau: Duration,
    /// How long a halving takes afterwards.
    pub halving: Duration,
}

impl Viral {
    /// From a like every 50 s to `peak_rate`, doubling every hour, an hour there, halving every three hours.
    pub fn new(post: PostId, start: Duration, peak_rate: f64) -> Self {
        let hour = Duration::from_secs(3600);
        Viral { post, start, first_rate: 0.02, doubling: hour, peak_rate, plateau: hour, halving: 3 * hour }
    }
}

/// Accounts that like one post together, all at once.
#[derive(Debug, Clone, PartialEq)]
pub struct Farm {
    /// The post.
    pub post: PostId,
    /// When it begins, after the start of the traffic.
    pub start: Duration,
    /// How long it lasts.
    pub duration: Duration,
    /// How many times its own rate the post is liked at meanwhile: the own rate is what all else in the
    /// configuration gives it at that time.
    pub factor: f64,
    /// How many accounts there are, named `farm-0`, `farm-1`, …; all farms draw on the same ones. Each likes the
    /// post once; when all have, they take it back, and so on.
    pub accounts: u32,
}

impl Farm {
    /// Ten times the post's own rate for 60 s, from 2,000 accounts.
    pub fn new(post: PostId, start: Duration) -> Self {
        Farm { post, start, duration: Duration::from_secs(60), factor: 10.0, accounts: 2_000 }
    }
}
