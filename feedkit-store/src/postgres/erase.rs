//! Erasing a user's data.

use feedkit_core::{PostId, Result, UserId};
use uuid::Uuid;

use super::failure::damaged;
use super::history::PostgresHistory;
use super::likes;
use super::pool::transaction;

/// What was erased for a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erased {
    /// The name that replaces the user's. It is random, and stored nowhere else.
    pub pseudonym: UserId,
    /// Events that lost their text, attributes and user.
    pub events: u64,
    /// Likes that now belong to the pseudonym.
    pub likes: u64,
    /// Posts whose author is now the pseudonym.
    pub posts: u64,
    /// Rejected records that named the user, and lost their bytes.
    pub rejected: u64,
    /// Alerts in which the pseudonym replaced the user.
    pub alerts: u64,
}

impl PostgresHistory {
    /// Removes a user's texts and attributes, and replaces the user's id by a random pseudonym in
    /// events, likes, authors and alerts. Rejected records that name the user lose their bytes. All
    /// counts stay the same. This is one transaction, which reads all raw events.
    ///
    /// It does not reach everything. The journal loses the user by its retention, the log by the
    /// broker's, backups by their rotation, and the rules' states with their next snapshots. If an
    /// event of the user arrives again after this, it is a new event. So revoke the user's tokens
    /// first.
    pub async fn erase_user(&self, user: &UserId) -> Result<Erased> {
        let database = self.store.database();
        let like_seed = database.like_seed().await?;
        let pseudonym = UserId::new(format!("erased-{}", Uuid::now_v7().simple())).map_err(damaged)?;
        let (old, new) = (user.as_str(), pseudonym.as_str());
        let quoted = |name: &str| format!("\"{name}\"");
        transaction!(database, "BEGIN", session => {
            let events = session
                .execute(
                    "UPDATE events SET user_id = $2, text = NULL, attributes = NULL WHERE user_id = $1",
                    &[&old, &new],
                )
                .await?;
            let liked = session.query("SELECT key, post_id FROM likes WHERE user_id = $1 FOR UPDATE", &[&old]).await?;
            let (mut keys, mut new_keys) = (Vec::new(), Vec::new());
            for row in &liked {
                let post = PostId::new(row.get::<_, &str>(1)).map_err(damaged)?;
                keys.push(row.get::<_, Uuid>(0));
                new_keys.push(Uuid::from_u128(likes::key(like_seed, &post, &pseudonym)));
            }
            session
                .execute(
                    "UPDATE likes l SET key = n.new, user_id = $3 \
                     FROM unnest($1::uuid[], $2::uuid[]) AS n (old, new) WHERE l.key = n.old",
                    &[&keys, &new_keys, &new],
                )
                .await?;
            let posts =
                session.execute("UPDATE posts SET author = $2 WHERE author = $1", &[&old, &new]).await?;
            let rejected = session
                .execute(
                    "UPDATE rejected SET value = '', detail = replace(detail, $2, '…') \
                     WHERE position(convert_to($1, 'UTF8') IN value) > 0",
                    &[&quoted(old), &old],
                )
                .await?;
            let alerts = session
                .execute(
                    "UPDATE alerts SET notification = replace(notification::text, $1, $2)::jsonb, \
                     audience = CASE audience WHEN 'user:' || $3 THEN 'user:' || $4 ELSE audience END \
                     WHERE position($1 IN notification::text) > 0",
                    &[&quoted(old), &quoted(new), &old, &new],
                )
                .await?;
            let (likes, pseudonym) = (liked.len() as u64, pseudonym.clone());
            Ok(Erased { pseudonym, events, likes, posts, rejected, alerts })
        })
    }
}
