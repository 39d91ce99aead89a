//! Kills processors at every stage, again and again, under traffic, and compares the stores with
//! the model.
//!
//! `FEEDKIT_SERVICE_KILLS` sets how many kills (50). `FEEDKIT_SEED` repeats the choices of a run.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use feedkit_core::failpoint::stage;
use feedkit_test_programs::{Ended, Process};
use feedkit_test_services::{apply, eventually, needs_services};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustix::process::Signal;

use crate::answers::address;
use crate::oracle::{judge, totals};
use crate::traffic::{Flow, lively, seed};
use crate::world::{SESSION, TURN, World};

/// Stages that a working processor reaches. `ingest` belongs to the embedded log, and `retention`
/// comes at the end.
const AT_WORK: [&str; 7] = [
    stage::REBUILD,
    stage::BEFORE_COMMIT,
    stage::AFTER_COMMIT,
    stage::FOLLOWER,
    stage::ALERT_STEP,
    stage::SNAPSHOT,
    stage::RELAY,
];

/// With the first of them, or without.
fn stages(with_rebuild: bool) -> &'static [&'static str] {
    if with_rebuild { &AT_WORK } else { &AT_WORK[1..] }
}

/// Kills at no particular stage.
const AT_RANDOM: &str = "at random";
/// Stops a processor for longer than the session time-out, continues it, and kills it then.
const ZOMBIE: &str = "as a zombie";
/// How often each stage is hit at least.
const EACH: u64 = 2;
/// How many kills a world suffers before its stores are checked.
const CAMPAIGN: u64 = 60;
/// How long to wait for a stage. Not every life reaches every stage.
const PATIENCE: Duration = Duration::from_secs(4);

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_stage_processors_lose_and_repeat_nothing() {
    let _turn = TURN.lock().await;
    let kills = number("FEEDKIT_SERVICE_KILLS").unwrap_or(50);
    let mut rng = ChaCha8Rng::seed_from_u64(seed());
    let tally = Tally::default();
    for campaign in 0.. {
        if tally.total() >= kills && tally.least() >= EACH.min(kills / 25) {
            break;
        }
        let world = World::new().await;
        // Every fourth world uses the other group protocol, which notices a dead member later.
        let world = match campaign % 4 {
            3 => world.set("GROUP_PROTOCOL", "consumer"),
            _ => world,
        };
        let from = tally.total();
        let until = (from + CAMPAIGN).min(kills.max(from + 10));
        Campaign { world, tally: &tally, from, until }.run(&mut rng).await;
    }
    println!("kills by stage:\n{tally}");
}

struct Campaign<'t> {
    world: World,
    tally: &'t Tally,
    /// The number of kills before this world and at its end.
    from: u64,
    until: u64,
}

