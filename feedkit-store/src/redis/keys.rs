//! The names of keys, and the shard that a post belongs to.

use xxhash_rust::xxh3::xxh3_64;

use feedkit_core::{Partition, PostId};

/// The number of virtual shards in a cluster. Stored data depends on it: with another number, posts
/// would not be found.
pub(super) const SHARDS: usize = 64;

/// The shards of a store, each with the prefix of its keys.
#[derive(Debug)]
pub(super) struct Keyspace {
    shards: Vec<Shard>,
}

/// One shard. All its keys are on one server.
#[derive(Debug)]
pub(super) struct Shard {
    /// The prefix of its keys.
    pub(super) prefix: String,
    /// The hash that says which history's effects are counted, and whether they are complete.
    pub(super) state: String,
}

impl Keyspace {
    pub(super) fn new(prefix: &str, cluster: bool) -> Self {
        let shard = |prefix: String| Shard { state: format!("{prefix}feedkit:state"), prefix };
        let shards = match cluster {
            true => (0..SHARDS).map(|n| shard(format!("{prefix}{{fk{n:02}}}:"))).collect(),
            false => vec![shard(prefix.to_owned())],
        };
        Keyspace { shards }
    }

    pub(super) fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// Whether there is only one shard, so that one script changes everything.
    pub(super) fn is_single(&self) -> bool {
        self.shards.len() == 1
    }

    /// The shard that has a post's counters.
    pub(super) fn shard_of(&self, post: &PostId) -> usize {
        match self.is_single() {
            true => 0,
            false => (xxh3_64(post.as_str().as_bytes()) % self.shards.len() as u64) as usize,
        }
    }

    /// The shard that records how far all shards have counted a partition.
    pub(super) fn home_of(&self, partition: Partition) -> usize {
        partition.0 as usize % self.shards.len()
    }
}

impl Shard {
    /// Whether `key` is a counter of one of these kinds (`like` for `post:ID:likes`).
    pub(super) fn is_counter(&self, key: &[u8], is_kind: impl Fn(&str) -> bool) -> bool {
        let name = std::str::from_utf8(key).ok().and_then(|key| key.strip_prefix(self.prefix.as_str()));
        let Some((id, kind)) = name.and_then(|n| n.strip_prefix("post:")).and_then(|n| n.rsplit_once(':'))
        else {
            return false;
        };
        PostId::new(id).is_ok() && kind.strip_suffix('s').is_some_and(is_kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_told_from_what_is_not_ours() {
        let single = Keyspace::new("", false);
        let known = |kind: &str| ["like", "comment", "share"].contains(&kind);
        let is = |key: &str| single.shards()[0].is_counter(key.as_bytes(), known);
        for key in ["post:9:likes", "post:a:b:comments", "post:9:shares", "post:post:9:likes:likes"] {
            assert!(is(key), "{key}");
        }
        for key in
            ["post:9:tags", "post::likes", "post:9:like", "posts:9:likes", "x:post:9:likes", "post:é:likes"]
        {
            assert!(!is(key), "{key}");
        }
        let cluster = Keyspace::new("t:", true);
        assert_eq!(cluster.shards()[7].state, "t:{fk07}:feedkit:state");
        assert!(cluster.shards()[7].is_counter(b"t:{fk07}:post:9:likes", known));
    }

    #[test]
    fn posts_stay_where_they_are() {
        // Stored data depends on these numbers.
        let cluster = Keyspace::new("", true);
        let shards: Vec<_> =
            ["1", "2", "p9"].iter().map(|id| cluster.shard_of(&PostId::new(id).unwrap())).collect();
        assert_eq!(shards, [24, 20, 20]);
        assert_eq!(cluster.home_of(Partition(65)), 1);
    }
}
