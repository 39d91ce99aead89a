//! Summing up effects by post and by hour, and adding the sums to what is stored.

use feedkit_core::effect::Effect;
use feedkit_core::trending::{Score, Trending};
use feedkit_core::{PostId, Timestamp};
use hashbrown::HashMap;

use super::connection::{STATEMENT_ROWS, Session};
use super::failure::Sql;
use super::sql_time::SqlTime;

/// The factor by which a score fades from one landmark to the next: 64 half-lives.
const GENERATION_FACTOR: &str = "5.421010862427522e-20";

/// Sums of effects, by post and kind, and by hour, post and kind. Each needs one write.
#[derive(Default)]
pub(super) struct Totals<'e> {
    pub(super) by_post: HashMap<Counter<'e>, (i64, Score)>,
    pub(super) by_hour: HashMap<(Timestamp, Counter<'e>), i64>,
}

/// The tables that sums are added to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Tables {
    /// Those that queries read.
    Current,
    /// Those of a rebuild that is under way.
    Rebuilt,
}

impl Tables {
    fn totals(self) -> &'static str {
        match self {
            Tables::Current => "post_totals",
            Tables::Rebuilt => "rebuilt_totals",
        }
    }

    fn hourly(self) -> &'static str {
        match self {
            Tables::Current => "post_hourly",
            Tables::Rebuilt => "rebuilt_hourly",
        }
    }
}

/// A post and one of its kinds.
pub(super) type Counter<'e> = (&'e PostId, &'e str);

impl<'e> Totals<'e> {
    /// Adds effects to the sums.
    pub(super) fn add(&mut self, effects: impl IntoIterator<Item = &'e Effect>, trending: &Trending) {
        for effect in effects {
            let Some((kind, by)) = effect.kind.delta() else { continue };
            self.add_sum((&effect.post, kind), effect.time.hour(), effect.time, by, trending);
        }
    }

    /// Adds `by` to a counter, for effects that happened at `time`, in this hour.
    pub(super) fn add_sum(
        &mut self,
        counter: Counter<'e>,
        hour: Timestamp,
        time: Timestamp,
        by: i64,
        trending: &Trending,
    ) {
        *self.by_hour.entry((hour, counter)).or_default() += by;
        let (count, score) = self.by_post.entry(counter).or_default();
        *count += by;
        if counter.1 == "like" {
            score.add(trending.weight(time), by as f64);
        }
    }

    /// Adds the sums to what is stored, in the order of the tables' keys, so that writers of the
    /// same posts cannot deadlock.
    pub(super) async fn store(self, session: &Session, tables: Tables) -> Sql<()> {
        // A post's sum of zero is stored too: a post that was liked once is a post.
        let mut by_post: Vec<_> = self.by_post.into_iter().collect();
        let mut by_hour: Vec<_> = self.by_hour.into_iter().filter(|(_, by)| *by != 0).collect();
        by_post.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        by_hour.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        for by_post in by_post.chunks(STATEMENT_ROWS) {
            let add = session.prepare_cached(&add_totals(tables)).await?;
            let posts: Vec<&str> = by_post.iter().map(|((post, _), _)| post.as_str()).collect();
            let kinds: Vec<&str> = by_post.iter().map(|((_, kind), _)| *kind).collect();
            let counts: Vec<i64> = by_post.iter().map(|(_, (count, _))| *count).collect();
            let generations: Vec<i64> = by_post.iter().map(|(_, (_, score))| score.generation).collect();
            let scores: Vec<f64> = by_post.iter().map(|(_, (_, score))| score.value).collect();
            session.execute(&add, &[&posts, &kinds, &counts, &generations, &scores]).await?;
        }
        drop(by_post);
        for by_hour in by_hour.chunks(STATEMENT_ROWS) {
            let add = session
                .prepare_cached(&format!(
                    "INSERT INTO {} AS t (hour, post_id, kind, count) \
                     SELECT * FROM unnest($1::timestamptz[], $2::text[], $3::text[], $4::bigint[]) \
                     ON CONFLICT (hour, post_id, kind) DO UPDATE SET count = t.count + excluded.count",
                    tables.hourly()
                ))
                .await?;
            let hours: Vec<SqlTime> = by_hour.iter().map(|((hour, _), _)| SqlTime(*hour)).collect();
            let posts: Vec<&str> = by_hour.iter().map(|((_, (post, _)), _)| post.as_str()).collect();
            let kinds: Vec<&str> = by_hour.iter().map(|((_, (_, kind)), _)| *kind).collect();
            let counts: Vec<i64> = by_hour.iter().map(|(_, count)| *count).collect();
            session.execute(&add, &[&hours, &posts, &kinds, &counts]).await?;
        }
        Ok(())
    }
}

/// A score of another generation is moved to the later landmark. If the generations are two apart,
/// the older score is too small to matter beside a like of the newer one. (PostgreSQL fails on a
/// product that is too small for its type.)
fn add_totals(tables: Tables) -> String {
    format!(
        "INSERT INTO {} AS t (post_id, kind, count, generation, score) \
         SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::float8[]) \
         ON CONFLICT (post_id, kind) DO UPDATE SET count = t.count + excluded.count, \
         score = CASE excluded.generation - t.generation \
           WHEN 0 THEN t.score + excluded.score \
           WHEN 1 THEN CASE WHEN abs(t.score) > 1e-200 THEN t.score * {GENERATION_FACTOR}::float8 ELSE 0 END \
             + excluded.score \
           WHEN -1 THEN t.score \
             + CASE WHEN abs(excluded.score) > 1e-200 THEN excluded.score * {GENERATION_FACTOR}::float8 ELSE 0 END \
           ELSE CASE WHEN excluded.generation > t.generation THEN excluded.score ELSE t.score END END, \
         generation = greatest(t.generation, excluded.generation)",
        tables.totals()
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_generation_is_64_half_lives() {
        assert_eq!(super::GENERATION_FACTOR.parse::<f64>().unwrap(), (-64f64).exp2());
    }
}
