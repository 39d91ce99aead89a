//! Each conformance suite rejects each mutant.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};

use async_trait::async_trait;
use feedkit_core::access::Identity;
use feedkit_core::alert::{AlertRule, Keeping, Key, RuleContext};
use feedkit_core::codec::{Codec, InvalidEvent, JsonCodec, Place};
use feedkit_core::effect::Effect;
use feedkit_core::source::Record;
use feedkit_core::testkit::conformance::support::{at, user};
use feedkit_core::testkit::conformance::{self, FollowerHarness, LogHarness, MemoryLogHarness, Named};
use feedkit_core::testkit::{Model, Tally};
use feedkit_core::traffic::TrafficOptions;
use feedkit_core::{Event, EventSink, EventSource, Offset, Partition};

use super::access::{LimiterFault, MutantLimiter, MutantTokens, TokenFault};
use super::alert_log::{AlertLogFault, MutantAlertLog};
use super::alert_rule::{MutantRule, RuleFault};
use super::cache::{CacheFault, MutantCache};
use super::counters::{CounterFault, MutantCounters};
use super::follower::{FollowerFault, MutantFollower};
use super::history::{HistoryFault, MutantHistory};
use super::queries::{MutantQueries, QueryFault};
use super::sink::{MutantSink, SinkFault};
use super::source::{MutantSource, SourceFault};

/// Runs a suite against each mutant. It must reject all of them with a sentence of the contract.
fn reject<F: Copy + Debug>(faults: &[F], suite: impl AsyncFn(F)) {
    let mut survivors = Vec::new();
    for fault in faults {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let outcome = catch_unwind(AssertUnwindSafe(|| runtime.block_on(suite(*fault))));
        match outcome {
            Ok(()) => survivors.push(*fault),
            Err(panic) => {
                let message = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                let says = message.strip_prefix("does not hold: ");
                let says = says.unwrap_or_else(|| panic!("{fault:?} fails by other means: {message}"));
                println!("{fault:?}: {}", says.lines().next().unwrap_or_default());
            }
        }
    }
    assert!(survivors.is_empty(), "not rejected: {survivors:?}");
}

#[test]
fn counters() {
    let suite = async |fault| conformance::counters(async || MutantCounters::new(fault)).await;
    reject(CounterFault::STORE, suite);
}

#[test]
fn counts() {
    reject(CounterFault::COUNTS, async |fault| {
        conformance::counts(async || MutantCounters::new(fault)).await
    });
}

#[test]
fn history() {
    reject(HistoryFault::ALL, async |fault| conformance::history(async || MutantHistory::new(fault)).await);
}

#[test]
fn queries() {
    reject(QueryFault::QUERIES, async |fault| {
        conformance::queries(async || MutantQueries::with_history(fault)).await
    });
}

#[test]
fn inspect() {
    reject(QueryFault::INSPECT, async |fault| {
        conformance::inspect(async || MutantQueries::with_history(fault)).await
    });
}

#[test]
fn answer_cache() {
    reject(CacheFault::ALL, async |fault| conformance::answer_cache(async || MutantCache::new(fault)).await);
}

#[test]
fn alert_log() {
    reject(AlertLogFault::LOG, async |fault| {
        conformance::alert_log(async || MutantAlertLog::new(fault)).await
    });
}

#[test]
fn alerts() {
    reject(AlertLogFault::ALERTS, async |fault| {
        conformance::alerts(async || MutantAlertLog::new(fault)).await;
    });
}

#[test]
fn outbox() {
    reject(AlertLogFault::OUTBOX, async |fault| {
        conformance::outbox(async || MutantAlertLog::new(fault)).await;
    });
}

#[test]
fn rate_limiter() {
    reject(LimiterFault::ALL, async |fault| {
        conformance::rate_limiter(async |limit: NonZeroU32| MutantLimiter::new(limit, fault).unwrap()).await;
    });
}

#[test]
fn token_verifier() {
    let identity =
        Identity { user: user("a"), roles: vec!["r".into()], scopes: Vec::new(), expires_at: at(3600) };
    reject(TokenFault::ALL, async |fault| {
        let mutant = MutantTokens::new("good", identity.clone(), fault);
        conformance::token_verifier(&mutant, "good", &identity, ["Good".to_owned()]).await;
    });
}

/// A log in memory whose sink or whose sources have a fault.
struct BrokenLog {
    log: MemoryLogHarness,
    sink: Option<MutantSink>,
    source: Option<SourceFault>,
}

impl BrokenLog {
    fn sink(fault: SinkFault) -> Self {
        let log = MemoryLogHarness::new();
        let sink = MutantSink::new(log.log().clone(), fault);
        BrokenLog { log, sink: Some(sink), source: None }
    }

    fn source(fault: SourceFault) -> Self {
        BrokenLog { log: MemoryLogHarness::new(), sink: None, source: Some(fault) }
    }

    fn wrap(&self, reader: feedkit_core::memory::MemoryReader) -> Box<dyn EventSource> {
        match self.source {
            Some(fault) => Box::new(MutantSource::new(reader, fault)),
            None => Box::new(reader),
        }
    }
}

