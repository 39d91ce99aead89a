//! What is known of a partition's fences over all shards of a cluster.

use feedkit_core::counters::Fence;

use super::fence::Mark;
use super::shard::Standing;

/// What is known of a partition's fences.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) generation: String,
    pub(super) incarnation: Option<u128>,
    /// Whether anything of it was ever counted.
    pub(super) begun: bool,
    /// The chunk to go on with: all before it is counted everywhere.
    pub(super) at: Mark,
    /// Each shard's fence as last seen. No chunk from there up to `at` touches the shard.
    pub(super) seen: Vec<Mark>,
}

impl View {
    /// Puts together what the shards say; `None` when they have no common state and must be rebuilt.
    ///
    /// They are read one beside the other while others may count. That does no harm: a shard read before its home
    /// may seem to miss something, and is then given again what it has.
    pub(super) fn new(shards: &[Standing], home: usize) -> Option<View> {
        let generation = &shards[0].generation;
        if shards.iter().any(|shard| shard.unusable || shard.generation != *generation) {
            return None;
        }
        let mut incarnations = shards.iter().filter_map(|shard| shard.incarnation);
        let incarnation = incarnations.next();
        if incarnations.any(|other| Some(other) != incarnation) {
            return None;
        }
        let home = &shards[home];
        let seen: Vec<_> = shards.iter().map(|shard| shard.fence.unwrap_or_default()).collect();
        let noted = home.noted.iter().map(|noted| noted.unwrap_or_default());
        let lost = seen.iter().zip(noted).filter(|(seen, noted)| *seen < noted).map(|(seen, _)| *seen);
        let at = lost.chain(home.home).min().filter(|_| home.home.is_some()).unwrap_or_default();
        Some(View { generation: generation.clone(), incarnation, begun: home.home.is_some(), at, seen })
    }

    /// The chunk to go on with, if anything was counted.
    pub(super) fn fence(&self) -> Option<Fence> {
        self.incarnation.filter(|_| self.begun).map(|incarnation| self.at.fence(incarnation))
    }
}
