//! Tests of the alignment.

use std::sync::Arc;

use feedkit_core::alert_log::Consumed;
use feedkit_core::effect::Effect;
use feedkit_core::journal::JournalEntry;
use feedkit_core::{EventKind, Partition, Positions, PostId, Timestamp, UserId};

use super::{Alignment, Reach};

fn entry(partition: u32, from: u64, to: u64, at_end: bool, effects: &[(u64, i64)]) -> Arc<JournalEntry> {
    let effect = |(offset, millis): &(u64, i64)| Effect {
        offset: *offset,
        user: UserId::new(format!("u{partition}-{offset}")).unwrap(),
        post: PostId::new("p").unwrap(),
        kind: EventKind::Like,
        time: Timestamp::from_millis(*millis),
    };
    let effects = effects.iter().map(effect).collect();
    Arc::new(JournalEntry { partition: Partition(partition), from, to, epoch: 1, at_end, effects })
}

fn positions(of: &[(u32, u64)]) -> Positions {
    of.iter().map(|(p, o)| (Partition(*p), *o)).collect()
}

const T0: Timestamp = Timestamp::EPOCH;
/// A time at which all partitions have been quiet.
const LATER: Timestamp = Timestamp::from_millis(1_000);

type Taken = (Vec<(u32, u64, u64)>, Vec<String>);

/// Consumes one portion, and returns its ranges and its users.
fn take(align: &mut Alignment, reach: Reach) -> Option<Taken> {
    take_at_most(align, reach, usize::MAX)
}

fn take_at_most(align: &mut Alignment, reach: Reach, most: usize) -> Option<Taken> {
    let portion = align.portion(reach, most, LATER)?;
    let consumed = portion.consumed.clone();
    let users = portion.effects.iter().map(|e| e.user.to_string()).collect();
    align.consume(&consumed);
    Some((consumed.iter().map(|c| (c.partition.0, c.from, c.to)).collect(), users))
}

#[test]
fn consumes_up_to_the_frontier_in_the_order_of_time() {
    let mut align = Alignment::new(&positions(&[]), &positions(&[(0, 10), (1, 9)]), T0);
    align.push(Partition(0), &[entry(0, 0, 10, false, &[(1, 10), (3, 40), (5, 20), (7, 60)])], T0).unwrap();
    assert_eq!(take(&mut align, Reach::Frontier), None);
    align.push(Partition(1), &[entry(1, 0, 5, false, &[(0, 10), (2, 30)])], T0).unwrap();
    // Partition 1 holds the frontier at 30. The effect at 20 waits behind the one at 40.
    let (ranges, users) = take(&mut align, Reach::Frontier).unwrap();
    assert_eq!(ranges, [(0, 0, 2), (1, 0, 5)]);
    assert_eq!(users, ["u0-1", "u1-0", "u1-2"]);
    assert_eq!(take(&mut align, Reach::Frontier), None);
    align.push(Partition(1), &[entry(1, 5, 9, true, &[(6, 50)])], T0).unwrap();
    let (ranges, users) = take(&mut align, Reach::Frontier).unwrap();
    assert_eq!(ranges, [(0, 2, 10), (1, 5, 9)]);
    assert_eq!(users, ["u0-5", "u0-3", "u1-6", "u0-7"]);
    assert!(align.is_empty() && align.pending() == 0);
}

#[test]
fn consumes_many_effects_in_parts_by_time() {
    let mut align = Alignment::new(&positions(&[]), &positions(&[]), T0);
    let first = entry(0, 0, 10, true, &[(1, 10), (2, 90), (3, 20), (4, 30)]);
    let (empty, last) = (entry(0, 10, 20, true, &[]), entry(0, 20, 30, true, &[(25, 96)]));
    align.push(Partition(0), &[first, empty, last], T0).unwrap();
    align.push(Partition(1), &[entry(1, 0, 10, true, &[(1, 15), (2, 40), (3, 95)])], T0).unwrap();
    let mut parts = Vec::new();
    while let Some(part) = take_at_most(&mut align, Reach::Everything, 2) {
        parts.push(part);
    }
    let users = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let expected = [
        (vec![(0, 0, 2), (1, 0, 2)], users(&["u0-1", "u1-1"])),
        // The two effects behind the one at 90 go with it, and three effects are needed to reach
        // it.
        (vec![(0, 2, 20), (1, 2, 3)], users(&["u0-3", "u0-4", "u1-2", "u0-2"])),
        (vec![(0, 20, 30), (1, 3, 10)], users(&["u1-3", "u0-25"])),
    ];
    assert_eq!(parts, expected);
    assert!(align.is_empty() && align.pending() == 0);
}

