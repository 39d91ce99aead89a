//! The likes, by a key of 128 bits.

use feedkit_core::{PostId, UserId};
use futures_util::future::try_join_all;
use hashbrown::HashSet;
use tokio_postgres::Statement;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::connection::{STATEMENT_ROWS, Session};
use super::failure::Sql;

/// The key of a post and a user: 64 bits of a hash of the post, then 64 bits of a hash of the user.
/// The seed of both is a secret of the history.
///
/// In a post with a million likes, the probability that two users share a key is 3 in 100 million.
/// Without the seed, nobody can search for such names.
pub(super) fn key(seed: u64, post: &PostId, user: &UserId) -> u128 {
    u128::from(half(seed, post.as_str())) << 64 | u128::from(half(seed.rotate_left(32), user.as_str()))
}

fn half(seed: u64, name: &str) -> u64 {
    xxh3_64_with_seed(name.as_bytes(), seed)
}

/// The query for those of some keys that are stored.
pub(super) const KNOWN: &str = "SELECT key FROM likes WHERE key = ANY($1)";

/// Returns those of `keys` that are stored.
pub(super) async fn known(session: &Session, statement: &Statement, keys: &[Uuid]) -> Sql<HashSet<u128>> {
    // All queries are sent before the first answer.
    let asked =
        keys.chunks(STATEMENT_ROWS).map(|some| async move { session.query(statement, &[&some]).await });
    let mut known = HashSet::new();
    for rows in try_join_all(asked).await? {
        known.extend(rows.iter().map(|row| row.get::<_, Uuid>(0).as_u128()));
    }
    Ok(known)
}