#[async_trait]
impl LogHarness for BrokenLog {
    fn partitions(&self) -> u32 {
        self.log.partitions()
    }
    fn sink(&self) -> &dyn EventSink {
        match &self.sink {
            Some(sink) => sink,
            None => self.log.sink(),
        }
    }
    async fn member(&self, group: &str) -> Named {
        let reader = self.log.log().reader(group);
        Named { name: reader.member().to_string(), source: self.wrap(reader) }
    }
    async fn broadcast(&self) -> Box<dyn EventSource> {
        self.wrap(self.log.log().broadcast())
    }
    async fn skip(&self, partition: Partition) -> bool {
        self.log.skip(partition).await
    }
    async fn expire_before(&self, partition: Partition, start: Offset) -> bool {
        self.log.expire_before(partition, start).await
    }
    async fn truncate(&self, partition: Partition, to: Offset) -> bool {
        self.log.truncate(partition, to).await
    }
    async fn recreate(&self) -> bool {
        self.log.recreate().await
    }
    async fn expel(&self, member: &str) -> bool {
        self.log.expel(member).await
    }
}

#[test]
fn sink() {
    reject(SinkFault::ALL, async |fault| conformance::sink(async || BrokenLog::sink(fault)).await);
}

#[test]
fn source() {
    reject(SourceFault::ALL, async |fault| conformance::source(async || BrokenLog::source(fault)).await);
}

struct Tallies;

#[async_trait]
impl FollowerHarness for Tallies {
    type Follower = Tally;
    async fn fresh(&self) -> Tally {
        Tally::new()
    }
    async fn counts(&self, follower: &Tally) -> BTreeMap<(String, String), i64> {
        follower.counts()
    }
}

struct BrokenTallies(FollowerFault);

#[async_trait]
impl FollowerHarness for BrokenTallies {
    type Follower = MutantFollower;
    async fn fresh(&self) -> MutantFollower {
        MutantFollower::new(self.0)
    }
    async fn counts(&self, follower: &MutantFollower) -> BTreeMap<(String, String), i64> {
        follower.counts()
    }
}

#[tokio::test(start_paused = true)]
async fn the_tally_is_no_mutant() {
    conformance::follower(&Tallies).await;
}

#[test]
fn follower() {
    reject(FollowerFault::ALL, async |fault| conformance::follower(&BrokenTallies(fault)).await);
}

/// The effects of seeded traffic, ordered by time.
fn effects() -> Vec<Effect> {
    let config = TrafficOptions::default().count(5_000);
    let mut model = Model::new(JsonCodec::default(), 1);
    for (offset, item) in (0..).zip(config.traffic()) {
        model.feed(Partition(0), &Record { offset, time: item.time, key: None, value: item.value });
    }
    model.effects().cloned().collect()
}

#[test]
fn alert_rule() {
    let effects = effects();
    reject(RuleFault::ALL, async |fault| {
        conformance::alert_rule(|| MutantRule::new(Some(fault)), &effects);
    });
    let raised = conformance::alert_rule(|| MutantRule::new(None), &effects);
    assert!(raised.len() > 20, "{} alerts", raised.len());
}

/// An evictable state that is too large.
struct Greedy;

impl AlertRule for Greedy {
    type State = ([u64; 8], u8);
    fn name(&self) -> &str {
        "greedy"
    }
    fn keeping(&self) -> Keeping {
        Keeping::Evictable { max_keys: 10 }
    }
    fn key<'e>(&self, _: &'e Effect) -> Option<Key<'e>> {
        Some(Key::All)
    }
    fn observe(&self, _: &mut Self::State, _: &Effect, _: &mut dyn RuleContext) {}
}

/// An evictable state with something on the heap.
struct Hoarding;

impl AlertRule for Hoarding {
    type State = Vec<u8>;
    fn name(&self) -> &str {
        "hoarding"
    }
    fn keeping(&self) -> Keeping {
        Keeping::Evictable { max_keys: 10 }
    }
    fn key<'e>(&self, _: &'e Effect) -> Option<Key<'e>> {
        Some(Key::All)
    }
    fn observe(&self, _: &mut Self::State, _: &Effect, _: &mut dyn RuleContext) {}
}

#[test]
fn alert_rules_that_take_too_much() {
    reject(&["greedy", "hoarding"], async |which| {
        match which {
            "greedy" => conformance::alert_rule(|| Greedy, &[]),
            _ => conformance::alert_rule(|| Hoarding, &[]),
        };
    });
}

/// A codec that gives events another id at each call.
struct Fickle(std::sync::atomic::AtomicU64);

impl Codec for Fickle {
    fn decode(&self, place: &Place, record: &Record) -> Result<Event, InvalidEvent> {
        let offset = self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        JsonCodec::default().decode(place, &Record { offset, ..record.clone() })
    }
}

/// A codec that rejects every record.
struct Blind;

impl Codec for Blind {
    fn decode(&self, _: &Place, _: &Record) -> Result<Event, InvalidEvent> {
        Err(InvalidEvent::malformed("is not to my taste"))
    }
}

#[test]
fn codec() {
    let sample = [r#"{"userId":"u1","postId":"p9","type":"like"}"#.into()];
    conformance::codec(&JsonCodec::default(), &sample);
    reject(&["fickle", "blind"], async |which| match which {
        "fickle" => conformance::codec(&Fickle(Default::default()), &sample),
        _ => conformance::codec(&Blind, &sample),
    });
}
