//! Measures how fast a follower without a position catches up from the journal.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use feedkit_core::history::JournalRead;
use feedkit_core::memory::MemoryCounters;
use feedkit_core::pipeline::CounterFollower;
use feedkit_core::trending::Trending;
use feedkit_core::{Follower, History};
use feedkit_store::sqlite::{Sqlite, SqliteOptions};

use crate::compare::median;

/// Applies the whole journal to counters in memory `runs` times.
pub fn catch_up(data: &Path, runs: usize) -> Result<(), Box<dyn std::error::Error>> {
    tokio::runtime::Runtime::new()?.block_on(async {
        let store = Sqlite::open_read_only(data, SqliteOptions::default()).await?;
        let history = Arc::new(store.history());
        let mut rates = Vec::new();
        for run in 1..=runs {
            let counters = MemoryCounters::new(Trending::default());
            let follower = CounterFollower::new("bench", counters, history.clone(), Trending::default());
            let (started, mut offsets, mut effects) = (Instant::now(), 0, 0);
            for (partition, end) in history.positions().await?.iter() {
                let mut at = 0;
                while at < end {
                    let JournalRead::Entries(entries) = history.journal(partition, at, 8_000).await? else {
                        return Err("the journal no longer reaches back to its beginning".into());
                    };
                    effects += entries.iter().map(|entry| entry.effects.len()).sum::<usize>();
                    at = follower.apply(partition, &entries).await?;
                }
                offsets += end;
            }
            let seconds = started.elapsed().as_secs_f64();
            println!("run {run}: {offsets} events, {effects} effects in {seconds:.2} s");
            rates.push(offsets as f64 / seconds);
        }
        println!("median {:.0} events/s", median(&mut rates));
        Ok(())
    })
}
