//! The rule that notices spikes of likes.

use std::time::Duration;

use feedkit_alerts::RuleSet;
use feedkit_alerts::rules::{Spike, SpikeConfig};
use feedkit_core::effect::Effect;
use feedkit_core::notification::{Audience, Notification, Severity};
use feedkit_core::traffic::{Farm, Steady, TrafficOptions, Viral};
use feedkit_core::{EventKind, Timestamp};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::{Plain, by_seed, effect, effects, post, run};

fn set() -> RuleSet {
    RuleSet::empty().with(Spike::new(&SpikeConfig::default()).unwrap())
}

/// A day of traffic with a daily rhythm: posts by a Zipf distribution, posts with a steady rate,
/// and three that go viral over hours.
fn ordinary(seed: u64) -> TrafficOptions {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x5eed);
    let hours = |h: f64| Duration::from_secs_f64(h * 3600.0);
    let mut viral = |name: &str, peak: f64| Viral {
        first_rate: 0.02,
        doubling: hours(rng.random_range(0.25..1.0)),
        plateau: hours(rng.random_range(0.5..2.0)),
        halving: hours(rng.random_range(1.0..3.0)),
        ..Viral::new(post(name), hours(rng.random_range(0.0..10.0)), peak)
    };
    TrafficOptions::default()
        .seed(seed)
        .count(u64::MAX)
        .duration(hours(24.0))
        .users(20_000)
        .posts(2_000)
        .rate(0.1)
        .daily_rhythm(true)
        .viral(vec![viral("v1", 0.5), viral("v2", 1.0), viral("v3", 2.0)])
        .steady(vec![
            Steady { post: post("s1"), rate: 0.05 },
            Steady { post: post("s2"), rate: 0.2 },
            Steady { post: post("s3"), rate: 0.4 },
        ])
}

#[test]
fn ordinary_traffic_raises_nothing() {
    let raised = by_seed(1..21, |seed| {
        let mut plain = Plain::new(&set(), 200);
        let (mut count, mut raised) = (0u64, Vec::new());
        for (effect, _) in effects(&ordinary(seed)) {
            count += 1;
            raised.extend(plain.feed(effect));
        }
        raised.extend(plain.step());
        (seed, count, raised)
    });
    let effects: u64 = raised.iter().map(|(_, count, _)| count).sum();
    println!("{effects} effects of 20 seeds");
    for (seed, count, raised) in &raised {
        assert!(*count > 50_000, "seed {seed} made only {count} effects");
        assert!(raised.is_empty(), "seed {seed}: {raised:?}");
    }
}

/// An hour in which six farms act, one after the other, on posts with different rates.
fn farmed(seed: u64) -> TrafficOptions {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0xfa12);
    let (mut steady, mut farms) = (Vec::new(), Vec::new());
    for i in 0..6u64 {
        let name = format!("s{i}");
        // The rates are from 0.3 to 3 likes a second, evenly on a logarithmic scale.
        let rate = 0.3 * 10f64.powf(rng.random());
        steady.push(Steady { post: post(&name), rate });
        let start = Duration::from_secs_f64(600.0 + 500.0 * i as f64 + rng.random_range(0.0..250.0));
        farms.push(Farm::new(post(&name), start));
    }
    TrafficOptions::default()
        .seed(seed)
        .count(u64::MAX)
        .duration(Duration::from_secs(3_600))
        .users(20_000)
        .posts(2_000)
        .rate(1.0)
        .steady(steady)
        .farms(farms)
}

#[test]
fn detects_farms_within_ten_seconds() {
    let latencies = by_seed(1..21, |seed| {
        let config = farmed(seed);
        let raised = run(&set(), effects(&config).map(|(effect, _)| effect));
        let fraud: Vec<_> = raised.iter().filter(|n| n.kind == "FRAUD").collect();
        let mut of_farms = 0;
        let found: Vec<Option<Duration>> = config
            .farms
            .iter()
            .map(|farm| {
                let start = config.start.saturating_add(farm.start);
                let until = start.saturating_add(farm.duration);
                let hit = fraud.iter().find(|n| {
                    n.data["postId"] == farm.post.as_str() && (start..until).contains(&n.occurred_at)
                })?;
                of_farms += 1;
                Some(hit.occurred_at.since(start))
            })
            .collect();
        assert_eq!(fraud.len(), of_farms, "seed {seed}: an alert is not for a farm: {fraud:?}");
        let resolved = raised.iter().filter(|n| n.kind == "FRAUD_RESOLVED").count();
        assert_eq!(resolved, fraud.len(), "seed {seed}: every episode ends");
        found
    });
    let all: Vec<_> = latencies.into_iter().flatten().collect();
    let mut found: Vec<_> = all.iter().flatten().copied().collect();
    found.sort();
    let within = found.iter().filter(|l| **l <= Duration::from_secs(10)).count();
    let quantile = |q: f64| found[((found.len() - 1) as f64 * q) as usize];
    println!(
        "{} farms, {} found, {within} within 10 s; latency min {:?}, median {:?}, 95 % {:?}, max {:?}",
        all.len(),
        found.len(),
        quantile(0.0),
        quantile(0.5),
        quantile(0.95),
        quantile(1.0)
    );
    assert_eq!(all.len(), 120);
    assert!(within * 100 >= all.len() * 95, "{within} of {} farms within 10 s", all.len());
}

/// Likes of a post at random times with this rate, each by another user.
fn likes(rng: &mut ChaCha8Rng, from: f64, to: f64, rate: f64, who: &str) -> Vec<Effect> {
    let (mut t, mut likes) = (from, Vec::new());
    loop {
        t -= (1.0 - rng.random::<f64>()).ln() / rate;
        if t >= to {
            return likes;
        }
        likes.push(effect(&format!("{who}{}", likes.len()), "p", EventKind::Like, (t * 1000.0) as i64));
    }
}

