//! The transaction that commits a batch: position, raw events, likes, authors, rejected records and
//! journal.
//!
//! It consists of two rounds of statements, each sent at once, and the COMMIT. The first round
//! moves the position, which locks out every other writer of the partition, and looks up the state
//! that the effects depend on. The second round writes. If the batch publishes posts, their authors
//! are written between the rounds, because only the database can tell who was first.

use std::sync::Arc;

use feedkit_core::backend::batch::{check_order, is_too_old, reject_too_old};
use feedkit_core::effect::{Fold, LikePolicy, LoggedEvent};
use feedkit_core::failpoint::{self, stage};
use feedkit_core::history::{CommitBatch, CommitCounts, Committed};
use feedkit_core::journal::JournalEntry;
use feedkit_core::{EventId, EventKind, PostId, Result, Timestamp, UserId};
use futures_util::future::{join4, try_join4};
use hashbrown::HashSet;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::connection::Session;
use super::copy::copy;
use super::database::Database;
use super::events::{self, ByMonth, Known};
use super::failure::{Failure, Sql, damaged};
use super::policy::Policy;
use super::sql_time::SqlTime;
use super::time_partition::TimePartition;
use super::{journal, likes, positions, rejected};

/// Maximum number of attempts at one commit. Each follows on one that another writer overtook.
const TRIES: u32 = 8;

/// Commits `batch`. The `repeats` events that repeated others of the batch were removed before.
///
/// Events newer than `newest` are assumed to be new. Such an event may be stored already: the log
/// got more partitions and its user moved, or two processes hold the same records. Then a unique
/// index refuses it, and the next attempt looks all events up.
pub(super) async fn commit(
    database: &Database,
    batch: &CommitBatch,
    repeats: usize,
    newest: Option<EventId>,
    policy: Policy,
) -> Result<Committed> {
    check_order(batch)?;
    let by_month = ByMonth::of(&batch.events)?;
    let like_seed = database.like_seed().await?;
    let mut attempt = Attempt { like_seed, batch, repeats, by_month, newest, policy };
    let mut tries = 0;
    loop {
        let mut leaves: Vec<TimePartition> = attempt.by_month.leaves().collect();
        leaves.push(TimePartition::day_of(batch.now)?);
        database.ensure(&leaves).await?;
        let session = database.session().await?;
        let failure = match session.within(attempt.write(&session)).await {
            Ok(committed) => {
                failpoint::reach(stage::BEFORE_COMMIT);
                session.commit().await?;
                return Ok(committed);
            }
            Err(failure) => failure,
        };
        session.give_up(&failure).await;
        tries += 1;
        let overtaken = matches!(failure, Failure::Overtaken)
            || failure.code() == Some(&SqlState::UNIQUE_VIOLATION)
            || failure.code() == Some(&SqlState::UNDEFINED_TABLE);
        if tries >= TRIES || !(overtaken || failure.is_victim()) {
            return Err(failure.into());
        }
        tracing::debug!(partition = batch.partition.0, ?failure, "another writer came first; trying again");
        if failure.code() == Some(&SqlState::UNDEFINED_TABLE) {
            // Retention has dropped a month or a day that was known to exist.
            database.forget_leaves();
        }
        if overtaken {
            attempt.newest = None;
        }
    }
}

/// Begins the transaction. Thousands of keys are always looked up by their index: the planner would
/// read a table as a whole while it believes the table to be small, and a month of events that was
/// never analysed would then cost more than all the rest.
const BEGIN: &str = "BEGIN; SET LOCAL enable_seqscan = off";

struct Attempt<'a> {
    like_seed: u64,
    batch: &'a CommitBatch,
    repeats: usize,
    by_month: ByMonth,
    /// The newest id that is stored. `None` if it is unknown: then any event may be stored already.
    newest: Option<EventId>,
    policy: Policy,
}

/// The state before the batch.
struct Found {
    horizon: Option<Timestamp>,
    events: Known,
    likes: HashSet<u128>,
    authored: HashSet<PostId>,
}

