//! The rule that notices users who act faster than a person can.

use std::time::Duration;

use feedkit_alerts::RuleSet;
use feedkit_alerts::rules::{UserRate, UserRateConfig};
use feedkit_core::EventKind::{Comment, Like, Unlike};
use feedkit_core::notification::{Audience, Severity};
use rand::{RngExt, SeedableRng};

use crate::support::{Plain, effect, run};

fn set() -> RuleSet {
    RuleSet::empty().with(UserRate::new(&UserRateConfig::default()).unwrap())
}

/// `n` actions of several kinds, one every `every` milliseconds.
fn burst(n: usize, from: i64, every: i64) -> Vec<feedkit_core::effect::Effect> {
    (0..n)
        .map(|i| {
            effect("bot", &format!("p{i}"), [Like, Comment, Unlike][i % 3].clone(), from + i as i64 * every)
        })
        .collect()
}

#[test]
fn raises_at_the_31st_action_in_ten_seconds() {
    assert_eq!(run(&set(), burst(30, 1_000_000, 300)), []);
    assert_eq!(run(&set(), burst(300, 1_000_000, 350)), []);
    let raised = run(&set(), burst(31, 1_000_000, 290));
    assert_eq!(raised.len(), 1);
    let fraud = &raised[0];
    assert_eq!((fraud.kind.as_str(), fraud.severity), ("FRAUD", Severity::Critical));
    assert_eq!(fraud.audience, Audience::Role("moderator".into()));
    assert_eq!(fraud.id, format!("user_rate:bot:{}", 1_000_000 + 30 * 290));
    assert_eq!((&fraud.data["userId"], &fraud.data["rule"]), (&"bot".into(), &"user_rate".into()));
    assert_eq!((&fraud.data["rate"], &fraud.data["expected"]), (&3.1.into(), &3.0.into()));
}

#[test]
fn waits_for_the_cooldown_between_alerts_of_a_user() {
    // The user acts for 25 minutes without a break. There is an alert at once, after 10 minutes and
    // after 20 minutes.
    let raised = run(&set(), burst(15_000, 1_000_000, 100));
    assert_eq!(raised.len(), 3);
    let apart = raised[1].occurred_at.since(raised[0].occurred_at);
    assert!(apart >= Duration::from_secs(600) && apart < Duration::from_secs(601), "{apart:?}");
}

#[test]
fn events_a_millisecond_apart_by_many_users_raise_nothing() {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(11);
    let mut plain = Plain::new(&set(), 1_000);
    for i in 0..300_000 {
        let user = format!("u{}", rng.random_range(0..100_000));
        assert_eq!(plain.feed(effect(&user, &format!("p{i}"), Like, i)), []);
    }
    assert_eq!(plain.step(), []);
    assert!(plain.states() > 90_000);
}