impl Campaign<'_> {
    async fn run(&self, rng: &mut ChaCha8Rng) {
        let flow = Flow::start(&self.world.events, &lively(rng.next_u64()), 40, Duration::from_millis(50));
        let (wanted, done) = (AtomicUsize::new(rng.random_range(1..=3)), AtomicBool::new(false));
        let slots = [0, 1, 2].map(|slot| (slot, ChaCha8Rng::seed_from_u64(rng.next_u64())));
        let mut changes = ChaCha8Rng::seed_from_u64(rng.next_u64());
        let [one, two, three] = slots.map(|(slot, rng)| self.live(slot, rng, &wanted, &done));
        // One to three processors at a time. Now and then Redis loses everything.
        let changing = async {
            while !done.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(500)).await;
                if changes.random_bool(0.1) {
                    wanted.store(changes.random_range(1..=3), Ordering::Relaxed);
                }
                if self.share_done() < 0.6 && changes.random_bool(0.1) {
                    self.world.redis.ask::<()>("FLUSHALL").await;
                }
            }
        };
        tokio::join!(one, two, three, changing);
        println!("{} items sent", flow.stop().await);
        self.world.catch_up().await;
        judge(&self.world).await;
        self.drop_months().await;
    }

    /// Runs processors one after the other: as soon as one has ended, the next starts.
    async fn live(&self, slot: usize, mut rng: ChaCha8Rng, wanted: &AtomicUsize, done: &AtomicBool) {
        loop {
            if self.tally.total() >= self.until && self.tally.least_of(stages(false)) >= EACH {
                done.store(true, Ordering::Relaxed);
            }
            if done.load(Ordering::Relaxed) {
                return;
            }
            if slot >= wanted.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
            match rng.random_range(0..10) {
                0 => self.asked_to_stop(&mut rng).await,
                1 => self.zombie(&mut rng).await,
                2 | 3 => self.killed_at_random(&mut rng).await,
                // A rebuild corrects whatever was wrong before, so it comes early.
                _ => match self.tally.neediest(stages(self.share_done() < 0.4), &mut rng) {
                    stage::REBUILD => self.killed_in_a_rebuild(&mut rng).await,
                    stage => self.killed_at(stage, &mut rng).await,
                },
            }
        }
    }

    /// The share of this campaign that is over.
    fn share_done(&self) -> f64 {
        (self.tally.total() - self.from) as f64 / (self.until - self.from) as f64
    }

    async fn killed_at(&self, stage: &'static str, rng: &mut ChaCha8Rng) {
        // Early and late in a life.
        let nth = match stage {
            stage::RELAY => rng.random_range(1..=2),
            stage::SNAPSHOT => 1,
            _ if rng.random_bool(0.5) => 1,
            _ => rng.random_range(2..=8),
        };
        let mut process = Process::start(&mut self.armed(&[], stage, nth));
        if stage == stage::SNAPSHOT {
            // A snapshot is written at a stop. A signal before the processor listens for it ends
            // the process at once.
            address(&mut process).await;
            let after = Duration::from_millis(rng.random_range(300..2500));
            ended_within(&mut process, after).await;
            process.signal(Signal::TERM);
        } else if !ended_within(&mut process, PATIENCE).await {
            process.signal(Signal::KILL);
            self.died(process.ended().await, AT_RANDOM);
            return;
        }
        let ended = process.ended().await;
        if ended.stderr.contains(&format!("failpoint {stage}")) {
            self.died(ended, stage);
        } else {
            assert!(stage == stage::SNAPSHOT && ended.status.success(), "{stage}:{nth}: {ended}");
        }
    }

    /// A rebuild by command beside running processors, or one that a processor starts by itself.
    async fn killed_in_a_rebuild(&self, rng: &mut ChaCha8Rng) {
        let args: &[&str] = match rng.random_range(0..3) {
            0 => &["rebuild", "counters"],
            1 => &["rebuild", "rollups"],
            _ => {
                self.world.ok(&["after-restore"]).await;
                &[]
            }
        };
        let nth = rng.random_range(1..=3);
        let mut process = Process::start(&mut self.armed(args, stage::REBUILD, nth));
        if !ended_within(&mut process, PATIENCE).await {
            process.signal(Signal::KILL);
        }
        let ended = process.ended().await;
        if ended.stderr.contains("failpoint rebuild") {
            self.died(ended, stage::REBUILD);
        } else if ended.status.signal().is_some() {
            self.died(ended, AT_RANDOM);
        } else {
            // The stage may not be reached, because another process may be rebuilding already.
            assert!(!args.is_empty(), "{ended}");
        }
    }

    async fn killed_at_random(&self, rng: &mut ChaCha8Rng) {
        let mut process = Process::start(&mut self.world.command(&[]));
        let after = Duration::from_millis(rng.random_range(20..2500));
        assert!(!ended_within(&mut process, after).await, "{}", process.ended().await);
        self.died(process.kill(), AT_RANDOM);
    }

    async fn asked_to_stop(&self, rng: &mut ChaCha8Rng) {
        let mut process = Process::start(&mut self.world.command(&[]));
        // A signal before the processor listens for it ends the process at once.
        if address(&mut process).await.is_none() {
            panic!("{}", process.ended().await);
        }
        ended_within(&mut process, Duration::from_millis(rng.random_range(0..2000))).await;
        process.stop().await;
    }

    /// A processor that is stopped, misses that its partitions now belong to another, and
    /// continues.
    async fn zombie(&self, rng: &mut ChaCha8Rng) {
        let mut process = Process::start(&mut self.world.command(&[]));
        let mut wait = async |low: u64, high: u64, process: &mut Process| {
            let time = Duration::from_millis(rng.random_range(low..high));
            assert!(!ended_within(process, time).await, "it has ended: {}", process.stderr());
        };
        wait(500, 2000, &mut process).await;
        process.signal(Signal::STOP);
        let beyond = SESSION.as_millis() as u64;
        wait(beyond + 200, beyond + 1500, &mut process).await;
        process.signal(Signal::CONT);
        wait(200, 1500, &mut process).await;
        self.died(process.kill(), ZOMBIE);
    }

    fn died(&self, ended: Ended, how: &'static str) {
        assert_eq!(ended.status.signal(), Some(9), "{how}: {ended}");
        self.tally.add(how);
    }

    /// The traffic's event time is older than the retention, so that sums go into the baseline.
    async fn drop_months(&self) {
        let before = totals(&self.world).await;
        let short = ["--retention-events-days", "60"];
        for nth in 1..=3 {
            let mut process = Process::start(&mut self.armed(&short, stage::RETENTION, nth));
            address(&mut process).await;
            if !ended_within(&mut process, PATIENCE).await {
                process.stop().await;
                continue;
            }
            self.died(process.ended().await, stage::RETENTION);
            self.world.ok(&["verify"]).await;
        }
        let (process, _) = self.world.start_with(&short).await;
        let client = self.world.database.client().await;
        eventually("the month of the traffic is dropped", async || {
            let gone = "SELECT to_regclass('events_202501') IS NULL";
            client.query_one(gone, &[]).await.unwrap().get::<_, bool>(0)
        })
        .await;
        process.stop().await;
        self.world.ok(&["verify"]).await;
        self.world.ok(&["rebuild", "rollups"]).await;
        self.world.ok(&["rebuild", "counters"]).await;
        self.world.ok(&["verify"]).await;
        assert_eq!(totals(&self.world).await, before, "after retention");
    }

    /// A processor that dies when it reaches a stage for the nth time.
    fn armed(&self, args: &[&str], stage: &'static str, nth: u64) -> Command {
        let mut command = self.world.command(args);
        command.env("FEEDKIT_FAILPOINT", format!("{stage}:{nth}"));
        command
    }
}

