//! Clients send a stream over HTTP and retry until each event is taken, while gateways and
//! processors are killed. In the end the counts are those of a plain count of the stream.
//!
//! `FEEDKIT_STREAM` names a file of events to send instead of generated ones.
//! `FEEDKIT_SERVER_KILLS` sets how many lives the servers have (6). `FEEDKIT_SEED` repeats a run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use feedkit_core::traffic::TrafficOptions;
use feedkit_test_programs::{Sending, Served};
use feedkit_test_services::{apply, needs_services};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::world::World;

const CLIENTS: usize = 64;
const BATCH: usize = 50;

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_the_servers_lose_and_repeat_nothing() {
    let world = World::new().await;
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seed = number("FEEDKIT_SEED").unwrap_or_else(|| rand::rng().next_u64() >> 16);
    let lives = number("FEEDKIT_SERVER_KILLS").unwrap_or(6).max(1);
    println!("seed {seed}: repeat with FEEDKIT_SEED={seed} FEEDKIT_SERVER_KILLS={lives}");
    let world = &world;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let lines: Vec<Vec<u8>> = match std::env::var_os("FEEDKIT_STREAM") {
        Some(path) => std::fs::read(path).unwrap().split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect(),
        None => made_up(rng.next_u64()),
    };
    let lines: Vec<_> = lines.iter().map(|line| line.trim_ascii()).filter(|line| !line.is_empty()).collect();
    let model = Model::of(&lines);

    let sending = Sending::new(lines.iter().copied(), CLIENTS, BATCH);
    let portion = lines.len() / (lives as usize + 1);
    let (mut gateways_killed, mut processors_killed) = (0, 0);
    for _ in 0..lives {
        let mut gateway = world.gateway().await;
        let client = gateway.writer();
        let before = sending.taken().len();
        // The batches under way exceed a portion, so all events may be taken before the last life.
        let until = (before + rng.random_range(portion / 4..=portion.max(1))).min(lines.len());
        let some = sending.send(&client, portion);
        // While they send. A client without an answer sends again.
        let killing_gateway = async {
            while sending.taken().len() < until {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            gateway.process.kill();
            gateways_killed += 1;
        };
        // Two at a time, so that they also take partitions from each other. Some die as they start,
        // some at work.
        let delays: Vec<u64> = (0..2).map(|_| rng.random_range(50..3_000)).collect();
        let killing_processors = futures_util::future::join_all(delays.into_iter().map(|delay| async move {
            let mut processor = world.processor();
            tokio::time::sleep(Duration::from_millis(delay)).await;
            assert!(!processor.has_ended(), "the processor ended by itself:\n{}", processor.stderr());
            processor.kill();
        }));
        processors_killed += 2;
        tokio::join!(some, killing_gateway, killing_processors);
    }
    let gateway = world.gateway().await;
    let client = gateway.writer();
    while sending.left().await > 0 {
        sending.send(&client, usize::MAX).await;
    }
    assert_eq!((sending.taken().len(), sending.refused()), (lines.len(), 0));
    world.catch_up().await;
    println!("killed {gateways_killed} gateways, {processors_killed} processors; {} events", lines.len());

    let sql = world.sql().await;
    let rows = sql.query("SELECT event_id::text FROM events", &[]).await.unwrap();
    let kept: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    let taken: BTreeSet<String> = sending.taken().iter().map(|taken| taken.id.to_string()).collect();
    assert_eq!(taken.difference(&kept).next(), None, "an event was answered 202 and is not in the history");
    assert_eq!(kept, taken, "the history has more than was sent");
    assert_eq!(rows.len(), kept.len(), "an event is there twice");
    assert_eq!(rows.len(), model.events);

    let rows = sql.query("SELECT post_id, kind, count FROM post_totals WHERE count <> 0", &[]).await.unwrap();
    let totals: BTreeMap<(String, String), i64> =
        rows.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect();
    assert_eq!(totals, model.totals());
    let top: Vec<_> = model.top(10).into_iter().map(|(post, likes)| (json!(post), json!(likes))).collect();
    let answer = client.get("/api/posts/top?by=likes&limit=10").await.expect(200);
    let posts = answer["posts"].as_array().unwrap();
    let shown: Vec<_> = posts.iter().map(|p| (p["postId"].clone(), p["likes"].clone())).collect();
    assert_eq!(shown, top);
    assert_eq!(answer["source"], "counters", "{answer}");
    for (post, count) in model.top(usize::MAX) {
        let counted: Option<i64> = world.redis.ask(&format!("GET post:{post}:likes")).await;
        assert_eq!(counted.unwrap_or(0), count, "{post} in Redis");
    }
}

fn made_up(seed: u64) -> Vec<Vec<u8>> {
    let config = TrafficOptions::default().seed(seed).count(8_000).malformed(0.0);
    config.traffic().map(|item| item.value.to_vec()).collect()
}

/// Counts the stream, one event after the other.
#[derive(Default)]
struct Model {
    ids: BTreeSet<(String, String)>,
    likes: BTreeSet<(String, String)>,
    others: BTreeMap<(String, String), i64>,
    events: usize,
}

impl Model {
    fn of(lines: &[&[u8]]) -> Model {
        let mut model = Model::default();
        lines.iter().for_each(|line| model.take(&serde_json::from_slice(line).unwrap()));
        model
    }

    fn take(&mut self, event: &Value) {
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        let (user, post, kind) = (text("userId"), text("postId"), text("type"));
        if event["id"].is_string() && !self.ids.insert((text("id"), user.clone())) {
            return;
        }
        self.events += 1;
        match kind.as_str() {
            "like" => _ = self.likes.insert((post, user)),
            "unlike" => _ = self.likes.remove(&(post, user)),
            _ => *self.others.entry((post, kind)).or_default() += 1,
        }
    }

    fn likes(&self) -> BTreeMap<&str, i64> {
        let mut likes = BTreeMap::new();
        for (post, _) in &self.likes {
            *likes.entry(&**post).or_default() += 1;
        }
        likes
    }

    fn totals(&self) -> BTreeMap<(String, String), i64> {
        let likes = self.likes().into_iter().map(|(post, n)| ((post.to_owned(), "like".to_owned()), n));
        likes.chain(self.others.clone().into_iter().filter(|((_, kind), _)| kind != "post")).collect()
    }

    /// Posts by most likes, ties by id.
    fn top(&self, count: usize) -> Vec<(String, i64)> {
        let mut top: Vec<_> = self.likes().into_iter().map(|(post, n)| (post.to_owned(), n)).collect();
        top.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        top.truncate(count);
        top
    }
}
