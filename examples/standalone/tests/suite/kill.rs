//! Kills the program at every stage, again and again, and compares what it ends up with: a replay
//! of files in one life, in the next a server with clients that send again whatever is not
//! answered.
//!
//! `FEEDKIT_KILLS` sets how many kills (200), `FEEDKIT_SEED` repeats a run.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use feedkit_core::failpoint::stage;
use feedkit_core::testkit::Model;
use feedkit_core::traffic::{Farm, Steady, TrafficOptions};
use feedkit_core::{JsonCodec, PostId};
use feedkit_test_programs::{Sending, Served};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use crate::oracle::{kept, logged, model_of};
use crate::program::{Place, arg, said};
use crate::server::Server;

/// Kills of one data directory before what is left of it is judged.
const LIVES: u64 = 12;
/// Who send to a server, and how many events at a time at most.
const CLIENTS: usize = 16;
const BATCH: usize = 10;
/// Events sent in one life of a server.
const PORTION: usize = 250;
/// Each stage is hit at least so often, if that many kills are asked for at all.
const EACH: u64 = 20;

#[test]
fn killed_at_any_stage_it_loses_and_repeats_nothing() {
    let kills = number("FEEDKIT_KILLS").unwrap_or(200);
    let seed = number("FEEDKIT_SEED").unwrap_or_else(|| rand::rng().next_u64() >> 16);
    println!("{kills} kills, seed {seed}: repeat with FEEDKIT_SEED={seed} FEEDKIT_KILLS={kills}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut tally = Tally::default();
    while tally.total() < kills || tally.least() < EACH.min(kills / 10) {
        Campaign::new(&mut rng).run(&mut rng, &mut tally);
    }
    println!("kills by stage:\n{tally}");
}

/// Kills by stage, and how many of them hit a server.
#[derive(Default)]
struct Tally {
    kills: BTreeMap<&'static str, u64>,
    serving: BTreeMap<&'static str, u64>,
}

impl Tally {
    fn add(&mut self, stage: &'static str) {
        *self.kills.entry(stage).or_default() += 1;
    }
    fn add_serving(&mut self, stage: &'static str) {
        self.add(stage);
        *self.serving.entry(stage).or_default() += 1;
    }
    fn of(&self, stage: &'static str) -> u64 {
        self.kills.get(stage).copied().unwrap_or(0)
    }
    fn total(&self) -> u64 {
        self.kills.values().sum()
    }
    fn least(&self) -> u64 {
        stage::ALL.into_iter().map(|s| self.of(s)).min().unwrap_or(0)
    }
    /// One of `stages` that has been hit least.
    fn neediest(&self, stages: &[&'static str], rng: &mut ChaCha8Rng) -> &'static str {
        let least = stages.iter().map(|s| self.of(s)).min().unwrap_or(0);
        let all: Vec<_> = stages.iter().filter(|s| self.of(s) == least).collect();
        all[rng.random_range(0..all.len())]
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let serving = |s| self.serving.get(s).copied().unwrap_or(0);
        for s in stage::ALL {
            writeln!(f, "  {s:<14} {:>5}, {:>4} while serving", self.of(s), serving(s))?;
        }
        let all: u64 = self.serving.values().sum();
        write!(f, "  {:<14} {:>5}, {all:>4} while serving", "all", self.total())
    }
}

/// One data directory, and the traffic for it.
struct Campaign {
    place: Place,
    file: PathBuf,
    old: PathBuf,
    short: PathBuf,
    /// What is sent over HTTP.
    sent: PathBuf,
    sending: Sending,
    runtime: tokio::runtime::Runtime,
}

impl Campaign {
    fn new(rng: &mut ChaCha8Rng) -> Self {
        let place = Place::new();
        let post = PostId::new("promoted").unwrap();
        let config = TrafficOptions::default()
            .seed(rng.next_u64())
            .count(3_000)
            .users(300)
            .posts(60)
            .rate(2.0)
            .malformed(0.01)
            .repeats(0.03)
            .steady(vec![Steady { post: post.clone(), rate: 0.5 }])
            .farms(vec![Farm::new(post, Duration::from_secs(900))]);
        let file = place.traffic("events.jsonl", &config);
        let old = place.path("old.jsonl");
        std::fs::write(&old, old_events(rng)).unwrap();
        let short = place.path("short.toml");
        std::fs::write(&short, "[retention]\nevents_days = 60\njournal_days = 1\n").unwrap();
        // With ids that the clients have made, so that it can be told what became of each.
        let config = TrafficOptions::default()
            .seed(rng.next_u64())
            .count(1_500)
            .users(200)
            .posts(50)
            .malformed(0.0)
            .without_id(0.0);
        let sent = place.traffic("sent.jsonl", &config);
        // Of other users than the file's: who likes first what another unlikes must not depend on
        // the kills.
        let text = std::fs::read_to_string(&sent).unwrap().replace("\"userId\":\"u", "\"userId\":\"w");
        std::fs::write(&sent, &text).unwrap();
        let sending = Sending::new(text.lines().map(str::as_bytes), CLIENTS, BATCH);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        Campaign { place, file, old, short, sent, sending, runtime }
    }

    fn run(&self, rng: &mut ChaCha8Rng, tally: &mut Tally) {
        use stage::{AFTER_COMMIT, ALERT_STEP, BEFORE_COMMIT, FOLLOWER, INGEST, RELAY, SNAPSHOT};
        let (file, old, short) = (arg(&self.file), arg(&self.old), arg(&self.short));
        let at_work = [INGEST, BEFORE_COMMIT, AFTER_COMMIT, FOLLOWER, ALERT_STEP, SNAPSHOT, RELAY];
        let replay = ["replay", "--json", file, old];
        for life in 0..LIVES {
            let stage = tally.neediest(&at_work, rng);
            // Early and late in a life; a stage that is not reached so often lets the run end by
            // itself.
            let nth = if rng.random_bool(0.5) { 1 } else { rng.random_range(1..6) };
            match life % 2 {
                0 => self.killed(&replay, stage, nth, tally),
                // Fewer events, so that it has to be early.
                _ => self.killed_while_serving(stage, nth.min(2), tally),
            }
        }
        self.send_the_rest();
        self.place.run(&replay);
        let settled = self.judge();

        // Now what repairs and tidies up, no more often than the rest.
        let times = |stage, tally: &Tally| if tally.of(stage) * 8 > tally.total() { 0 } else { 3 };
        for _ in 0..times(stage::REBUILD, tally) {
            self.killed(&["rebuild"], stage::REBUILD, rng.random_range(1..3), tally);
            self.place.run(&["verify"]);
        }
        self.place.run(&["rebuild"]);
        assert_eq!(self.totals(), settled, "after a rebuild");
        for _ in 0..times(stage::RETENTION, tally) {
            self.killed(
                &["--config", short, "replay", "/dev/null"],
                stage::RETENTION,
                rng.random_range(1..4),
                tally,
            );
            self.place.run(&["verify"]);
        }
        self.place.run(&["--config", short, "replay", "/dev/null"]);
        self.place.run(&["verify"]);
        assert_eq!(self.totals(), settled, "after retention");
        self.place.run(&["rebuild"]);
        assert_eq!(self.totals(), settled, "after a rebuild from the baseline");
    }

    /// Runs the program to die at a stage. It may end before that.
    fn killed(&self, args: &[&str], stage: &'static str, nth: u64, tally: &mut Tally) {
        let mut command = self.place.feedkit(args);
        let output = command.env("FEEDKIT_FAILPOINT", format!("{stage}:{nth}")).output().unwrap();
        match output.status.signal() {
            Some(9) => tally.add(stage),
            _ => assert!(output.status.success(), "{stage}:{nth}: {}", said(&output)),
        }
    }

    /// Serves until it dies at a stage, or a portion is sent. Whatever was answered 202 is there
    /// afterwards.
    fn killed_while_serving(&self, stage: &'static str, nth: u64, tally: &mut Tally) {
        let mut command = self.place.feedkit(&["serve", "--listen", "127.0.0.1:0", "--rate-limit", "0"]);
        command.env("FEEDKIT_FAILPOINT", format!("{stage}:{nth}"));
        let mut server = match Server::start(&mut command, &self.place.data()) {
            Ok(server) => server,
            Err(output) if output.status.signal() == Some(9) => return tally.add_serving(stage),
            Err(output) => panic!("{stage}:{nth}: {}", said(&output)),
        };
        let client = server.writer();
        self.runtime.block_on(self.sending.send(&client, PORTION));
        if !server.has_ended() {
            server.terminate();
        }
        let output = server.ended();
        match output.status.signal() {
            Some(9) => tally.add_serving(stage),
            _ => return assert!(output.status.success(), "{stage}:{nth}: {}", said(&output)),
        }
        self.judge_taken();
    }

    fn send_the_rest(&self) {
        let server = Server::of(&self.place);
        let client = server.writer();
        while self.runtime.block_on(self.sending.left()) > 0 {
            self.runtime.block_on(self.sending.send(&client, usize::MAX));
        }
        server.stop();
        self.judge_taken();
        assert_eq!(self.sending.refused(), 0);
    }

    /// All that was answered 202 lies in the log where the answer says, and is in the history once
    /// that has caught up.
    fn judge_taken(&self) {
        let data = self.place.data();
        self.place.run(&["replay", "/dev/null"]);
        let taken = self.sending.taken();
        let records: BTreeMap<_, _> = self.runtime.block_on(async {
            let store = crate::oracle::open(&data).await;
            let records = logged(&store, feedkit_store::sqlite::USER_ACTIONS).await;
            // A position lies just after its record.
            records.into_iter().map(|(at, record)| ((at, record.offset + 1), record.value)).collect()
        });
        let kept = kept(&data);
        for taken in taken {
            let (id, at) = (taken.id, (taken.position.partition, taken.position.offset));
            let record =
                records.get(&at).unwrap_or_else(|| panic!("{id}: nothing lies at {}", taken.position));
            let event: Value = serde_json::from_slice(record).unwrap();
            assert_eq!(event["id"], id.to_string(), "at {}", taken.position);
            assert!(kept.contains(id.as_bytes()), "{id} is not in the history");
        }
    }

    /// Compares everything with the model and with a run that was left in peace. The totals.
    fn judge(&self) -> Value {
        self.place.run(&["verify"]);
        let data = self.place.data();
        self.runtime.block_on(compare(&data));

        // Whatever happened, each line counts once, as if nothing had happened.
        let calm = Place::new();
        let summary = calm.json(&["replay", arg(&self.file), arg(&self.old), arg(&self.sent)]);
        let calm_totals = calm.json(&["top", "-n", "100000"]);
        let totals = self.totals();
        assert_eq!(totals, calm_totals);
        let events = |place: &Place| place.json(&["verify"])["events"].clone();
        assert_eq!(events(&self.place), summary["accepted"]);
        self.judge_alerts();
        totals
    }

    fn totals(&self) -> Value {
        self.place.json(&["top", "-n", "100000"])
    }

    /// Each milestone that was passed for certain is raised, and none that cannot have been;
    /// nothing twice, and everything published exactly once.
    fn judge_alerts(&self) {
        let alerts = self.place.json(&["alerts", "-n", "100000"]);
        let ids: Vec<_> =
            alerts.as_array().unwrap().iter().map(|a| a["id"].as_str().unwrap().to_owned()).collect();
        let unique: std::collections::BTreeSet<_> = ids.iter().cloned().collect();
        assert_eq!(unique.len(), ids.len(), "an alert is there twice");
        for top in self.totals().as_array().unwrap() {
            let (post, likes) = (top["postId"].as_str().unwrap(), top["likes"].as_i64().unwrap());
            let author = self.place.json(&["post", post])["author"].clone();
            for threshold in [10, 100, 1000] {
                let id = format!("milestone:{post}:{threshold}");
                if likes >= threshold && !author.is_null() {
                    assert!(unique.contains(&id), "{id} was not raised at {likes} likes");
                }
            }
        }
        let published: Vec<_> = self.runtime.block_on(published(&self.place.data()));
        let mut sorted = published.clone();
        sorted.sort();
        assert_eq!(sorted, Vec::from_iter(unique), "published and raised differ");
    }
}

/// Likes of months ago, with ids of then: for retention to drop.
fn old_events(rng: &mut ChaCha8Rng) -> String {
    let mut lines = String::new();
    let now = feedkit_core::Clock::now(&feedkit_core::SystemClock).as_millis();
    for _ in 0..300 {
        let age = rng.random_range(100..300) * 86_400_000;
        let time = feedkit_core::Timestamp::from_millis(now - age);
        let id = feedkit_core::EventId::derived(time, rng.random());
        let (user, post) = (rng.random_range(0..100), rng.random_range(0..10));
        let kind = ["like", "like", "like", "unlike", "comment"][rng.random_range(0..5)];
        lines.push_str(&format!(
            "{{\"id\":\"{id}\",\"userId\":\"u{user}\",\"postId\":\"p{post}\",\"type\":\"{kind}\",\"timestamp\":\"{time}\"}}\n"
        ));
    }
    lines
}

/// The model, fed what the log holds, against the history.
async fn compare(data: &Path) {
    let store = crate::oracle::open(data).await;
    let model: Model = model_of(&store, JsonCodec::default()).await;
    let history = store.history();
    assert_eq!(model.compare_queries(&history).await.unwrap(), [] as [String; 0]);
    assert_eq!(model.compare_journal(&history).await.unwrap(), [] as [String; 0]);
}

/// The ids of all that was published, in whatever order.
async fn published(data: &Path) -> Vec<String> {
    let store = crate::oracle::open(data).await;
    let mut ids = Vec::new();
    for (_, record) in logged(&store, feedkit_store::sqlite::NOTIFICATIONS).await {
        let notification: Value = serde_json::from_slice(&record.value).unwrap();
        ids.push(notification["id"].as_str().unwrap().to_owned());
    }
    ids
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}
