//! The fences of one partition over all shards of a cluster.

use feedkit_core::counters::Fence;

use super::fence::Mark;
use super::shard::Standing;

/// The last known fences of one partition.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) generation: String,
    pub(super) incarnation: Option<u128>,
    /// Whether any chunk of it was ever counted.
    pub(super) begun: bool,
    /// The chunk to continue with. All shards have counted everything before it.
    pub(super) at: Mark,
    /// The last known fence of each shard. No chunk from there up to `at` touches the shard.
    pub(super) seen: Vec<Mark>,
}

impl View {
    /// Puts the answers of all shards together. `None` if they have no common state and must be
    /// rebuilt.
    ///
    /// The shards are read at slightly different times, while others may count. This does no harm:
    /// a shard that was read before its home may seem to have missed a chunk, and then gets it
    /// again.
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

    /// The chunk to continue with, if any was counted.
    pub(super) fn fence(&self) -> Option<Fence> {
        self.incarnation.filter(|_| self.begun).map(|incarnation| self.at.fence(incarnation))
    }
}
