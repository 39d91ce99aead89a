//! Runs a program and measures it, and measures the services that it uses. Reads Linux's `/proc`.

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A program that has ended.
pub struct Ended {
    pub took: Duration,
    pub cpu: Duration,
    /// The largest resident memory, in bytes.
    pub memory: u64,
    pub log: String,
}

/// Runs a program to its end. Fails if the program fails.
pub fn run(mut command: Command) -> Result<Ended, Box<dyn std::error::Error>> {
    let mut log = tempfile::tempfile()?;
    let before = of_ended_children()?;
    let started = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(log.try_clone()?).spawn()?;
    let mut memory = 0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        memory = peak(child.id()).unwrap_or(memory);
        std::thread::sleep(Duration::from_millis(20));
    };
    let took = started.elapsed();
    let mut text = String::new();
    std::io::Seek::rewind(&mut log)?;
    log.read_to_string(&mut text)?;
    if !status.success() {
        return Err(format!("{command:?} ended with {status}:\n{text}").into());
    }
    Ok(Ended { took, cpu: of_ended_children()?.saturating_sub(before), memory, log: text })
}

/// The process that listens on a port of this machine.
pub fn listening_on(port: u16) -> Option<u32> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|file| {
        fs::read_to_string(file).ok()?.lines().skip(1).find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let local = fields.get(1)?.rsplit(':').next()?;
            // State 0A is LISTEN.
            let listens = fields.get(3) == Some(&"0A") && u16::from_str_radix(local, 16) == Ok(port);
            listens.then(|| fields.get(9).map(|inode| format!("socket:[{inode}]"))).flatten()
        })
    })?;
    processes().find(|process| {
        fs::read_dir(format!("/proc/{process}/fd")).is_ok_and(|files| {
            files.flatten().any(|file| {
                fs::read_link(file.path()).is_ok_and(|target| target.to_str() == Some(inode.as_str()))
            })
        })
    })
}

/// The CPU time of a process, of its children, and of those that it has waited for.
pub fn cpu_of_tree(process: u32) -> Duration {
    let children = processes().filter(|child| stat(*child).is_some_and(|stat| stat.parent == process));
    let ticks = |process| stat(process).map_or(0, |stat| stat.own + stat.waited_for);
    seconds(ticks(process) + children.map(ticks).sum::<u64>())
}

/// What `/proc/PID/stat` says, times in ticks of 10 ms.
struct Stat {
    parent: u32,
    own: u64,
    waited_for: u64,
}

fn stat(process: u32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
}

fn parse(text: &str) -> Option<Stat> {
    // The name in parentheses may contain spaces.
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field)?.parse::<u64>().ok();
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        own: ticks(11)? + ticks(12)?,
        waited_for: ticks(13)? + ticks(14)?,
    })
}

fn of_ended_children() -> std::io::Result<Duration> {
    let own = fs::read_to_string("/proc/self/stat")?;
    Ok(seconds(parse(&own).map_or(0, |stat| stat.waited_for)))
}

fn seconds(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 10)
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn peak(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}
