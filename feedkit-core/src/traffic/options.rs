//! Options of the generated traffic.

use std::time::Duration;

use crate::{PostId, Timestamp};

/// Options of the generated traffic.
///
/// Start from the default and change what matters. Each method sets the field of the same name.
///
/// ```
/// use feedkit_core::traffic::TrafficOptions;
///
/// let options = TrafficOptions::default().seed(7).count(100);
/// let lines: Vec<_> = options.traffic().collect();
/// assert!(options.traffic().eq(lines));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TrafficOptions {
    /// The seed of all random numbers. Equal options with an equal seed give equal traffic.
    pub seed: u64,
    /// Maximum number of items.
    pub count: u64,
    /// How much event time the traffic covers at most. `None` means no limit.
    pub duration: Option<Duration>,
    /// How many users there are. They are named `u0`, `u1`, and so on.
    pub users: u32,
    /// How many posts there are. They are named `p0` (the most popular), `p1`, and so on.
    pub posts: u32,
    /// How unequal the posts are: the k-th most popular is drawn in proportion to `1 / k^zipf`.
    pub zipf: f64,
    /// When the traffic begins.
    pub start: Timestamp,
    /// Mean number of events per second, without those of `steady`, `viral` and `farms`.
    pub rate: f64,
    /// Whether rates follow a cycle of 24 hours, between a quarter and seven quarters of their
    /// mean.
    pub daily_rhythm: bool,
    /// The share of likes, from 0 to 1.
    pub likes: f64,
    /// The share of unlikes. Most of them take back a recent like.
    pub unlikes: f64,
    /// The share of comments. The remaining events publish posts.
    pub comments: f64,
    /// The share of repeats. A repeat has the id and the user of an earlier event; a quarter of the
    /// repeats have other content.
    pub repeats: f64,
    /// The share of lines that are not valid events.
    pub malformed: f64,
    /// The share of events without an id.
    pub without_id: f64,
    /// The share of events without a timestamp.
    pub without_time: f64,
    /// The share of posts that nobody publishes. Every other post is published before any other
    /// event refers to it.
    pub unpublished: f64,
    /// Posts with their own rate of likes.
    pub steady: Vec<Steady>,
    /// Posts that become popular over hours.
    pub viral: Vec<Viral>,
    /// Groups of accounts that like one post together.
    pub farms: Vec<Farm>,
}

impl Default for TrafficOptions {
    /// 10,000 items of 1,000 users and 500 posts, 50 per second, from 2025-01-01 on.
    fn default() -> Self {
        TrafficOptions {
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

/// Defines a method for each option, which sets the field of the same name.
macro_rules! setters {
    ($($name:ident: $type:ty,)+) => {
        impl TrafficOptions {
            $(
                #[doc = concat!("Sets `", stringify!($name), "`.")]
                #[must_use]
                pub fn $name(mut self, $name: $type) -> Self {
                    self.$name = $name;
                    self
                }
            )+
        }
    };
}

setters! {
    seed: u64,
    count: u64,
    users: u32,
    posts: u32,
    zipf: f64,
    start: Timestamp,
    rate: f64,
    daily_rhythm: bool,
    likes: f64,
    unlikes: f64,
    comments: f64,
    repeats: f64,
    malformed: f64,
    without_id: f64,
    without_time: f64,
    unpublished: f64,
    steady: Vec<Steady>,
    viral: Vec<Viral>,
    farms: Vec<Farm>,
}

impl TrafficOptions {
    /// Sets `duration`.
    #[must_use]
    pub fn duration(mut self, duration: impl Into<Option<Duration>>) -> Self {
        self.duration = duration.into();
        self
    }
}

/// A post with its own rate of likes. Each like comes from another user.
#[derive(Debug, Clone, PartialEq)]
pub struct Steady {
    /// The post.
    pub post: PostId,
    /// Mean number of likes per second. It follows the daily rhythm.
    pub rate: f64,
}

/// A post that becomes popular. Its likes double at a steady pace up to a peak, stay there, and
/// fade. Each like comes from another user.
#[derive(Debug, Clone, PartialEq)]
pub struct Viral {
    /// The post.
    pub post: PostId,
    /// When it begins, as a time after the start of the traffic.
    pub start: Duration,
    /// Likes per second at its beginning. When the rate has faded to this value again, it ends.
    pub first_rate: f64,
    /// How long a doubling takes.
    pub doubling: Duration,
    /// Likes per second at the peak.
    pub peak_rate: f64,
    /// How long the rate stays at the peak.
    pub plateau: Duration,
    /// How long a halving takes after the peak.
    pub halving: Duration,
}

impl Viral {
    /// Starts with a like every 50 s, doubles every hour up to `peak_rate`, stays there for an
    /// hour, and halves every three hours.
    pub fn new(post: PostId, start: Duration, peak_rate: f64) -> Self {
        let hour = Duration::from_secs(3600);
        Viral { post, start, first_rate: 0.02, doubling: hour, peak_rate, plateau: hour, halving: 3 * hour }
    }
}

/// A group of accounts that like one post at the same time.
#[derive(Debug, Clone, PartialEq)]
pub struct Farm {
    /// The post.
    pub post: PostId,
    /// When it begins, as a time after the start of the traffic.
    pub start: Duration,
    /// How long it lasts.
    pub duration: Duration,
    /// By how much the farm multiplies the post's own rate of likes. The own rate is the sum of all
    /// other likes that the options give the post at that time.
    pub factor: f64,
    /// How many accounts there are. They are named `farm-0`, `farm-1`, and so on; all farms share
    /// them. Each account likes the post once. When all accounts have liked it, each takes its like
    /// back, and so on.
    pub accounts: u32,
}

impl Farm {
    /// Multiplies the post's own rate by ten for 60 s, with 2,000 accounts.
    pub fn new(post: PostId, start: Duration) -> Self {
        Farm { post, start, duration: Duration::from_secs(60), factor: 10.0, accounts: 2_000 }
    }
}
