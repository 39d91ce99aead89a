//! Benchmarks of single parts of the pipeline.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use feedkit_alerts::{AlertOptions, RuleRunner, RuleSet};
use feedkit_core::codec::Place;
use feedkit_core::effect::{Fold, LikePolicy, LoggedEvent};
use feedkit_core::history::CommitBatch;
use feedkit_core::journal::JournalEntry;
use feedkit_core::source::Record;
use feedkit_core::traffic::TrafficOptions;
use feedkit_core::{Codec, History, JsonCodec, Partition, SystemClock, Timestamp};
use feedkit_store::sqlite::{Sqlite, SqliteOptions};

/// Number of events in a batch.
const BATCH: u64 = 5_000;
const PLACE: Place = Place { log: 1, partition: Partition(0) };

fn records(seed: u64) -> Vec<Record> {
    let config =
        TrafficOptions::default().seed(seed).count(BATCH).users(100_000).posts(50_000).malformed(0.0);
    let record = |(offset, item): (u64, feedkit_core::traffic::TrafficItem)| Record {
        offset,
        time: item.time,
        key: Some(Bytes::from(item.key)),
        value: item.value,
    };
    (0..).zip(config.traffic()).map(record).collect()
}

fn events(seed: u64) -> Vec<LoggedEvent> {
    let codec = JsonCodec::default();
    let decode = |record: &Record| {
        let event = codec.decode(&PLACE, record).ok()?;
        Some(LoggedEvent { offset: record.offset, event })
    };
    records(seed).iter().filter_map(decode).collect()
}

fn entry() -> JournalEntry {
    let effects = events(1).iter().map(LoggedEvent::effect).collect();
    JournalEntry { partition: Partition(0), from: 0, to: BATCH, epoch: 1, at_end: false, effects }
}

fn decoding(c: &mut Criterion) {
    let (records, codec) = (records(1), JsonCodec::default());
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("json", |b| {
        b.iter(|| records.iter().filter(|record| codec.decode(&PLACE, black_box(record)).is_ok()).count())
    });
}

fn folding(c: &mut Criterion) {
    let events = events(1);
    let mut group = c.benchmark_group("fold");
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("unique likes", |b| {
        b.iter(|| {
            let fold = Fold::new(black_box(&events), LikePolicy::Unique);
            fold.resolve(|_| Ok::<_, ()>(false), |_| Ok(true))
        })
    });
}

fn journal(c: &mut Criterion) {
    let entry = entry();
    let bytes = entry.encode();
    let mut group = c.benchmark_group("journal");
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("encode", |b| b.iter(|| black_box(&entry).encode()));
    group.bench_function("decode", |b| {
        b.iter(|| JournalEntry::decode(Partition(0), 0, BATCH, black_box(&bytes)))
    });
}

fn rules(c: &mut Criterion) {
    let effects: Vec<_> = events(1).iter().map(LoggedEvent::effect).collect();
    let mut rules = RuleRunner::new(&RuleSet::standard(), &AlertOptions::default())
        .expect("the standard rules are valid");
    let mut group = c.benchmark_group("rules");
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("all three", |b| {
        b.iter(|| rules.step(black_box(&effects), effects[effects.len() - 1].time))
    });
}

fn sqlite(c: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let history = runtime.block_on(async {
        let store =
            Sqlite::open(dir.path(), SqliteOptions::default(), Arc::new(SystemClock)).await.expect("opens");
        store.history()
    });
    let epoch = runtime.block_on(history.claim(Partition(0), "bench")).expect("claims").epoch;
    let (mut at, mut seed) = (0, 0);
    let mut group = c.benchmark_group("sqlite");
    group.throughput(Throughput::Elements(BATCH)).sample_size(20);
    group.bench_function("commit of 5,000", |b| {
        b.iter_batched(
            || {
                seed += 1;
                let mut events = events(seed);
                events.iter_mut().for_each(|event| event.offset += at);
                let batch = CommitBatch {
                    partition: Partition(0),
                    epoch,
                    log: 1,
                    from: at,
                    to: at + BATCH,
                    at_end: false,
                    events,
                    rejected: Vec::new(),
                    last: None,
                    now: Timestamp::EPOCH,
                };
                at += BATCH;
                Arc::new(batch)
            },
            |batch| runtime.block_on(history.commit(batch)).expect("commits"),
            BatchSize::PerIteration,
        )
    });
}

criterion_group!(parts, decoding, folding, journal, rules, sqlite);
criterion_main!(parts);
