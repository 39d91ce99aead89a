//! The same stream over HTTP, by many clients, with kills, as by `replay`.
//!
//! `FEEDKIT_STREAM` names a file of events to be sent instead of made-up ones; `FEEDKIT_SEED`
//! repeats a run.

use feedkit_core::traffic::TrafficOptions;
use feedkit_test_programs::{Sending, Served};
use rand::Rng;

use crate::program::{Place, arg};
use crate::server::Server;

const CLIENTS: usize = 64;
const BATCH: usize = 50;
const KILLS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_over_http_comes_to_what_a_replay_comes_to() {
    let calm = Place::new();
    let file = match std::env::var_os("FEEDKIT_STREAM") {
        Some(path) => path.into(),
        None => {
            let seed = std::env::var("FEEDKIT_SEED").ok().map(|text| text.parse().unwrap());
            let seed = seed.unwrap_or_else(|| rand::rng().next_u64() >> 16);
            println!("seed {seed}: repeat with FEEDKIT_SEED={seed}");
            let config = TrafficOptions::default().seed(seed).count(10_000).malformed(0.01);
            calm.traffic("stream.jsonl", &config)
        }
    };
    let summary = calm.json(&["replay", arg(&file)]);
    let text = std::fs::read(&file).unwrap();
    let lines: Vec<_> =
        text.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).collect();

    let place = Place::new();
    let sending = Sending::new(lines.iter().copied(), CLIENTS, BATCH);
    let portion = lines.len() / (KILLS + 1);
    for _ in 0..KILLS {
        let server = Server::of(&place);
        let client = server.writer();
        let some = sending.send(&client, portion);
        // While they send. A client without an answer sends again.
        let killed = async {
            let before = sending.taken().len();
            while sending.taken().len() < before + portion / 2
                && sending.taken().len() + sending.refused() < lines.len()
            {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
            server.kill();
        };
        tokio::join!(some, killed);
    }
    let server = Server::of(&place);
    let client = server.writer();
    while sending.left().await > 0 {
        sending.send(&client, usize::MAX).await;
    }
    server.stop();

    assert_eq!(sending.taken().len() + sending.refused(), lines.len());
    assert_eq!(sending.refused() as u64, summary["rejected"].as_u64().unwrap(), "{summary}");
    // The next program that opens the log counts the events that are still in it.
    place.run(&["replay", "/dev/null"]);
    let top = |place: &Place| place.json(&["top", "-n", "100000"]).as_array().unwrap().clone();
    let (sent, replayed) = (top(&place), top(&calm));
    assert_eq!(sent.iter().zip(&replayed).find(|(sent, replayed)| sent != replayed), None);
    assert_eq!(sent.len(), replayed.len());
    assert_eq!(place.json(&["verify"])["events"], summary["accepted"]);
}
