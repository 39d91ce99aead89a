//! Counters, a shared rate limiter and a cache on Redis 7 or a Redis Cluster.
//!
//! A Lua script changes the position and the counts in one step: the server runs nothing else in
//! between. The script compares the chunk's fence with the stored one, checks the types of all keys
//! that it will touch, and only then writes, because Redis does not roll back a script that fails
//! half-way. A lost reply does no harm: when the script is sent again, it finds that the fence is
//! already after its chunk.
//!
//! # Keys
//!
//! | key | type | holds |
//! |---|---|---|
//! | `post:ID:likes`, `post:ID:comments`, `post:ID:KINDs` | string | the count |
//! | `top_posts` | sorted set | `post:ID` by likes; posts without likes are left out |
//! | `trending_posts` | sorted set | `post:ID` by trending score, relative to the landmark's generation |
//! | `feedkit:state` | hash | incarnation of the history, generation of the data, landmark, running rebuild |
//! | `feedkit:fences` | hash | next fence by partition: `OFFSET.CHUNK`, in digits of fixed width |
//! | `feedkit:authors` | hash | author by post |
//! | `feedkit:kinds` | set | kinds that are counted, besides `like` and `comment` |
//! | `feedkit:trending:rest` | sorted set | trending scores of posts that have no likes now |
//! | `feedkit:home` | hash | cluster only: how far all shards have counted a partition |
//! | `feedkit:limit:KEY` | string, expires | when the allowance will be whole again |
//! | `feedkit:cache:KEY` | string, expires | an answer |
//!
//! In a cluster, a hash of a post's id assigns the post to one of 64 virtual shards. Each shard has
//! its own set of these keys, except limits and the cache, behind a hash tag:
//! `{fk00}:post:ID:likes`, `{fk00}:top_posts`, up to `{fk63}:…`. So all keys of a shard are on one
//! server, and move together when slots move.
//!
//! # Exact counts in a cluster
//!
//! A chunk touches some of the shards. Each of them counts its part in one step, with a fence of
//! its own; the other shards are not written to. So their fences are old, and an old fence must be
//! told apart from one that a failover has brought back. To that end the applier applies a
//! partition's chunks in order, and sends each shard the fence that it last saw there. A shard
//! takes its part only if its fence lies between that one and the chunk's: then it has missed
//! nothing.
//!
//! When all shards have counted a chunk, the partition's *home* shard records this, together with
//! the fences of the shards that the chunk touched. An applier that starts reads all shards. If a
//! shard's fence is before the recorded one, the shard has lost chunks: the applier continues from
//! there, and the other shards skip what they have. A failover may also set the home back, which
//! does no harm, because its records go back with it. A shard that falls back to before a rebuild
//! has another generation, and so asks for a new rebuild.
//!
//! # What Redis must be
//!
//! Redis must be of version 7 or newer. Its `maxmemory-policy` must not be `allkeys-*`, because
//! that removes counters when memory is short; [`Redis::connect`] refuses it. `volatile-*` is
//! accepted, as only limits and cached answers expire. Redis may lose all its data: the counters
//! are then counted again from the journal, or rebuilt from the history. [`acl_rules`] gives the
//! rights that each program needs.

mod acl;
mod cache;
mod changes;
mod cluster;
mod connection;
mod counters;
mod counts;
mod failure;
mod fallback;
mod fence;
mod keys;
mod limiter;
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
