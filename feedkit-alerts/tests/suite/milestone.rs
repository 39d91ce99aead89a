//! The rule that tells authors about milestones.

use feedkit_alerts::RuleSet;
use feedkit_alerts::rules::{Milestone, MilestoneConfig};
use feedkit_core::EventKind::{Like, Post, Unlike};
use feedkit_core::effect::Effect;
use feedkit_core::notification::{Audience, Notification, Severity};

use crate::support::{effect, run, user};

fn set(thresholds: &[i64]) -> RuleSet {
    let mut config = MilestoneConfig::default();
    config.thresholds = thresholds.to_vec();
    RuleSet::empty().with(Milestone::new(&config).unwrap())
}

fn ids(raised: &[Notification]) -> Vec<&str> {
    raised.iter().map(|n| n.id.as_str()).collect()
}

fn times(n: usize, kind: feedkit_core::EventKind) -> impl Iterator<Item = Effect> {
    (0..n).map(move |i| effect(&format!("u{i}"), "p", kind.clone(), i as i64))
}

#[test]
fn raises_each_threshold_once_whatever_is_unliked() {
    let mut all = vec![effect("author", "p", Post, 0)];
    all.extend(times(9, Like));
    assert_eq!(run(&set(&[10, 12]), all.clone()), []);
    for round in 0..3 {
        all.push(effect("x", "p", Like, 40 + 2 * round));
        all.push(effect("x", "p", Unlike, 41 + 2 * round));
    }
    all.extend([effect("x", "p", Like, 52), effect("y", "p", Like, 53), effect("y", "p", Unlike, 54)]);
    all.extend([effect("z", "p", Like, 55), effect("y", "p", Like, 56), effect("y", "p", Unlike, 57)]);
    let raised = run(&set(&[10, 12]), all);
    assert_eq!(ids(&raised), ["milestone:p:10", "milestone:p:12"]);
    let first = &raised[0];
    assert_eq!((first.kind.as_str(), first.severity), ("MILESTONE", Severity::Info));
    assert_eq!(first.audience, Audience::User(user("author")));
    assert_eq!(first.title, "Your post got 10 likes");
    assert_eq!((&first.data["postId"], &first.data["likes"]), (&"p".into(), &10.into()));
    assert_eq!((first.occurred_at.as_millis(), raised[1].occurred_at.as_millis()), (40, 56));
}

#[test]
fn waits_for_the_author() {
    let mut all: Vec<_> = times(1_001, Like).collect();
    all.extend(times(999, Unlike));
    assert_eq!(run(&set(&[10, 100, 1_000, 10_000]), all.clone()), []);
    all.extend([effect("first", "p", Post, 5_000), effect("second", "p", Post, 5_001)]);
    all.extend(times(100, Like));
    let raised = run(&set(&[10, 100, 1_000, 10_000]), all);
    assert_eq!(ids(&raised), ["milestone:p:10", "milestone:p:100", "milestone:p:1000"]);
    assert!(raised.iter().all(|n| n.audience == Audience::User(user("first"))));
    assert!(raised.iter().all(|n| n.occurred_at.as_millis() == 5_000));
}

#[test]
fn the_powers_of_ten_are_the_default() {
    let rules = RuleSet::empty().with(Milestone::new(&MilestoneConfig::default()).unwrap());
    let all = std::iter::once(effect("author", "p", Post, 0)).chain(times(1_234, Like));
    assert_eq!(ids(&run(&rules, all)), ["milestone:p:10", "milestone:p:100", "milestone:p:1000"]);
}
