//! Generated events for whole runs.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Writes `count` events to `out`. The same arguments write the same bytes.
pub fn write(
    count: u64,
    users: u32,
    posts: u32,
    seed: u64,
    out: &Path,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut sum = 0.0;
    let cumulated: Vec<f64> = (1..=posts)
        .map(|rank| {
            sum += f64::from(rank).powf(-1.1);
            sum
        })
        .collect();
    let mut file = BufWriter::new(File::create(out)?);
    for _ in 0..count {
        let user = rng.random_range(0..users);
        let at = rng.random::<f64>() * sum;
        let post = cumulated.partition_point(|c| *c < at);
        let kind = match rng.random::<f64>() {
            x if x < 0.9 => "like",
            x if x < 0.97 => "comment",
            _ => "post",
        };
        writeln!(file, "{{\"userId\":\"u{user}\",\"postId\":\"p{post}\",\"type\":\"{kind}\"}}")?;
    }
    Ok(file.flush()?)
}