#[test]
fn one_late_effect_does_not_make_small_steps_of_all_the_others() {
    let mut align = Alignment::new(&positions(&[]), &positions(&[]), T0);
    // In partition 0, all effects wait behind the first one. All effects of partition 1 are later
    // than those that wait.
    let behind: Vec<_> = (1..500).map(|i| (i, 10)).collect();
    let others: Vec<_> = (0..500).map(|i| (i, 100 + i as i64)).collect();
    let first = [&[(0, 10_000)], &behind[..]].concat();
    align.push(Partition(0), &[entry(0, 0, 500, true, &first)], T0).unwrap();
    align.push(Partition(1), &[entry(1, 0, 500, true, &others)], T0).unwrap();
    let mut sizes = Vec::new();
    while let Some((_, users)) = take_at_most(&mut align, Reach::Everything, 100) {
        sizes.push(users.len());
    }
    assert_eq!(sizes, [100, 100, 100, 100, 100, 500]);
    // A small rest does not stay behind, either.
    let times: Vec<_> = (500..750).map(|i| (i, i as i64)).collect();
    align.push(Partition(0), &[entry(0, 500, 750, true, &times)], T0).unwrap();
    assert_eq!(take_at_most(&mut align, Reach::Everything, 100).unwrap().1.len(), 100);
    assert_eq!(take_at_most(&mut align, Reach::Everything, 100).unwrap().1.len(), 150);
}

#[test]
fn does_not_wait_for_a_partition_at_its_end() {
    let mut align = Alignment::new(&positions(&[(0, 5), (1, 7)]), &positions(&[(0, 5), (1, 7)]), T0);
    align.push(Partition(0), &[entry(0, 5, 9, true, &[(6, 60)])], T0).unwrap();
    assert_eq!(take(&mut align, Reach::Frontier).unwrap().0, [(0, 5, 9)]);
    // Entries without effects also move the position.
    align.push(Partition(1), &[entry(1, 7, 8, true, &[])], T0).unwrap();
    assert_eq!(take(&mut align, Reach::Frontier), Some((vec![(1, 7, 8)], vec![])));
}

#[test]
fn an_old_end_does_not_count_while_a_later_one_is_known() {
    let mut align = Alignment::new(&positions(&[]), &positions(&[(0, 20), (1, 10)]), T0);
    align.push(Partition(0), &[entry(0, 0, 10, true, &[(1, 40)])], T0).unwrap();
    align.push(Partition(1), &[entry(1, 0, 10, true, &[(1, 50)])], T0).unwrap();
    assert_eq!(take(&mut align, Reach::Frontier).unwrap().0, [(0, 0, 10)]);
    align.push(Partition(0), &[entry(0, 10, 20, true, &[(11, 45)])], T0).unwrap();
    assert_eq!(take(&mut align, Reach::Frontier).unwrap().0, [(0, 10, 20), (1, 0, 10)]);
}

