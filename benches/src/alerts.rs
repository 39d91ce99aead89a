//! Measures how long the alert follower takes per effect during a catch-up, with backends in
//! memory.

use std::sync::Arc;
use std::time::Instant;

use feedkit_alerts::{AlertFollower, AlertOptions, RuleSet};
use feedkit_core::effect::Effect;
use feedkit_core::journal::JournalEntry;
use feedkit_core::memory::{MemoryAlertLog, MemoryHistory};
use feedkit_core::{EventKind, Follower, Partition, PostId, Result, SystemClock, Timestamp, UserId};
use rand::{RngExt, SeedableRng};

const PARTITIONS: usize = 4;
/// Number of effects in a call of `apply`.
const BATCH: usize = 20_000;
/// Number of effects in all.
const EFFECTS: usize = 4_000_000;

/// Applies batch after batch, one partition after the other.
pub async fn measure() -> Result<()> {
    let effects = EFFECTS;
    let (log, history) = (Arc::new(MemoryAlertLog::new()), Arc::new(MemoryHistory::new()));
    let set = RuleSet::standard();
    let follower = AlertFollower::new(log, history, set, Arc::new(SystemClock), AlertOptions::default())?;
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(11);
    let zipf: Vec<f64> = (1..=50_000)
        .scan(0.0, |sum, k| {
            *sum += f64::from(k).powf(-1.1);
            Some(*sum)
        })
        .collect();
    let mut made = [0u64; PARTITIONS];
    let (mut spent, mut slowest) = (std::time::Duration::ZERO, std::time::Duration::ZERO);
    follower.position(Partition(0)).await?;
    for batch in 0..effects / BATCH {
        let partition = batch % PARTITIONS;
        let from = made[partition];
        let effects: Vec<_> = (0..BATCH as u64)
            .map(|i| {
                let drawn = rng.random::<f64>() * zipf[zipf.len() - 1];
                let post = zipf.partition_point(|sum| *sum < drawn);
                Effect {
                    offset: from + i,
                    user: UserId::new(format!("u{}", rng.random_range(0..100_000)))
                        .expect("the name is a valid id"),
                    post: PostId::new(format!("p{post}")).expect("the name is a valid id"),
                    kind: EventKind::Like,
                    time: Timestamp::from_millis(
                        1_700_000_000_000 + ((from + i) * PARTITIONS as u64 + partition as u64) as i64,
                    ),
                }
            })
            .collect();
        made[partition] += BATCH as u64;
        let (to, epoch, at_end) = (made[partition], 1, false);
        let partition = Partition(partition as u32);
        let entry = Arc::new(JournalEntry { partition, from, to, epoch, at_end, effects });
        let begun = Instant::now();
        follower.apply(partition, &[entry]).await?;
        spent += begun.elapsed();
        slowest = slowest.max(begun.elapsed());
    }
    let begun = Instant::now();
    follower.close().await?;
    println!(
        "{effects} effects: {:.1} ns per effect, slowest call {slowest:?}, close {:?}",
        (spent + begun.elapsed()).as_nanos() as f64 / effects as f64,
        begun.elapsed()
    );
    Ok(())
}