impl Attempt<'_> {
    /// Does everything but the COMMIT.
    async fn write(&self, session: &Session) -> Sql<Committed> {
        let batch = self.batch;
        let found = self.look_up(session).await?;

        let mut too_old = Vec::new();
        let mut kept;
        let (mut events, mut by_month) = (&batch.events, &self.by_month);
        let old = |logged: &LoggedEvent| is_too_old(logged, found.horizon);
        let seen = |logged: &LoggedEvent| {
            !found.events.is_empty()
                && found.events.contains(&(logged.event.id, logged.event.user.as_str().to_owned()))
        };
        let mut duplicates = self.repeats;
        let again;
        if events.iter().any(|logged| old(logged) || seen(logged)) {
            kept = Vec::with_capacity(events.len());
            for logged in events {
                match (old(logged), seen(logged)) {
                    (true, _) => too_old.push(reject_too_old(logged)),
                    (false, true) => duplicates += 1,
                    (false, false) => kept.push(logged.clone()),
                }
            }
            again = ByMonth::of(&kept)?;
            (events, by_month) = (&kept, &again);
        }

        let published = publish(session, events, &found.authored).await?;
        let (effective, changes) = self.fold(events, &found.likes, &published);
        let mut effects = Vec::with_capacity(effective.iter().filter(|effective| **effective).count());
        effects.extend(events.iter().zip(&effective).filter(|(_, e)| **e).map(|(logged, _)| logged.effect()));
        let counts = CommitCounts {
            accepted: events.len() as u64,
            duplicates: duplicates as u64,
            rejected: (batch.rejected.len() + too_old.len()) as u64,
            effects: effects.len() as u64,
        };
        let CommitBatch { partition, from, to, epoch, at_end, now, .. } = *batch;
        let entry = JournalEntry { partition, from, to, epoch, at_end, effects };

        let rejects = async {
            rejected::insert(session, batch, &batch.rejected).await?;
            rejected::insert(session, batch, &too_old).await
        };
        try_join4(
            by_month.copy(session, partition, events, &effective),
            changes.like(session),
            changes.unlike(session),
            async { tokio::try_join!(rejects, journal::append(session, &entry, now)) },
        )
        .await?;
        Ok(Committed { entry: Arc::new(entry), counts })
    }

    /// Begins the transaction, moves the position, and looks up the state before the batch.
    async fn look_up(&self, session: &Session) -> Sql<Found> {
        let keys = self.like_keys();
        let mut posts: Vec<&str> = self
            .batch
            .events
            .iter()
            .filter(|logged| logged.event.kind == EventKind::Post)
            .map(|logged| logged.event.post.as_str())
            .collect();
        posts.sort_unstable();
        posts.dedup();
        let (advance, known_likes, known_posts, lookups) = try_join4(
            positions::prepare_advance(session),
            async { Ok(session.prepare_cached(likes::KNOWN).await?) },
            async { Ok(session.prepare_cached("SELECT post_id FROM posts WHERE post_id = ANY($1)").await?) },
            self.by_month.lookups(session, &self.batch.events, self.newest),
        )
        .await?;
        let authored = async {
            let mut authored = HashSet::new();
            if !posts.is_empty() {
                for row in session.query(&known_posts, &[&posts]).await? {
                    authored.insert(PostId::new(row.get::<_, &str>(0)).map_err(damaged)?);
                }
            }
            Sql::Ok(authored)
        };
        // Each future sends its statement when it is first polled, in this order.
        let (begun, moved, likes, (events, authored)) = join4(
            session.batch_execute(BEGIN),
            positions::advance(session, &advance, self.batch),
            likes::known(session, &known_likes, &keys),
            futures_util::future::join(events::known(session, &lookups), authored),
        )
        .await;
        begun?;
        let Some(horizon) = moved? else {
            return Err(positions::refusal(session, self.batch).await?.into());
        };
        Ok(Found { horizon, events: events?, likes: likes?, authored: authored? })
    }

    /// The keys of the pairs that the batch likes or unlikes, in order.
    fn like_keys(&self) -> Vec<Uuid> {
        if self.policy.likes != LikePolicy::Unique {
            return Vec::new();
        }
        let likes = self.batch.events.iter().map(|logged| &logged.event);
        let likes = likes.filter(|event| matches!(event.kind, EventKind::Like | EventKind::Unlike));
        let mut keys: Vec<u128> =
            likes.map(|event| likes::key(self.like_seed, &event.post, &event.user)).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter().map(Uuid::from_u128).collect()
    }

    /// Finds out which events have an effect, and which likes to write.
    fn fold<'e>(
        &self,
        events: &'e [LoggedEvent],
        likes: &HashSet<u128>,
        published: &HashSet<PostId>,
    ) -> (Vec<bool>, Changes<'e>) {
        let mut changes = Changes::default();
        let seed = self.like_seed;
        let resolved = Fold::new(events, self.policy.likes).resolve(
            |pair| {
                let key = likes::key(seed, pair.post, pair.user);
                let before = likes.contains(&key);
                match (before, pair.liked_after) {
                    (false, true) => changes.liked.push((key, pair.post, pair.user, pair.time)),
                    (true, false) => changes.unliked.push(Uuid::from_u128(key)),
                    _ => {}
                }
                Ok::<_, std::convert::Infallible>(before)
            },
            |first| Ok(published.contains(&first.event.post)),
        );
        let Ok(effective) = resolved;
        changes.liked.sort_unstable_by_key(|(key, ..)| *key);
        changes.unliked.sort_unstable();
        (effective, changes)
    }
}

