//! Compares the stores with what the model makes of the log.

use std::collections::{BTreeMap, BTreeSet};

use feedkit_core::source::{Record, Resume, SourceEvent};
use feedkit_core::testkit::Model;
use feedkit_core::trending::Trending;
use feedkit_core::{
    Clock, Codec, EventSource, History, JsonCodec, Partition, Positions, PostId, SystemClock, Timestamp,
};
use feedkit_kafka::{Kafka, SourceOptions};
use feedkit_test_services::DEADLINE;
use serde_json::Value;

use crate::world::World;

const NONE: [String; 0] = [];

/// All records of a topic, in order by partition, and the incarnation of the log.
pub(crate) struct Logged {
    pub(crate) incarnation: u128,
    pub(crate) records: BTreeMap<Partition, Vec<Record>>,
}

/// Reads a topic from its beginning to its current end.
pub(crate) async fn logged(kafka: &Kafka) -> Logged {
    let ends = kafka.ends().await.unwrap();
    let mut source = kafka.broadcast(SourceOptions::default()).unwrap();
    let mut read = Positions::new();
    let mut logged = Logged { incarnation: 0, records: BTreeMap::new() };
    let reading = async {
        while !read.covers(&ends) {
            match source.next().await {
                Ok(SourceEvent::Assigned(assigned)) => {
                    logged.incarnation = assigned.log;
                    assigned.resume(Resume::default());
                }
                Ok(SourceEvent::Batch(batch)) => {
                    read.set(batch.partition, batch.to);
                    logged.records.entry(batch.partition).or_default().extend(batch.records);
                }
                Ok(other) => panic!("unexpected: {other:?}"),
                Err(error) => assert!(error.is_retriable(), "{error:?}"),
            }
        }
    };
    tokio::time::timeout(DEADLINE, reading).await.expect("the log is read within the deadline");
    logged
}

impl Logged {
    pub(crate) fn model(&self, codec: impl Codec) -> Model {
        let mut model = Model::new(codec, self.incarnation);
        for (partition, records) in &self.records {
            records.iter().for_each(|record| model.feed(*partition, record));
        }
        model
    }

    fn count(&self) -> usize {
        self.records.values().map(Vec::len).sum()
    }
}

/// Compares all stores with the model of the log. Everything must have caught up.
pub(crate) async fn judge(world: &World) -> Model {
    let logged = logged(&world.events).await;
    let model = logged.model(JsonCodec::default());
    judge_model(world, &model).await;
    let journal = model.compare_journal(&world.postgres().await.history()).await.unwrap();
    assert_eq!(journal, NONE, "the journal");
    println!(
        "judged {} records: {} accepted, {} repeats, {} rejected, {} effects",
        logged.count(),
        model.counts.accepted,
        model.counts.duplicates,
        model.counts.rejected,
        model.counts.effects
    );
    model
}

/// Compares history, counters, rollups and alerts with a model, but not the journal.
pub(crate) async fn judge_model(world: &World, model: &Model) {
    let postgres = world.postgres().await;
    let queries = model.compare_queries(&postgres.history()).await.unwrap();
    assert_eq!(queries, NONE, "the history");
    let now = SystemClock.now();
    let counters = world.counters().await;
    let counted = model.compare_counters(&counters, &Trending::default(), now).await.unwrap();
    assert_eq!(counted, NONE, "the counters");
    judge_alerts(world, model).await;
}

/// Each milestone that was certainly passed is raised, and none that cannot have been passed. No
/// alert is stored twice, and each stored alert was published.
async fn judge_alerts(world: &World, model: &Model) {
    let kept = alerts(world).await;
    for (post, counted) in &model.posts {
        let likes = counted.counts.get("like").copied().unwrap_or(0);
        let certain = if counted.authors.is_empty() { 0 } else { likes };
        for threshold in (1..6).map(|power| 10i64.pow(power)) {
            let id = format!("milestone:{post}:{threshold}");
            let raised = kept.contains(&id);
            assert!(raised || certain < threshold, "{id} was not raised at {likes} likes");
            if raised && certain < threshold {
                let possible = if counted.authors.is_empty() { 0 } else { most_likes(model, post) };
                assert!(possible >= threshold, "{id} was raised, there were {possible} likes at most");
            }
        }
    }
    let published = published(&world.notifications).await;
    let distinct: BTreeSet<_> = published.iter().cloned().collect();
    assert_eq!(distinct, kept, "published and kept differ");
    println!("{} alerts, published {} times", kept.len(), published.len());
}

/// The most likes that a post can have had at any time: the sum of the maxima of the partitions.
///
/// A step of the rules takes the next effects of each partition, and orders them by time. Nobody knows
/// where steps began and ended. So in each partition, all effects before some offset count, and of
/// some that follow on it, those up to some time.
fn most_likes(model: &Model, post: &PostId) -> i64 {
    let most = |effects: &Vec<feedkit_core::effect::Effect>| {
        let of_post = effects.iter().filter(|effect| effect.post == *post);
        let likes: Vec<(Timestamp, i64)> = of_post
            .filter_map(|effect| match effect.kind.delta() {
                Some(("like", by)) => Some((effect.time, by)),
                _ => None,
            })
            .collect();
        let (mut before, mut most) = (0, 0);
        for begin in 0..likes.len() {
            let mut step: Vec<(Timestamp, i64)> = Vec::new();
            for &(time, by) in &likes[begin..] {
                let place = step.partition_point(|(earlier, _)| *earlier <= time);
                step.insert(place, (time, by));
                let mut sum = before;
                for (_, by) in &step {
                    sum += by;
                    most = most.max(sum);
                }
            }
            before += likes[begin].1;
        }
        most
    };
    model.effects.values().map(most).sum()
}

/// The ids of all stored alerts. Checks that no two alerts have the same number; the table already
/// ensures unique ids.
pub(crate) async fn alerts(world: &World) -> BTreeSet<String> {
    let rows =
        world.database.client().await.query("SELECT id, seq FROM alerts ORDER BY seq", &[]).await.unwrap();
    let ids: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    let numbers: BTreeSet<i64> = rows.iter().map(|row| row.get(1)).collect();
    assert_eq!((ids.len(), numbers.len()), (rows.len(), rows.len()));
    ids
}

/// The ids of all published notifications, in any order.
pub(crate) async fn published(notifications: &Kafka) -> Vec<String> {
    let records = logged(notifications).await.records;
    let id = |record: &Record| {
        let notification: Value = serde_json::from_slice(&record.value).unwrap();
        notification["id"].as_str().unwrap().to_owned()
    };
    records.values().flatten().map(id).collect()
}

/// The counts of every post in the history, to compare before and after.
pub(crate) async fn totals(world: &World) -> BTreeMap<String, BTreeMap<String, i64>> {
    let mut snapshot = world.postgres().await.history().snapshot().await.unwrap();
    let mut all = BTreeMap::new();
    loop {
        let some = snapshot.next(1000).await.unwrap();
        if some.is_empty() {
            return all;
        }
        for totals in some {
            let counts = totals.counts.into_iter().filter(|(_, n)| *n != 0).collect();
            all.insert(totals.post.to_string(), counts);
        }
    }
}
