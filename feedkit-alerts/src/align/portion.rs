//! The effects that are consumed together.

use feedkit_core::alert_log::Consumed;
use feedkit_core::effect::Effect;
use feedkit_core::{Offset, Partition, Timestamp};

use super::queue::Queue;

/// The effects that are consumed together.
#[derive(Debug, Default)]
pub(crate) struct Portion<'a> {
    /// The range of each partition.
    pub(crate) consumed: Vec<Consumed>,
    /// The effects, ordered by time, partition and offset.
    pub(crate) effects: Vec<&'a Effect>,
}

/// Collects a portion, partition by partition.
#[derive(Default)]
pub(super) struct Collect<'a> {
    consumed: Vec<Consumed>,
    /// Each effect with its time and partition. Within a partition they are in the order of
    /// offsets.
    effects: Vec<(Timestamp, Partition, &'a Effect)>,
}

impl<'a> Collect<'a> {
    /// Adds the effects of one partition up to `to`.
    pub(super) fn add(&mut self, partition: Partition, queue: &'a Queue, to: Offset) {
        if to <= queue.next {
            return;
        }
        self.consumed.push(Consumed { partition, from: queue.next, to });
        self.effects.extend(queue.up_to(to).flatten().map(|effect| (effect.time, partition, effect)));
    }

    /// Orders the effects.
    pub(super) fn finish(mut self) -> Portion<'a> {
        // This sort is stable, and fast on a few sorted runs.
        self.effects.sort_by_key(|(time, partition, _)| (*time, *partition));
        let effects = self.effects.into_iter().map(|(_, _, effect)| effect).collect();
        Portion { consumed: self.consumed, effects }
    }
}
