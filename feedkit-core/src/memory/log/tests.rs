//! Private behavior of the log in memory.

use super::*;
use crate::SystemClock;

#[test]
fn records_of_a_time_are_found() {
    let log = MemoryLog::new(2, SystemClock);
    let at = Timestamp::from_millis;
    for millis in [10, 20, 20, 15, 30] {
        log.append(Partition(1), at(millis), None, Bytes::new());
    }
    let place = |millis| log.positions_at(at(millis)).of(Partition(1));
    assert_eq!([0, 10, 11, 20, 21, 31].map(place), [0, 0, 1, 1, 4, 5]);
}

#[test]
fn keys_share_a_partition_and_what_has_none_goes_round() {
    let log = MemoryLog::new(4, SystemClock);
    let send = |key: Option<&'static str>| {
        let record = NewRecord { key: key.map(Into::into), value: Bytes::new() };
        let (log, outcome) = (log.clone(), std::sync::mpsc::channel());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        outcome.0.send(runtime.block_on(log.send(vec![record])).remove(0).unwrap().partition).unwrap();
        outcome.1.recv().unwrap()
    };
    assert!((0..5).all(|_| send(Some("u1")) == log.partition_of(b"u1")));
    let mut round: Vec<_> = (0..4).map(|_| send(None)).collect();
    round.sort();
    assert_eq!(round, [0, 1, 2, 3].map(Partition));
}

#[test]
fn partitions_move_no_more_than_they_must() {
    let mut group = Group::default();
    let waker = std::task::Waker::noop();
    let told = |group: &mut Group, member| {
        std::iter::from_fn(|| match group.tell(member, waker) {
            Some(group::Told::Assigned(p)) => Some(p.0),
            _ => None,
        })
        .collect::<Vec<_>>()
    };
    group.join(1, 4);
    assert_eq!(told(&mut group, 1), [0, 1, 2, 3]);
    group.join(2, 4);
    assert!(told(&mut group, 2).is_empty(), "the first still holds all");
    let Some(group::Told::Revoked(taken, guard)) = group.tell(1, waker) else { panic!("nothing revoked") };
    assert_eq!(taken.len(), 2);
    assert!(told(&mut group, 2).is_empty(), "the guard is held");
    drop(guard);
    assert_eq!(told(&mut group, 2).len(), 2);
    group.expel(1);
    assert_eq!(told(&mut group, 2).len(), 2, "what the dead one had goes over at once");
}
