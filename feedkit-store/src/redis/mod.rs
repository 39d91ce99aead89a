//! Counters, a shared rate limiter and a cache on Redis 7 or a Redis Cluster.
//!
//! What makes position and change one step here: a Lua script, which the server runs with nothing between. It
//! compares the chunk's fence with the stored one, looks at the types of all keys that it will touch, and only
//! then writes (a script that fails half-way is not rolled back). A reply that is lost does no harm: the script,
//! sent again, finds the fence beyond its chunk.
//!
//! # Keys
//!
//! | key | type | holds |
//! |---|---|---|
//! | `post:ID:likes`, `post:ID:comments`, `post:ID:KINDs` | string | the count |
//! | `top_posts` | sorted set | `post:ID` by likes; posts with none are left out |
//! | `trending_posts` | sorted set | `post:ID` by trending score, relative to the landmark's generation |
//! | `feedkit:state` | hash | incarnation of the history, generation of the data, landmark, a rebuild going on |
//! | `feedkit:fences` | hash | next fence by partition: `OFFSET.CHUNK`, in digits of fixed width |
//! | `feedkit:authors` | hash | author by post |
//! | `feedkit:kinds` | set | kinds counted, besides `like` and `comment` |
//! | `feedkit:trending:rest` | sorted set | trending scores of posts that have no likes now |
//! | `feedkit:home` | hash | cluster only: up to where all shards have counted a partition |
//! | `feedkit:limit:KEY` | string, expires | when an allowance will be whole again |
//! | `feedkit:cache:KEY` | string, expires | an answer |
//!
//! In a cluster each post belongs to one of 64 virtual shards, by a hash of its id, and each of these keys (but
//! limits and the cache) is there once for each shard, after a hash tag: `{fk00}:post:ID:likes`,
//! `{fk00}:top_posts`, to `{fk63}:…`. So each shard lies whole on one server, and moves whole when slots do.
//!
//! # A cluster counts exactly, too
//!
//! A chunk touches some shards; each counts its part in one step, with a fence of its own, and those that it does
//! not touch are not written to. How is an old fence of such a shard told from one that a failover brought back?
//! Whoever applies walks a partition's chunks in order, and names the fence it last saw at each shard. A shard
//! takes a part only if its fence lies between that one and the chunk's: then nothing that touches it is
//! missing. When all shards have counted a chunk, the partition's *home* shard notes that, and the fences of the
//! shards just touched. Who starts anew reads all shards: one whose fence lies before the noted one has lost
//! something, and counting goes on from there; the others skip what they have. A home that was set back does
//! no more harm, as it was set back together with its notes. A shard that fell back behind a rebuild bears another
//! generation, and asks for another rebuild.
//!
//! # What Redis has to be
//!
//! Version 7 or newer; `maxmemory-policy` must not be `allkeys-*`, which takes counters away when memory is short:
//! [`Redis::connect`] refuses it. `volatile-*` is accepted, as only limits and cached answers expire. Redis may lose
//! all it holds without harm: the counters are then counted again from the journal, or rebuilt from the history.
//! See [`acl_rules`] for users with no more rights than they need.

mod acl;
mod cache;
mod changes;
mod cluster;
mod connection;
mod counters;
mod failure;
mod fallback;
mod fence;
mod keys;
mod limiter;
mod lists;
mod options;
mod rebuild;
mod reply;
mod script;
mod server_check;
mod shard;
mod shared;
mod store;
mod view;

pub use acl::{Role, acl_rules};
pub use cache::RedisCache;
pub use counters::RedisCounters;
pub use fallback::FallbackLimiter;
pub use limiter::RedisRateLimiter;
pub use options::RedisOptions;
pub use store::Redis;