async fn ended_within(process: &mut Process, time: Duration) -> bool {
    let end = tokio::time::Instant::now() + time;
    while !process.has_ended() {
        if tokio::time::Instant::now() >= end {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    true
}

/// Kills by stage.
#[derive(Default)]
struct Tally(Mutex<BTreeMap<&'static str, u64>>);

impl Tally {
    fn add(&self, how: &'static str) {
        *self.0.lock().unwrap().entry(how).or_default() += 1;
    }

    fn of(&self, how: &str) -> u64 {
        self.0.lock().unwrap().get(how).copied().unwrap_or(0)
    }

    fn total(&self) -> u64 {
        self.0.lock().unwrap().values().sum()
    }

    fn least_of(&self, stages: &[&str]) -> u64 {
        stages.iter().map(|stage| self.of(stage)).min().unwrap_or(0)
    }

    fn least(&self) -> u64 {
        self.least_of(&AT_WORK).min(self.of(stage::RETENTION))
    }

    /// The one of `stages` that was hit least.
    fn neediest(&self, stages: &[&'static str], rng: &mut ChaCha8Rng) -> &'static str {
        let least = self.least_of(stages);
        let all: Vec<_> = stages.iter().filter(|s| self.of(s) == least).collect();
        all[rng.random_range(0..all.len())]
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (how, kills) in &*self.0.lock().unwrap() {
            writeln!(f, "  {how:<14} {kills:>5}")?;
        }
        write!(f, "  {:<14} {:>5}", "all", self.total())
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}
