//! Trending scores: likes whose weight decreases with time.
//!
//! A score uses forward exponential decay (Cormode, Shkapenyuk, Srivastava and Xu, "Forward Decay:
//! A Practical Time Decay Model for Streaming Systems", ICDE 2009). A like at time `t` has the
//! constant weight `2^((t - landmark) / half-life)`. Scores are therefore plain sums, and comparing
//! two scores needs no clock. The landmark moves forward in *generations* of 64 half-lives, before
//! the weights exceed the range of a double.

use std::time::Duration;

use serde::Serialize;

use crate::Timestamp;

/// How many half-lives there are between two landmarks.
const GENERATION: i64 = 64;

/// How fast the weight of likes decreases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trending {
    half_life_ms: i64,
}

impl Default for Trending {
    /// The weight of a like halves every six hours.
    fn default() -> Self {
        Trending::new(Duration::from_secs(6 * 3600))
    }
}

/// A sum of weights, and the generation of the landmark that they are relative to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Default)]
pub struct Score {
    /// The generation. Its start is the landmark.
    pub generation: i64,
    /// The sum of the weights.
    pub value: f64,
}

impl Trending {
    /// Halves the weight of a like every `half_life`, which is at least one second.
    pub fn new(half_life: Duration) -> Self {
        let millis = i64::try_from(half_life.as_millis()).unwrap_or(i64::MAX / GENERATION);
        Trending { half_life_ms: millis.clamp(1000, i64::MAX / GENERATION) }
    }

    /// The generation that contains `time`.
    pub fn generation(&self, time: Timestamp) -> i64 {
        time.as_millis().div_euclid(self.half_life_ms * GENERATION)
    }

    /// The weight of one like at `time`.
    pub fn weight(&self, time: Timestamp) -> Score {
        let generation = self.generation(time);
        Score { generation, value: self.exponential(time, generation) }
    }

    /// The value of `score` at `now`: how many likes of this moment it equals.
    pub fn at(&self, score: Score, now: Timestamp) -> f64 {
        score.value / self.exponential(now, score.generation)
    }

    fn exponential(&self, time: Timestamp, generation: i64) -> f64 {
        let landmark = generation.saturating_mul(self.half_life_ms * GENERATION);
        let exponent = time.as_millis().saturating_sub(landmark) as f64 / self.half_life_ms as f64;
        // Beyond this limit the sum could exceed the range of a double. It is 450 half-lives from
        // the landmark.
        exponent.clamp(-450.0, 450.0).exp2()
    }
}

impl Score {
    /// Converts this score to the landmark of another generation.
    pub fn in_generation(self, generation: i64) -> Score {
        let apart = self.generation.saturating_sub(generation).saturating_mul(GENERATION);
        let factor = (apart.clamp(-1000, 450) as f64).exp2();
        Score { generation, value: self.value * factor }
    }

    /// Adds `sign` times `other`. The sum is relative to the later landmark of the two.
    pub fn add(&mut self, other: Score, sign: f64) {
        let generation =
            if self.value == 0.0 { other.generation } else { self.generation.max(other.generation) };
        let (a, b) = (self.in_generation(generation), other.in_generation(generation));
        *self = Score { generation, value: a.value + sign * b.value };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_like_counts_half_after_the_half_life() {
        let trending = Trending::default();
        let t = Timestamp::from_millis(1_795_500_000_000);
        let weight = trending.weight(t);
        for half_lives in [0, 1, 2, 70, 140] {
            let later = t.saturating_add(Duration::from_secs(6 * 3600 * half_lives));
            let expected = 0.5f64.powi(half_lives as i32);
            let got = trending.at(weight, later);
            assert!((got / expected - 1.0).abs() < 1e-9, "{half_lives}: {got} for {expected}");
        }
    }

    #[test]
    fn sums_do_not_depend_on_the_landmark() {
        let trending = Trending::default();
        let mut score = Score::default();
        let times: Vec<_> =
            (0..200).map(|d| Timestamp::from_millis(1_795_500_000_000 + d * 43_200_000)).collect();
        for t in &times {
            score.add(trending.weight(*t), 1.0);
        }
        let now = times[199];
        let expected: f64 = times.iter().map(|t| 0.5f64.powf(now.since(*t).as_secs_f64() / 21_600.0)).sum();
        assert!((trending.at(score, now) / expected - 1.0).abs() < 1e-9);
        let far = [
            Timestamp::from_millis(i64::MIN),
            Timestamp::EPOCH,
            Timestamp::MAX,
            Timestamp::from_millis(i64::MAX),
        ];
        for t in far {
            score.add(trending.weight(t), 1.0);
            assert!(score.value.is_finite() && trending.at(score, t).is_finite(), "{t}");
        }
    }
}