#[test]
fn old_events_wait_for_the_others_until_those_are_quiet() {
    let day = 86_400_000i64;
    let at = |millis| Timestamp::from_millis(day + millis);
    let mut align = Alignment::new(&positions(&[]), &positions(&[]), at(0));
    align.add_partition(Partition(0), at(0));
    align.add_partition(Partition(1), at(0));
    align.push(Partition(0), &[entry(0, 0, 10, true, &[(1, 10), (2, 50)])], at(0)).unwrap();
    assert!(align.portion(Reach::Frontier, 99, at(299)).is_none());
    assert!(align.portion(Reach::Frontier, 99, at(300)).is_some());
    align.push(Partition(1), &[entry(1, 0, 10, true, &[(1, 20)])], at(300)).unwrap();
    let times = |align: &Alignment, now| {
        let portion = align.portion(Reach::Frontier, 99, at(now)).unwrap();
        portion.effects.iter().map(|e| e.time.as_millis()).collect::<Vec<_>>()
    };
    // More of partition 1 may follow the entry that has just arrived.
    assert_eq!(times(&align, 300), [10, 20]);
    assert_eq!(times(&align, 600), [10, 20, 50]);
    // Partition 0 was quiet before, but that does not release the new entry.
    align.push(Partition(0), &[entry(0, 10, 12, true, &[(11, 60)])], at(600)).unwrap();
    assert_eq!(times(&align, 601), [10, 20, 50]);
    assert_eq!(times(&align, 900), [10, 20, 50, 60]);
}

#[test]
fn live_events_do_not_wait_for_partitions_at_their_end() {
    let mut align = Alignment::new(&positions(&[]), &positions(&[(0, 0), (1, 0)]), T0);
    align.push(Partition(0), &[entry(0, 0, 10, true, &[(1, 10)])], LATER).unwrap();
    assert_eq!(align.portion(Reach::Frontier, 99, LATER).unwrap().effects.len(), 1);
}

#[test]
fn entries_without_effects_hold_nothing_back() {
    let mut align = Alignment::new(&positions(&[]), &positions(&[(0, 100), (1, 100)]), T0);
    align.push(Partition(0), &[entry(0, 0, 10, false, &[(1, 10)])], T0).unwrap();
    align.push(Partition(1), &[entry(1, 0, 10, false, &[])], T0).unwrap();
    assert_eq!(take(&mut align, Reach::Frontier).unwrap().0, [(0, 0, 10), (1, 0, 10)]);
}

#[test]
fn the_reach_can_be_extended() {
    let mut align = Alignment::new(&positions(&[]), &positions(&[(0, 100), (1, 100), (2, 100)]), T0);
    align.push(Partition(0), &[entry(0, 0, 10, false, &[(1, 10), (2, 50)])], T0).unwrap();
    align.push(Partition(1), &[entry(1, 0, 10, false, &[(1, 20)])], T0).unwrap();
    assert_eq!(take(&mut align, Reach::Frontier), None);
    assert_eq!(take(&mut align, Reach::PassIdle).unwrap().0, [(0, 0, 2), (1, 0, 10)]);
    assert_eq!(align.pending(), 1);
    assert_eq!(take(&mut align, Reach::Everything).unwrap().0, [(0, 2, 10)]);
}

#[test]
fn skips_received_entries_and_refuses_a_gap() {
    let mut align = Alignment::new(&positions(&[(0, 4)]), &positions(&[(0, 20)]), T0);
    let long = entry(0, 0, 10, false, &[(1, 10), (3, 11), (4, 12), (8, 13)]);
    assert_eq!(align.push(Partition(0), &[Arc::clone(&long)], T0).unwrap(), 10);
    assert_eq!(align.push(Partition(0), &[long], T0).unwrap(), 10);
    assert_eq!(align.pending(), 2);
    let gap = align.push(Partition(0), &[entry(0, 11, 12, true, &[])], T0).unwrap_err();
    assert_eq!(gap.kind(), feedkit_core::ErrorKind::Gap);
    assert_eq!(
        take(&mut align, Reach::Everything),
        Some((vec![(0, 4, 10)], vec!["u0-4".into(), "u0-8".into()]))
    );
    // A recorded range may end within an entry.
    align.push(Partition(0), &[entry(0, 10, 20, true, &[(11, 1), (15, 2), (19, 3)])], T0).unwrap();
    let range = [Consumed { partition: Partition(0), from: 10, to: 15 }];
    assert_eq!(align.ranges(&range).effects.len(), 1);
    align.consume(&range);
    assert_eq!(
        take(&mut align, Reach::Everything).unwrap(),
        (vec![(0, 15, 20)], vec!["u0-15".into(), "u0-19".into()])
    );
}
