//! Who likes what, by a key of 128 bits.

use feedkit_core::{PostId, UserId};
use futures_util::future::try_join_all;
use hashbrown::HashSet;
use tokio_postgres::Statement;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::connection::{STATEMENT_ROWS, Session};
use super::failure::Sql;

/// The key of a pair: 64 bits of a hash of the post, then 64 of the user, both seeded with the history's own secret.
///
/// Two users of one post share a key by chance with a probability of 3 in 100 million for a post with a million
/// likes; without the seed nobody can look for such names.
pub(super) fn key(seed: u64, post: &PostId, user: &UserId) -> u128 {
    u128::from(half(seed, post.as_str())) << 64 | u128::from(half(seed.rotate_left(32), user.as_str()))
}

fn half(seed: u64, name: &str) -> u64 {
    xxh3_64_with_seed(name.as_bytes(), seed)
}

/// Asks which of some keys are there.
pub(super) const KNOWN: &str = "SELECT key FROM likes WHERE key = ANY($1)";

/// Those of `keys` that are there.
pub(super) async fn known(session: &Session, statement: &Statement, keys: &[Uuid]) -> Sql<HashSet<u128>> {
    // All questions are sent before the first answer.
    let asked =
        keys.chunks(STATEMENT_ROWS).map(|some| async move { session.query(statement, &[&some]).await });
    let mut known = HashSet::new();
    for rows in try_join_all(asked).await? {
        known.extend(rows.iter().map(|row| row.get::<_, Uuid>(0).as_u128()));
    }
    Ok(known)
}
