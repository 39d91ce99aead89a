//! Months of traffic, committed: what retention works on.

use std::sync::Arc;
use std::time::Duration;

use feedkit_core::effect::LikePolicy;
use feedkit_core::history::{JournalRead, PostTotals, Retained, RetentionPolicy};
use feedkit_core::source::Record;
use feedkit_core::testkit::split::{batch, model, partitions};
use feedkit_core::testkit::{ManualClock, Model};
use feedkit_core::traffic::TrafficOptions;
use feedkit_core::{Clock, History, Inspect, Offset, Partition};

use super::{Opening, Store, Stores};

pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// Traffic from January 2025 into April.
pub(crate) fn four_months(seed: u64) -> TrafficOptions {
    TrafficOptions::default()
        .seed(seed)
        .count(3_000)
        .users(30)
        .posts(40)
        .likes(0.5)
        .unlikes(0.3)
        .repeats(0.05)
        .without_id(0.0)
        .rate(3_000.0 / (115.0 * 86_400.0))
}

/// Four months of traffic, committed fifty records at a time, and the time after it.
pub(crate) struct Months<S: Stores> {
    pub(crate) place: String,
    pub(crate) store: S::Store,
    pub(crate) history: <S::Store as Store>::History,
    pub(crate) clock: ManualClock,
    pub(crate) model: Model,
    pub(crate) partitions: Vec<Vec<Record>>,
}

impl<S: Stores> Months<S> {
    pub(crate) async fn new(stores: &S, seed: u64) -> Self {
        let config = four_months(seed);
        let clock = ManualClock::at(config.start);
        let place = stores.place().await;
        let opening = Opening { clock: Arc::new(clock.clone()), ..Opening::default() };
        let store = stores.open(&place, opening).await;
        let history = store.history();
        let partitions = partitions(&config);
        for (p, records) in (0..).map(Partition).zip(&partitions) {
            let epoch = history.claim(p, "g").await.unwrap().epoch;
            for part in records.chunks(50) {
                history.commit(Arc::new(batch(p, epoch, part[0].offset, part))).await.unwrap();
            }
        }
        clock.set(partitions.iter().flat_map(|p| p.last()).map(|r| r.time).max().unwrap());
        let model = model(&partitions, LikePolicy::Unique);
        Months { place, store, history, clock, model, partitions }
    }

    /// Keeps so many days of events and journal.
    pub(crate) async fn retain(&self, events: u32, journal: u32) -> Retained {
        let policy =
            RetentionPolicy::default().events(events * DAY).journal(journal * DAY).follower_silence(7 * DAY);
        self.history.retain(&policy, self.clock.now()).await.unwrap()
    }

    pub(crate) async fn note(&self, follower: &str, positions: [Offset; 4]) {
        for (p, position) in (0..).map(Partition).zip(positions) {
            self.history.note_follower(follower, p, position).await.unwrap();
        }
    }

    pub(crate) fn ends(&self) -> [Offset; 4] {
        let ends: Vec<Offset> = self.partitions.iter().map(|p| p.len() as Offset).collect();
        ends.try_into().unwrap()
    }

    /// Where the journal of each partition begins.
    pub(crate) async fn starts(&self) -> [Offset; 4] {
        let mut starts = [0; 4];
        for (p, start) in (0..).map(Partition).zip(&mut starts) {
            *start = match self.history.journal(p, 0, 1).await.unwrap() {
                JournalRead::Entries(_) => 0,
                JournalRead::Expired(start) => start,
            };
        }
        starts
    }

    pub(crate) async fn totals(&self) -> Vec<PostTotals> {
        self.history.snapshot().await.unwrap().next(usize::MAX).await.unwrap()
    }

    pub(crate) async fn differences(&self) -> Vec<String> {
        self.history.verify().await.unwrap().differences
    }

    /// Comments go with the raw events; the rest of the model's answers stay.
    pub(crate) async fn compare(&self) -> Vec<String> {
        let mut differences = self.model.compare_queries(&self.history).await.unwrap();
        differences.retain(|d| !d.starts_with("comments on "));
        differences
    }
}
