//! `feedkit replay`, with one file for each step, on one directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::table::Step;
use super::{Backend, Grow, process};
use crate::events::Events;

pub struct Sqlite {
    program: PathBuf,
    arguments: Vec<String>,
    dir: TempDir,
    steps: u32,
    size: u64,
}

impl Sqlite {
    pub fn new(grow: &Grow) -> Result<Sqlite, Box<dyn std::error::Error>> {
        let program = grow.program.clone().unwrap_or_else(|| "target/release/feedkit".into());
        let dir = tempfile::tempdir()?;
        Ok(Sqlite { program, arguments: grow.arguments.clone(), dir, steps: 0, size: 0 })
    }
}

impl Backend for Sqlite {
    fn step(&mut self, events: &mut Events, count: u64) -> Result<Step, Box<dyn std::error::Error>> {
        self.steps += 1;
        let (data, file) =
            (self.dir.path().join("data"), self.dir.path().join(format!("{}.jsonl", self.steps)));
        events.write(count, &file)?;
        let mut replay = Command::new(&self.program);
        replay.arg("--data").arg(&data).args(["replay", "--json"]).args(&self.arguments).arg(&file);
        let ended = process::run(replay)?;
        fs::remove_file(&file)?;
        let size = size(&data)?;
        let written = size.saturating_sub(self.size);
        self.size = size;
        Ok(Step {
            events: count,
            took: ended.took,
            cpu: vec![("feedkit", ended.cpu)],
            memory: ended.memory,
            written,
            log: ended.log,
        })
    }
}

/// The size of all files under a directory, in bytes.
fn size(dir: &Path) -> std::io::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        sum += if meta.is_dir() { size(&entry.path())? } else { meta.len() };
    }
    Ok(sum)
}
