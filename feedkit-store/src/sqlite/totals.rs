//! Totals by post and by hour, which the history's commits change, and reading them.

use feedkit_core::effect::Effect;
use feedkit_core::queries::PostView;
use feedkit_core::trending::{Score, Trending};
use feedkit_core::{PostId, Timestamp, UserId};
use hashbrown::HashMap;
use rusqlite::{Connection, OptionalExtension, params};

use super::failure::{Sql, damaged};

/// The factor by which a score fades from one landmark to the next: 64 half-lives.
const GENERATION_FACTOR: &str = "5.421010862427522e-20";

/// Sums of effects, by post and kind, and by hour, post and kind. Each needs one write.
pub(super) struct Totals<'e> {
    by_post: Vec<(Counter<'e>, (i64, Score))>,
    by_hour: Vec<((Timestamp, Counter<'e>), i64)>,
}

/// A post and one of its kinds.
type Counter<'e> = (&'e PostId, &'e str);

impl<'e> Totals<'e> {
    /// Sums up `effects`.
    pub(super) fn of(effects: &'e [Effect], trending: &Trending) -> Self {
        let mut by_post: HashMap<Counter<'e>, (i64, Score)> = HashMap::new();
        let mut by_hour: HashMap<(Timestamp, Counter<'e>), i64> = HashMap::new();
        for effect in effects {
            let Some((kind, by)) = effect.kind.delta() else { continue };
            let (count, score) = by_post.entry((&effect.post, kind)).or_default();
            *count += by;
            if kind == "like" {
                score.add(trending.weight(effect.time), by as f64);
            }
            *by_hour.entry((effect.time.hour(), (&effect.post, kind))).or_default() += by;
        }
        // They are in the order of the tables' keys, so that neighbors are written one after
        // another.
        let mut by_post: Vec<_> = by_post.into_iter().collect();
        let mut by_hour: Vec<_> = by_hour.into_iter().filter(|(_, by)| *by != 0).collect();
        by_post.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        by_hour.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Totals { by_post, by_hour }
    }

    /// The posts whose likes change.
    pub(super) fn liked(&self) -> impl Iterator<Item = &'e PostId> + Clone {
        self.by_post.iter().filter(|((_, kind), _)| *kind == "like").map(|((post, _), _)| *post)
    }

    /// Adds the sums to what is stored.
    pub(super) fn add_to(&self, connection: &Connection) -> Sql<()> {
        let mut total = connection.prepare_cached(&HISTORY.add())?;
        for ((post, kind), (count, score)) in &self.by_post {
            total.execute(params![post.as_str(), kind, count, score.generation, score.value])?;
        }
        let mut hourly = connection.prepare_cached(
            "INSERT INTO post_hourly (hour, post, kind, count) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT DO UPDATE SET count = count + excluded.count",
        )?;
        for ((hour, (post, kind)), count) in &self.by_hour {
            hourly.execute(params![hour.as_millis(), post.as_str(), kind, count])?;
        }
        Ok(())
    }
}

/// The names of the tables with totals by post and kind, and with authors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tables {
    pub(super) totals: &'static str,
    pub(super) authors: &'static str,
}

/// The history's own tables.
pub(super) const HISTORY: Tables = Tables { totals: "post_totals", authors: "posts" };

impl Tables {
    /// The statement that adds to one total. Its parameters are the post, the kind, by how much,
    /// and the generation and value of the score.
    ///
    /// A score of another generation is moved to the later landmark. If the generations are two
    /// apart, the older score is too small to matter beside a like of the newer one.
    pub(super) fn add(self) -> String {
        format!(
            "INSERT INTO {} (post, kind, count, generation, score) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT DO UPDATE SET count = count + excluded.count, \
             score = CASE excluded.generation - generation \
               WHEN 0 THEN score + excluded.score \
               WHEN 1 THEN score * {GENERATION_FACTOR} + excluded.score \
               WHEN -1 THEN score + excluded.score * {GENERATION_FACTOR} \
               ELSE CASE WHEN excluded.generation > generation THEN excluded.score ELSE score END END, \
             generation = max(generation, excluded.generation)",
            self.totals
        )
    }

    /// The view of one post; `None` if it has neither totals nor an author.
    pub(super) fn view(self, connection: &Connection, post: PostId) -> Sql<Option<PostView>> {
        let author: Option<String> = connection
            .prepare_cached(&format!("SELECT author FROM {} WHERE post = ?1", self.authors))?
            .query_row([post.as_str()], |row| row.get(0))
            .optional()?;
        let mut select =
            connection.prepare_cached(&format!("SELECT kind, count FROM {} WHERE post = ?1", self.totals))?;
        let counts = select
            .query_map([post.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<Vec<(String, i64)>, _>>()?;
        if author.is_none() && counts.is_empty() {
            return Ok(None);
        }
        let author = author.map(UserId::new).transpose().map_err(damaged)?;
        Ok(Some(PostView::new(post, author, counts)))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_generation_is_64_half_lives() {
        assert_eq!(super::GENERATION_FACTOR.parse::<f64>().unwrap(), (-64f64).exp2());
    }
}
