//! The last notifications, in memory, for clients that reconnect soon.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use hashbrown::HashSet;

use feedkit_core::notification::Audience;
use feedkit_core::{Offset, Partition, Positions};

/// Maximum number of bytes of the kept notifications.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// A notification with its position in the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) partition: Partition,
    pub(super) offset: Offset,
    pub(super) audience: Audience,
    /// The id, which identifies repeats.
    pub(super) id: String,
    /// The notification as JSON.
    pub(super) body: String,
}

/// The last notifications of each partition, complete from some offset on.
#[derive(Debug)]
pub(super) struct Tail {
    max: usize,
    parts: BTreeMap<Partition, Part>,
    /// The partition of each entry, in the order of arrival.
    order: VecDeque<Partition>,
    ids: HashSet<String>,
    bytes: usize,
    next_seq: u64,
}

#[derive(Debug, Default)]
struct Part {
    /// The offset from which on all notifications are here.
    from: Offset,
    /// The entries by ascending offset, each with its place in the order of arrival.
    entries: VecDeque<(u64, Arc<Entry>)>,
}

/// The notifications that a client missed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Since {
    /// All missed notifications, in the order of arrival.
    Missed(Vec<Arc<Entry>>),
    /// There are more than the maximum.
    TooMany,
    /// The tail does not reach back far enough.
    NotHeld,
}

impl Tail {
    /// An empty tail that keeps `max` notifications.
    pub(super) fn new(max: usize) -> Self {
        Tail {
            max,
            parts: BTreeMap::new(),
            order: VecDeque::new(),
            ids: HashSet::new(),
            bytes: 0,
            next_seq: 0,
        }
    }

    /// Notes that the tail has nothing of `partition` before `from`.
    pub(super) fn begin(&mut self, partition: Partition, from: Offset) {
        self.parts.insert(partition, Part { from, entries: VecDeque::new() });
    }

    /// Appends a notification; `false` if one with the same id is already here.
    pub(super) fn push(&mut self, entry: Arc<Entry>) -> bool {
        if !self.ids.insert(entry.id.clone()) {
            return false;
        }
        self.bytes += entry.body.len();
        self.order.push_back(entry.partition);
        self.parts.entry(entry.partition).or_default().entries.push_back((self.next_seq, entry));
        self.next_seq += 1;
        while self.order.len() > self.max || self.bytes > MAX_BYTES {
            self.drop_oldest();
        }
        true
    }

    fn drop_oldest(&mut self) {
        let Some(part) = self.order.pop_front().and_then(|p| self.parts.get_mut(&p)) else { return };
        if let Some((_, entry)) = part.entries.pop_front() {
            self.bytes -= entry.body.len();
            self.ids.remove(&entry.id);
            part.from = entry.offset + 1;
        }
    }

    /// The wanted notifications at or after `from`, at most `most`.
    pub(super) fn since(&self, from: &Positions, most: usize, wanted: impl Fn(&Entry) -> bool) -> Since {
        let mut missed = Vec::new();
        for (partition, part) in &self.parts {
            let from = from.of(*partition);
            if from < part.from {
                return Since::NotHeld;
            }
            let first = part.entries.partition_point(|(_, entry)| entry.offset < from);
            missed.extend(part.entries.range(first..).filter(|(_, entry)| wanted(entry)));
            if missed.len() > most {
                return Since::TooMany;
            }
        }
        missed.sort_unstable_by_key(|(seq, _)| *seq);
        Since::Missed(missed.into_iter().map(|(_, entry)| Arc::clone(entry)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(partition: u32, offset: Offset) -> Arc<Entry> {
        let id = format!("{partition}:{offset}");
        Arc::new(Entry {
            partition: Partition(partition),
            offset,
            audience: Audience::All,
            id,
            body: "{}".into(),
        })
    }

    fn at(p0: Offset, p1: Offset) -> Positions {
        [(Partition(0), p0), (Partition(1), p1)].into_iter().collect()
    }

    #[test]
    fn hands_out_what_came_since_in_the_order_in_which_it_came() {
        let mut tail = Tail::new(3);
        tail.begin(Partition(0), 5);
        tail.begin(Partition(1), 0);
        let ids = |tail: &Tail, from: Positions| match tail.since(&from, 10, |_| true) {
            Since::Missed(missed) => missed.iter().map(|e| e.id.clone()).collect(),
            other => vec![format!("{other:?}")],
        };
        assert!(tail.push(entry(0, 5)) && tail.push(entry(1, 3)) && tail.push(entry(0, 9)));
        assert!(!tail.push(entry(0, 9)), "a repeat");
        assert_eq!(ids(&tail, at(5, 0)), ["0:5", "1:3", "0:9"]);
        assert_eq!(ids(&tail, at(6, 4)), ["0:9"]);
        assert_eq!(ids(&tail, at(4, 4)), ["NotHeld"]);
        // Remove the oldest.
        assert!(tail.push(entry(1, 4)));
        assert_eq!(ids(&tail, at(5, 0)), ["NotHeld"]);
        assert_eq!(ids(&tail, at(6, 0)), ["1:3", "0:9", "1:4"]);
        assert_eq!(tail.since(&at(6, 0), 2, |_| true), Since::TooMany);
        assert_eq!(tail.since(&at(6, 0), 2, |e| e.offset == 9), Since::Missed(vec![entry(0, 9)]));
    }

    #[test]
    fn a_tail_of_none_still_knows_where_it_stands() {
        let mut tail = Tail::new(0);
        tail.begin(Partition(0), 0);
        assert!(tail.push(entry(0, 0)));
        assert_eq!(tail.since(&at(0, 0), 9, |_| true), Since::NotHeld);
        assert_eq!(tail.since(&at(1, 0), 9, |_| true), Since::Missed(vec![]));
    }
}
