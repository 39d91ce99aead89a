//! The generator of made-up traffic.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use feedkit_core::codec::{Codec, JsonCodec, Place};
use feedkit_core::source::Record;
use feedkit_core::testkit::Model;
use feedkit_core::traffic::{Farm, Label, Steady, TrafficItem, TrafficOptions, Viral};
use feedkit_core::{Partition, PostId};

fn record(offset: u64, item: &TrafficItem) -> Record {
    Record { offset, time: item.time, key: Some(item.key.clone().into()), value: item.value.clone() }
}

fn full(seed: u64) -> TrafficOptions {
    let hours = |h: u64| Duration::from_secs(3600 * h);
    TrafficOptions::default()
        .seed(seed)
        .count(u64::MAX)
        .duration(hours(12))
        .rate(1.0)
        .daily_rhythm(true)
        .malformed(0.05)
        .steady(vec![Steady { post: PostId::new("s").unwrap(), rate: 0.2 }])
        .viral(vec![Viral::new(PostId::new("w").unwrap(), hours(1), 2.0)])
        .farms(vec![Farm {
            duration: hours(1),
            accounts: 4_000,
            ..Farm::new(PostId::new("s").unwrap(), hours(6))
        }])
}

#[test]
fn a_seed_gives_the_same_bytes_in_the_order_of_time() {
    let hours = Some(Duration::from_secs(7 * 3600));
    for seed in 1..3 {
        let config = full(seed).duration(hours).rate(0.1);
        let items: Vec<_> = config.traffic().collect();
        assert!(config.traffic().eq(items.iter().cloned()), "seed {seed}");
        assert!(items.is_sorted_by_key(|i| i.time), "seed {seed}");
        let other = config.seed(seed + 10);
        assert!(!other.traffic().eq(items.iter().cloned()), "seed {seed}");
    }
}

#[test]
fn a_farm_changes_nothing_else() {
    let without = full(5).farms(vec![]);
    let others = full(5).traffic().filter(|i| !matches!(i.label, Label::Farm { .. }));
    assert!(without.traffic().eq(others));
}

#[test]
fn labels_say_what_the_codec_and_the_model_find() {
    let items: Vec<_> = full(3).traffic().collect();
    let mut model = Model::new(JsonCodec::default(), 1);
    let mut labels: HashMap<Label, u64> = HashMap::new();
    for (offset, item) in items.iter().enumerate() {
        let before = model.counts;
        let record = record(offset as u64, item);
        model.feed(Partition(0), &record);
        let line = String::from_utf8_lossy(&item.value);
        let now = model.counts;
        match item.label {
            Label::Malformed => assert_eq!(now.rejected, before.rejected + 1, "{line}"),
            Label::Repeat => assert_eq!(now.duplicates, before.duplicates + 1, "{line}"),
            _ => {
                assert_eq!(now.accepted, before.accepted + 1, "{line}");
                let place = Place { log: 1, partition: Partition(0) };
                let event = JsonCodec::default().decode(&place, &record).unwrap();
                assert_eq!((event.user.as_str(), event.time), (item.key.as_str(), item.time));
            }
        }
        *labels.entry(item.label).or_default() += 1;
    }
    for label in [Label::Ordinary, Label::Repeat, Label::Malformed, Label::Viral, Label::Farm { episode: 0 }]
    {
        assert!(labels.get(&label).is_some_and(|n| *n > 100), "{label:?} in {labels:?}");
    }
}

#[test]
fn rates_are_those_asked_for() {
    let items: Vec<_> = full(4).traffic().collect();
    let count = |wanted: &dyn Fn(&&TrafficItem) -> bool| items.iter().filter(wanted).count() as f64;
    let start = full(4).start;
    let in_hour = |i: &TrafficItem, h: u64| i.time.since(start).as_secs() / 3600 == h;
    let near = |got: f64, wanted: f64| assert!((got / wanted - 1.0).abs() < 0.15, "{got} for {wanted}");

    // A quarter of the mean at the start, seven quarters twelve hours later; the half of the day
    // between has the mean.
    near(count(&|i| matches!(i.label, Label::Ordinary | Label::Repeat | Label::Malformed)), 1.2 * 43_200.0);
    near(count(&|i| in_hour(i, 0) && i.label == Label::Ordinary), 0.26 * 1.2 * 0.93 * 3600.0);
    // Ten times the rate altogether: nine times come from the farm.
    let own = |i: &&TrafficItem| in_hour(i, 6) && i.value.windows(12).any(|w| w == b"\"postId\":\"s\"");
    let farmed = |i: &&TrafficItem| matches!(i.label, Label::Farm { .. });
    near(count(&farmed), 9.0 * (count(&own) - count(&farmed)));
    // The viral post doubles every hour.
    let viral = |h| count(&|i| i.label == Label::Viral && in_hour(i, h));
    near(viral(6), 2.0 * viral(5));
    near(viral(7), 2.0 * viral(6));
    assert!(viral(0) == 0.0 && viral(8) < 1.3 * 7200.0);
}

#[test]
fn a_post_is_published_before_anything_else_or_never() {
    let config = TrafficOptions::default().repeats(0.0).malformed(0.0).count(20_000);
    let mut first: HashMap<String, String> = HashMap::new();
    let mut published: HashMap<String, bool> = HashMap::new();
    for item in config.traffic() {
        let line: serde_json::Value = serde_json::from_slice(&item.value).unwrap();
        let (post, kind) = (line["postId"].to_string(), line["type"].as_str().unwrap());
        first.entry(post.clone()).or_insert_with(|| kind.to_owned());
        *published.entry(post).or_default() |= kind == "post";
    }
    let never = published.values().filter(|p| !**p).count();
    assert!((20..100).contains(&never), "{never} of {} are never published", published.len());
    for (post, is_published) in published {
        assert_eq!(first[&post] == "post", is_published, "{post}");
    }
}

#[test]
fn accounts_and_users_come_up_once() {
    let config = full(6);
    let items: Vec<_> = config.traffic().collect();
    let farmed: Vec<_> = items.iter().filter(|i| matches!(i.label, Label::Farm { .. })).collect();
    let accounts = config.farms[0].accounts as usize;
    assert!(farmed.len() > accounts, "the farm has to go round its {accounts} accounts");
    let first: HashSet<_> = farmed[..accounts].iter().map(|i| &i.key).collect();
    assert_eq!(first.len(), accounts);
    let kind = |i: &TrafficItem, kind: &str| {
        String::from_utf8_lossy(&i.value).contains(&format!(r#""type":"{kind}""#))
    };
    assert!(farmed[..accounts].iter().all(|i| kind(i, "like")));
    assert!(farmed[accounts..].iter().all(|i| kind(i, "unlike")), "they take it back one after the other");
    let viral: Vec<_> = items.iter().filter(|i| i.label == Label::Viral).map(|i| &i.key).collect();
    assert_eq!(viral.iter().collect::<HashSet<_>>().len(), viral.len());
}
