//! Runs `feedkit replay` and the plain program in turn, so that changes of the machine's speed
//! affect both.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::baseline;

/// Runs each of them `runs` times. Prints the ratio of each pair, and the medians.
pub fn compare(file: &Path, feedkit: &Path, runs: usize) -> Result<(), Box<dyn std::error::Error>> {
    let (mut ours, mut plain, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for run in 1..=runs {
        let dir = tempfile::tempdir()?;
        let started = Instant::now();
        let output = Command::new(feedkit)
            .arg("--data")
            .arg(dir.path())
            .args(["replay", "--json"])
            .arg(file)
            .output()?;
        let seconds = started.elapsed().as_secs_f64();
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        let summary: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let events = summary["read"].as_u64().unwrap_or(0);
        // This measures the whole process with its start and its end, as for the plain program.
        let ours_now = events as f64 / seconds;
        let dir = tempfile::tempdir()?;
        let plain_now = baseline::run(file, dir.path(), 5_000, false)?.per_second();
        println!(
            "run {run}: feedkit {ours_now:.0} events/s, plain {plain_now:.0} events/s, ratio {:.2}",
            ours_now / plain_now
        );
        ours.push(ours_now);
        plain.push(plain_now);
        ratios.push(ours_now / plain_now);
    }
    println!("feedkit replay: median {:.0} events/s", median(&mut ours));
    println!("plain program:  median {:.0} events/s", median(&mut plain));
    println!(
        "ratio: median {:.2}, from {:.2} to {:.2}",
        median(&mut ratios),
        ratios.iter().copied().fold(f64::INFINITY, f64::min),
        ratios.iter().copied().fold(0.0, f64::max)
    );
    Ok(())
}

/// The median.
pub fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
