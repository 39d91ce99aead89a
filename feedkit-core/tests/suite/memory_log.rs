//! What the memory log promises beyond the contracts of sinks and sources.

use std::time::Duration;

use feedkit_core::memory::{MemoryLog, MemoryReader};
use feedkit_core::source::{Gap, GapReason, Resume, Revoked, SourceEvent};
use feedkit_core::{EventSource, Partition, SystemClock, Timestamp};

const P0: Partition = Partition(0);

fn append(log: &MemoryLog, partition: Partition, count: usize) {
    for i in 0..count {
        log.append(partition, Timestamp::EPOCH, None, format!("{i}").into());
    }
}

/// The next event that is no assignment; those are answered from the beginning.
async fn next(reader: &mut MemoryReader) -> Option<SourceEvent> {
    loop {
        match tokio::time::timeout(Duration::from_secs(1), reader.next()).await {
            Ok(Ok(SourceEvent::Assigned(assigned))) => assigned.resume(Resume::default()),
            Ok(event) => return Some(event.unwrap()),
            Err(_) => return None,
        }
    }
}

async fn revoked(reader: &mut MemoryReader) -> Revoked {
    match next(reader).await {
        Some(SourceEvent::Revoked(revoked)) => revoked,
        other => panic!("{other:?} where something is to be revoked"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_guard_holds_its_partitions_after_its_reader_is_gone() {
    let log = MemoryLog::new(2, SystemClock);
    let mut one = log.reader("g");
    assert!(next(&mut one).await.is_none());
    let mut two = log.reader("g");
    let Revoked { partitions, guard } = revoked(&mut one).await;
    drop(one);
    append(&log, partitions[0], 1);
    assert!(next(&mut two).await.is_none(), "what was revoked is still being finished");
    assert!(two.still_held(Partition(1 - partitions[0].0)).await.unwrap(), "the rest is free");
    drop(guard);
    assert!(matches!(next(&mut two).await, Some(SourceEvent::Batch(_))));
}

async fn gap(reader: &mut MemoryReader) -> Gap {
    match next(reader).await {
        Some(SourceEvent::Gap(gap)) => gap,
        other => panic!("{other:?} where there is a gap"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_made_anew_before_the_answer_is_a_gap() {
    let log = MemoryLog::new(1, SystemClock);
    append(&log, P0, 5);
    let mut reader = log.broadcast();
    let Ok(SourceEvent::Assigned(assigned)) = reader.next().await else { panic!("nothing is assigned") };
    log.recreate();
    assert_eq!(log.ends().total(), 0);
    append(&log, P0, 5);
    assigned.resume(Resume { offset: 3, ..Resume::default() });
    assert_eq!(gap(&mut reader).await.reason, GapReason::Recreated);
}

#[tokio::test(start_paused = true)]
async fn records_replaced_while_reading_are_a_gap() {
    let log = MemoryLog::new(1, SystemClock);
    append(&log, P0, 5);
    let mut reader = log.broadcast();
    assert!(matches!(next(&mut reader).await, Some(SourceEvent::Batch(batch)) if batch.to == 5));
    log.truncate(P0, 3);
    append(&log, P0, 9);
    assert_eq!(gap(&mut reader).await.reason, GapReason::Recreated);
    let mut reader = log.broadcast();
    assert!(matches!(next(&mut reader).await, Some(SourceEvent::Batch(_))));
    log.truncate(P0, 3);
    assert_eq!(gap(&mut reader).await.reason, GapReason::Truncated);
}

#[tokio::test(start_paused = true)]
async fn partitions_take_turns() {
    let log = MemoryLog::with_max_batch(3, SystemClock, 10);
    (0..3).for_each(|p| append(&log, Partition(p), 100));
    let mut reader = log.broadcast();
    let mut order = Vec::new();
    while let Some(SourceEvent::Batch(batch)) = next(&mut reader).await {
        assert_eq!(batch.records.len(), 10);
        order.push(batch.partition.0);
    }
    let expected: Vec<_> = (0..30).map(|i| (order[0] + i) % 3).collect();
    assert_eq!(order, expected);
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_comes_back_is_not_paused() {
    let log = MemoryLog::new(2, SystemClock);
    let mut one = log.reader("g");
    assert!(next(&mut one).await.is_none());
    (0..2).for_each(|p| one.pause(Partition(p)));
    let two = log.reader("g");
    let Revoked { partitions, guard } = revoked(&mut one).await;
    drop((guard, two));
    append(&log, partitions[0], 1);
    append(&log, Partition(1 - partitions[0].0), 1);
    let Some(SourceEvent::Batch(batch)) = next(&mut one).await else { panic!("it is still paused") };
    assert_eq!(batch.partition, partitions[0]);
    assert!(next(&mut one).await.is_none(), "the other was never away");
}

#[tokio::test(start_paused = true)]
async fn one_that_was_expelled_joins_again() {
    let log = MemoryLog::new(2, SystemClock);
    let mut one = log.reader("g");
    assert!(next(&mut one).await.is_none());
    append(&log, P0, 3);
    log.expel(one.member());
    let Some(SourceEvent::Lost(mut lost)) = next(&mut one).await else { panic!("nothing is lost") };
    lost.sort();
    assert_eq!(lost, [P0, Partition(1)]);
    let Some(SourceEvent::Batch(batch)) = next(&mut one).await else { panic!("it is assigned nothing") };
    assert_eq!((batch.from, batch.to), (0, 3));
}

#[tokio::test]
async fn a_reader_that_waits_is_woken() {
    let log = MemoryLog::new(1, SystemClock);
    let mut reader = log.reader("g");
    let Ok(SourceEvent::Assigned(assigned)) = reader.next().await else { panic!("nothing is assigned") };
    let waiting = tokio::spawn(async move { reader.next().await.unwrap() });
    tokio::task::yield_now().await;
    // The answer itself wakes it, and then the record.
    assigned.resume(Resume::default());
    tokio::task::yield_now().await;
    append(&log, P0, 1);
    assert!(matches!(waiting.await.unwrap(), SourceEvent::Batch(batch) if batch.at_end));
}
