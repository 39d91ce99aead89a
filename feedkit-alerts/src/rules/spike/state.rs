//! The state of a post: its window and its baseline.

use serde::{Deserialize, Serialize};

use crate::rules::window::{BUCKETS, Left, Window};

/// The state that [`Spike`](super::Spike) keeps for each post. It takes 48 bytes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SpikeState {
    pub(super) window: Window<Phase>,
    /// When the last `FRAUD` was raised, in milliseconds. 0 if none was raised.
    pub(super) raised_at: i64,
    /// The baseline's likes: those of the buckets that have left the window, faded.
    pub(super) likes: f32,
    /// The number of those buckets, faded in the same way.
    pub(super) buckets: f32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    #[default]
    Quiet,
    /// The post is conspicuous, and its users are sampled.
    Elevated,
    /// `FRAUD` was raised and is not resolved.
    Raised,
}

impl SpikeState {
    /// Splits the state into its window and the function that adds a bucket to the baseline. The
    /// baseline fades by the factor `fading` with each bucket. It does not change if it is
    /// `frozen`.
    pub(super) fn with_baseline(
        &mut self,
        fading: f32,
        frozen: bool,
    ) -> (&mut Window<Phase>, impl FnMut(Left) + '_) {
        let SpikeState { window, likes, buckets, .. } = self;
        let leave = move |left| match left {
            _ if frozen => {}
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

    /// Compares the window with the baseline.
    pub(super) fn read(&self) -> Reading {
        let likes = f64::from(self.window.total());
        let sum = f64::from(self.likes);
        let windows = f64::from(self.buckets) / BUCKETS as f64;
        // Two standard deviations of the faded sum of a Poisson process are sqrt(2 sum). Two more
        // likes allow for posts with hardly any.
        Reading { likes, expected: sum / windows, bound: (sum + (2.0 * sum).sqrt() + 2.0) / windows }
    }
}

/// A window and its baseline.
pub(super) struct Reading {
    pub(super) likes: f64,
    /// The expected number of likes in a window: the baseline's mean.
    pub(super) expected: f64,
    /// The same at the baseline's upper confidence bound.
    pub(super) bound: f64,
}

impl Reading {
    /// The score of the rule's algorithm. 0 if the window is not above the bound.
    pub(super) fn score(&self) -> f64 {
        match self.likes > self.bound {
            true => self.likes * (self.likes / self.bound).ln() - (self.likes - self.bound),
            false => 0.0,
        }
    }
}
