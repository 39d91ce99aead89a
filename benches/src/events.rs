//! Generated events for whole runs.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Endless events of `users` users, drawn evenly, on `posts` posts, drawn by Zipf's law with the
/// exponent 1.1. The same arguments draw the same events.
pub struct Events {
    rng: ChaCha8Rng,
    users: u32,
    /// The posts' weights, each added to those before.
    cumulated: Vec<f64>,
}

/// One event.
pub struct Drawn {
    pub user: String,
    pub json: String,
}

impl Events {
    pub fn new(users: u32, posts: u32, seed: u64) -> Events {
        let mut sum = 0.0;
        let cumulated = (1..=posts)
            .map(|rank| {
                sum += f64::from(rank).powf(-1.1);
                sum
            })
            .collect();
        Events { rng: ChaCha8Rng::seed_from_u64(seed), users, cumulated }
    }

    /// Draws the next event.
    pub fn draw(&mut self) -> Drawn {
        let user = format!("u{}", self.rng.random_range(0..self.users));
        let at = self.rng.random::<f64>() * self.cumulated.last().copied().unwrap_or_default();
        let post = self.cumulated.partition_point(|c| *c < at);
        let kind = match self.rng.random::<f64>() {
            x if x < 0.9 => "like",
            x if x < 0.97 => "comment",
            _ => "post",
        };
        let json = format!("{{\"userId\":\"{user}\",\"postId\":\"p{post}\",\"type\":\"{kind}\"}}");
        Drawn { user, json }
    }

    /// Writes the next `count` events to the file `out`, one on each line.
    pub fn write(&mut self, count: u64, out: &Path) -> std::io::Result<()> {
        let mut file = BufWriter::new(File::create(out)?);
        for _ in 0..count {
            writeln!(file, "{}", self.draw().json)?;
        }
        file.flush()
    }
}
