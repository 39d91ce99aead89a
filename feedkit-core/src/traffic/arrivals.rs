//! The times of items: Poisson arrivals whose rate changes with time.

use std::f64::consts::TAU;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{TrafficOptions, Viral};
use crate::PostId;

/// Rates as functions of seconds since the traffic's start.
pub(super) struct Rates<'c> {
    pub(super) options: &'c TrafficOptions,
    /// The sum of all posts' Zipf weights.
    pub(super) zipf_total: f64,
}

/// A stream of items. All streams run at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Base,
    Steady(usize),
    Viral(usize),
    Farm(usize),
}

/// A span of time in seconds since the start, and the highest rate within it.
pub(super) struct Span {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) highest: f64,
}

impl Rates<'_> {
    pub(super) fn at(&self, origin: Origin, t: f64) -> f64 {
        let o = self.options;
        match origin {
            Origin::Base => o.rate * self.rhythm(t),
            Origin::Steady(i) => o.steady[i].rate * self.rhythm(t),
            Origin::Viral(i) => o.viral[i].rate(t),
            Origin::Farm(i) => (o.farms[i].factor - 1.0).max(0.0) * self.own(&o.farms[i].post, t),
        }
    }

    pub(super) fn span(&self, origin: Origin) -> Span {
        let o = self.options;
        let swing = if o.daily_rhythm { 1.75 } else { 1.0 };
        let always = |rate: f64| Span { from: 0.0, to: f64::INFINITY, highest: rate * swing };
        match origin {
            Origin::Base => always(o.rate),
            Origin::Steady(i) => always(o.steady[i].rate),
            Origin::Viral(i) => {
                let viral = &o.viral[i];
                Span { from: viral.start.as_secs_f64(), to: viral.end(), highest: viral.peak_rate }
            }
            Origin::Farm(i) => {
                let farm = &o.farms[i];
                let from = farm.start.as_secs_f64();
                let own = self.base_share(&farm.post) * o.rate * swing
                    + o.steady.iter().filter(|s| s.post == farm.post).map(|s| s.rate * swing).sum::<f64>()
                    + o.viral.iter().filter(|v| v.post == farm.post).map(|v| v.peak_rate).sum::<f64>();
                Span {
                    from,
                    to: from + farm.duration.as_secs_f64(),
                    highest: own * (farm.factor - 1.0).max(0.0),
                }
            }
        }
    }

    /// Likes per second of one post, without those of farms.
    fn own(&self, post: &PostId, t: f64) -> f64 {
        let o = self.options;
        let steady: f64 = o.steady.iter().filter(|s| s.post == *post).map(|s| s.rate).sum();
        let viral: f64 = o.viral.iter().filter(|v| v.post == *post).map(|v| v.rate(t)).sum();
        (self.base_share(post) * o.rate + steady) * self.rhythm(t) + viral
    }

    /// The share of base events that are likes of `post`.
    fn base_share(&self, post: &PostId) -> f64 {
        let o = self.options;
        let rank = post.as_str().strip_prefix('p').and_then(|k| k.parse::<u32>().ok());
        match rank.filter(|k| *k < o.posts) {
            Some(k) => (f64::from(k) + 1.0).powf(-o.zipf) / self.zipf_total * o.likes,
            None => 0.0,
        }
    }

    fn rhythm(&self, t: f64) -> f64 {
        match self.options.daily_rhythm {
            // The rate is lowest at the traffic's start and highest twelve hours later.
            true => 1.0 - 0.75 * (t / 86_400.0 * TAU).cos(),
            false => 1.0,
        }
    }
}

impl Viral {
    fn rise(&self) -> f64 {
        (self.peak_rate / self.first_rate).log2().max(0.0) * self.doubling.as_secs_f64()
    }

    fn end(&self) -> f64 {
        let fade = (self.peak_rate / self.first_rate).log2().max(0.0) * self.halving.as_secs_f64();
        self.start.as_secs_f64() + self.rise() + self.plateau.as_secs_f64() + fade
    }

    fn rate(&self, t: f64) -> f64 {
        let t = t - self.start.as_secs_f64();
        let (rise, plateau) = (self.rise(), self.plateau.as_secs_f64());
        if t < 0.0 {
            0.0
        } else if t < rise {
            self.first_rate * (t / self.doubling.as_secs_f64()).exp2()
        } else if t < rise + plateau {
            self.peak_rate
        } else {
            let rate = self.peak_rate * (-(t - rise - plateau) / self.halving.as_secs_f64()).exp2();
            if rate < self.first_rate { 0.0 } else { rate }
        }
    }
}

/// The next arrival after `t` of a Poisson process with this rate, found by thinning one with the
/// highest rate.
pub(super) fn next_arrival(
    rng: &mut ChaCha8Rng,
    mut t: f64,
    span: &Span,
    rate: impl Fn(f64) -> f64,
) -> Option<f64> {
    if span.highest <= 0.0 {
        return None;
    }
    t = t.max(span.from);
    loop {
        // 1 - x lies in (0, 1], so that the logarithm is finite.
        t -= (1.0 - rng.random::<f64>()).ln() / span.highest;
        if t >= span.to {
            return None;
        }
        if rng.random::<f64>() * span.highest < rate(t) {
            return Some(t);
        }
    }
}
