//! Measures how long the three standard rules take per effect with many keys.

use std::time::Instant;

use feedkit_alerts::rules::{Milestone, Spike, UserRate};
use feedkit_alerts::{AlertOptions, RuleRunner, RuleSet, RulesConfig};
use feedkit_core::alert_log::WholeStates;
use feedkit_core::effect::Effect;
use feedkit_core::{EventKind, PostId, Result, Timestamp, UserId};
use rand::{RngExt, SeedableRng};

/// Number of effects in a step.
const STEP: usize = 20_000;

/// Measures each rule alone, and all three together.
pub fn measure_all(keys: u32) -> Result<()> {
    let config = RulesConfig::default();
    let one = |name: &str| match name {
        "milestone" => Milestone::new(&config.milestone).map(|r| RuleSet::empty().with(r)),
        "spike" => Spike::new(&config.spike).map(|r| RuleSet::empty().with(r)),
        _ => UserRate::new(&config.user_rate).map(|r| RuleSet::empty().with(r)),
    };
    println!("{keys} users and {keys} posts, drawn evenly; steps of {STEP} effects");
    measure("hash only", &RuleSet::empty(), keys)?;
    for name in ["milestone", "spike", "user_rate"] {
        measure(name, &one(name)?, keys)?;
    }
    measure("all three", &RuleSet::standard(), keys)
}

fn measure(name: &str, set: &RuleSet, keys: u32) -> Result<()> {
    let mut rules = RuleRunner::new(set, &AlertOptions::default())?;
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    let names: Vec<_> = (0..keys).map(|k| (id(k, "u"), id(k, "p"))).collect();
    let (mut now, mut effects_run, mut spent) = (1_700_000_000_000i64, 0u64, std::time::Duration::ZERO);
    let warm = u64::from(keys) * 4;
    let total = warm + 4_000_000;
    while effects_run < total {
        let effects: Vec<_> = (0..STEP)
            .map(|i| Effect {
                offset: i as u64,
                user: UserId::new(&names[rng.random_range(0..keys) as usize].0)
                    .expect("the name is a valid id"),
                post: PostId::new(&names[rng.random_range(0..keys) as usize].1)
                    .expect("the name is a valid id"),
                kind: EventKind::Like,
                time: Timestamp::from_millis(now + i as i64),
            })
            .collect();
        now += STEP as i64;
        let begun = Instant::now();
        std::hint::black_box(rules.step(&effects, Timestamp::from_millis(now)));
        if effects_run >= warm {
            spent += begun.elapsed();
        }
        effects_run += STEP as u64;
    }
    let begun = Instant::now();
    let written = WholeStates::of(&rules.snapshot(Timestamp::from_millis(now))?)?;
    let bytes: usize = written.states.iter().map(|(_, bytes)| bytes.len()).sum();
    println!(
        "{name:10} {:6.1} ns per effect; {} states, snapshot of {:.1} MB and {} rows in {:?}",
        spent.as_nanos() as f64 / (effects_run - warm) as f64,
        rules.states(),
        bytes as f64 / 1e6,
        written.exact.len(),
        begun.elapsed()
    );
    Ok(())
}

fn id(k: u32, prefix: &str) -> String {
    format!("{prefix}{k}")
}