/// The likes that a batch changes, each list in the order of its keys.
#[derive(Default)]
struct Changes<'e> {
    liked: Vec<(u128, &'e PostId, &'e UserId, Timestamp)>,
    unliked: Vec<Uuid>,
}

impl Changes<'_> {
    async fn like(&self, session: &Session) -> Sql<()> {
        let statement = "COPY likes (key, post_id, user_id, since) FROM STDIN (FORMAT binary)";
        copy(session, statement, 4, &self.liked, |row, (key, post, user, time)| {
            row.bytes(&key.to_be_bytes()).text(post.as_str()).text(user.as_str()).time(*time);
            Ok(())
        })
        .await
    }

    async fn unlike(&self, session: &Session) -> Sql<()> {
        if self.unliked.is_empty() {
            return Ok(());
        }
        let delete = session.prepare_cached("DELETE FROM likes WHERE key = ANY($1)").await?;
        let deleted = session.execute(&delete, &[&self.unliked]).await?;
        // If there were fewer, another partition's writer has removed some since they were looked
        // up.
        if deleted == self.unliked.len() as u64 { Ok(()) } else { Err(Failure::Overtaken) }
    }
}

/// Writes the authors of posts, and returns the posts that had no author before. Users of several
/// partitions may publish the same post at once. The second writer then waits, and learns that it
/// is the second.
async fn publish(
    session: &Session,
    events: &[LoggedEvent],
    authored: &HashSet<PostId>,
) -> Sql<HashSet<PostId>> {
    let mut first: Vec<&LoggedEvent> = events
        .iter()
        .filter(|logged| logged.event.kind == EventKind::Post && !authored.contains(&logged.event.post))
        .collect();
    if first.is_empty() {
        return Ok(HashSet::new());
    }
    first.sort_by(|a, b| a.event.post.cmp(&b.event.post).then(a.offset.cmp(&b.offset)));
    first.dedup_by(|b, a| a.event.post == b.event.post);
    let insert = session
        .prepare_cached(
            "INSERT INTO posts (post_id, author, time) \
             SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[]) \
             ON CONFLICT DO NOTHING RETURNING post_id",
        )
        .await?;
    let events = || first.iter().map(|logged| &logged.event);
    let posts: Vec<&str> = events().map(|event| event.post.as_str()).collect();
    let users: Vec<&str> = events().map(|event| event.user.as_str()).collect();
    let times: Vec<SqlTime> = events().map(|event| SqlTime(event.time)).collect();
    let mut published = HashSet::with_capacity(posts.len());
    for row in session.query(&insert, &[&posts, &users, &times]).await? {
        published.insert(PostId::new(row.get::<_, &str>(0)).map_err(damaged)?);
    }
    Ok(published)
}
