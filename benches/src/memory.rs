//! Measures the resident memory of a `feedkit replay` from beginning to end.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Prints the resident memory twice a second, then the maximum and the summary.
pub fn series(file: &Path, feedkit: &Path, data: Option<&Path>) -> Result<(), Box<dyn std::error::Error>> {
    let temporary = tempfile::tempdir()?;
    let data = data.unwrap_or(temporary.path());
    let mut replay = Command::new(feedkit)
        .arg("--data")
        .arg(data)
        .args(["replay", "--json"])
        .arg(file)
        .stdout(Stdio::piped())
        .spawn()?;
    let started = Instant::now();
    let mut max = 0.0f64;
    println!("seconds  resident MiB");
    while replay.try_wait()?.is_none() {
        std::thread::sleep(Duration::from_millis(500));
        if let Some(mib) = resident_mib(replay.id()) {
            max = max.max(mib);
            println!("{:7.1}  {mib:12.1}", started.elapsed().as_secs_f64());
        }
    }
    let output = replay.wait_with_output()?;
    println!("maximum: {max:.1} MiB");
    print!("{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}

fn resident_mib(process: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}