/// Twenty minutes at one like a second, with a farm from minute ten to eleven.
fn one_farm(seed: u64) -> Vec<Effect> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut all = likes(&mut rng, 1_000.0, 2_200.0, 1.0, "u");
    all.extend(likes(&mut rng, 1_600.0, 1_660.0, 9.0, "farm"));
    all.sort_by_key(|e| e.time);
    all
}

fn kinds(raised: &[Notification]) -> Vec<&str> {
    raised.iter().map(|n| n.kind.as_str()).collect()
}

#[test]
fn raises_each_episode_once_with_evidence_and_resolves_it() {
    for seed in 0..20 {
        let raised = run(&set(), one_farm(seed));
        assert_eq!(kinds(&raised), ["FRAUD", "FRAUD_RESOLVED"], "seed {seed}");
        let (fraud, resolved) = (&raised[0], &raised[1]);
        assert_eq!(
            (fraud.severity, &fraud.audience),
            (Severity::Critical, &Audience::Role("moderator".into()))
        );
        assert_eq!(fraud.id, format!("spike:p:{}", fraud.occurred_at.as_millis()));
        assert_eq!(resolved.id, format!("{}:resolved", fraud.id));
        assert_eq!(
            (&fraud.data["postId"], &fraud.data["rule"], &fraud.data["window"]),
            (&"p".into(), &"spike".into(), &"10s".into())
        );
        let number = |field: &str| fraud.data[field].as_f64().unwrap();
        assert!((0.7..1.4).contains(&number("expected")), "seed {seed}: {fraud:?}");
        assert!(
            number("rate") > 3.0 * number("expected") && number("score") >= 22.0,
            "seed {seed}: {fraud:?}"
        );
        let sample = fraud.data["sampleUsers"].as_array().unwrap();
        let farm = sample.iter().filter(|user| user.as_str().unwrap().starts_with("farm")).count();
        assert!(sample.len() >= 5 && farm * 2 > sample.len(), "seed {seed}: {sample:?}");
        // Ten seconds after the farm's end, its likes have left the window.
        let end = Timestamp::from_millis(1_660_000);
        let latest = end.saturating_add(Duration::from_secs(15));
        assert!(resolved.occurred_at >= end && resolved.occurred_at <= latest, "seed {seed}: {resolved:?}");
    }
}

#[test]
fn detects_farms_in_late_and_disordered_effects() {
    for seed in 0..20 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut all = one_farm(seed);
        // Each effect arrives up to five seconds late, and one in fifty a minute late.
        let mut arrival = |e: &Effect| {
            let late = if rng.random_range(0..50) == 0 { 60_000 } else { rng.random_range(0..5_000) };
            e.time.as_millis() + late
        };
        all.sort_by_cached_key(&mut arrival);
        let mut plain = Plain::new(&set(), 0);
        let mut raised: Vec<_> = all.into_iter().flat_map(|e| plain.feed(e)).collect();
        raised.extend(plain.step());
        assert_eq!(kinds(&raised), ["FRAUD", "FRAUD_RESOLVED"], "seed {seed}");
        let latency = raised[0].occurred_at.since(Timestamp::from_millis(1_600_000));
        assert!(latency <= Duration::from_secs(10), "seed {seed}: {latency:?}");
    }
}

#[test]
fn detects_farms_after_an_event_whose_clock_is_ahead() {
    for seed in 0..20 {
        let mut all = one_farm(seed);
        let place = all.iter().position(|e| e.time.as_millis() >= 1_595_000).unwrap();
        all.insert(place, effect("ahead", "p", EventKind::Like, 1_595_000 + 300_000));
        let mut plain = Plain::new(&set(), 0);
        let raised: Vec<_> = all.into_iter().flat_map(|e| plain.feed(e)).collect();
        let latency = raised[0].occurred_at.since(Timestamp::from_millis(1_600_000));
        assert_eq!(raised[0].kind, "FRAUD", "seed {seed}");
        assert!(latency <= Duration::from_secs(12), "seed {seed}: {latency:?}");
    }
}

#[test]
fn waits_for_the_cooldown_between_alerts_of_a_post() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut all = likes(&mut rng, 1_000.0, 4_000.0, 1.0, "u");
    for (start, name) in [(1_600.0, "a"), (1_900.0, "b"), (2_500.0, "c")] {
        all.extend(likes(&mut rng, start, start + 60.0, 12.0, name));
    }
    all.sort_by_key(|e| e.time);
    let raised = run(&set(), all);
    assert_eq!(kinds(&raised), ["FRAUD", "FRAUD_RESOLVED", "FRAUD", "FRAUD_RESOLVED"]);
    let second = raised[2].occurred_at.as_millis();
    assert!((2_500_000..2_510_000).contains(&second), "no alert for the farm within the cooldown: {second}");
}

#[test]
fn unlikes_do_not_count() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let mut all = likes(&mut rng, 1_000.0, 2_200.0, 1.0, "u");
    let back = likes(&mut rng, 1_600.0, 1_660.0, 20.0, "farm");
    all.extend(back.into_iter().map(|e| Effect { kind: EventKind::Unlike, ..e }));
    all.sort_by_key(|e| e.time);
    assert_eq!(run(&set(), all), []);
}

#[test]
fn does_not_judge_a_new_post() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut all = likes(&mut rng, 1_000.0, 1_100.0, 0.5, "u");
    all.extend(likes(&mut rng, 1_100.0, 1_160.0, 30.0, "v"));
    assert_eq!(run(&set(), all), []);
}
