//! Computing the totals again from the raw events and the baseline.

use feedkit_core::Timestamp;
use feedkit_core::failpoint::{self, stage};
use feedkit_core::trending::{Score, Trending};
use rusqlite::{Connection, params};

use super::events::{self, HOUR, KIND};
use super::failure::{Sql, damaged};

/// Replaces all totals.
pub(super) fn totals(connection: &Connection, trending: &Trending) -> Sql<()> {
    let sums = all_sums(connection)?;
    connection.execute_batch("DELETE FROM post_totals; DELETE FROM post_hourly;")?;
    connection.execute_batch(&format!(
        "INSERT INTO post_hourly (hour, post, kind, count) \
         SELECT hour, post, kind, sum(n) AS total FROM ({sums}) GROUP BY hour, post, kind HAVING total <> 0"
    ))?;
    failpoint::reach(stage::REBUILD);
    // Sums of zero are written too: a post that was liked once is a post.
    connection.execute_batch(&format!(
        "INSERT INTO post_totals (post, kind, count, generation, score) \
         SELECT post, kind, sum(n), 0, 0 FROM ({sums}) GROUP BY post, kind"
    ))?;
    failpoint::reach(stage::REBUILD);
    scores(connection, trending)
}

/// Computes trending scores from each like's own time; for likes in the baseline, from their hour.
fn scores(connection: &Connection, trending: &Trending) -> Sql<()> {
    let mut likes =
        vec!["SELECT post, hour AS time, count AS n FROM event_baseline WHERE kind = 'like'".to_owned()];
    for month in events::months(connection)? {
        likes.push(format!(
            "SELECT post, time, effect AS n FROM {month} WHERE kind IN ('like', 'unlike') AND effect <> 0"
        ));
    }
    let mut select = connection
        .prepare(&format!("SELECT post, time, n FROM ({}) ORDER BY post", likes.join(" UNION ALL ")))?;
    let mut update = connection
        .prepare("UPDATE post_totals SET generation = ?2, score = ?3 WHERE post = ?1 AND kind = 'like'")?;
    let mut store = |post: &str, score: Score| update.execute(params![post, score.generation, score.value]);
    let mut rows = select.query([])?;
    let (mut post, mut score) = (String::new(), Score::default());
    while let Some(row) = rows.next()? {
        let name: &str = row.get_ref(0)?.as_str().map_err(damaged)?;
        if name != post {
            store(&post, score)?;
            (post, score) = (name.to_owned(), Score::default());
        }
        let weight = trending.weight(Timestamp::from_millis(row.get(1)?));
        score.add(weight, row.get::<_, i64>(2)? as f64);
    }
    store(&post, score)?;
    Ok(())
}

/// The query for all net sums by hour, post and kind. The totals are sums of these.
pub(super) fn all_sums(connection: &Connection) -> Sql<String> {
    let mut parts = vec!["SELECT hour, post, kind, count AS n FROM event_baseline".to_owned()];
    for month in events::months(connection)? {
        parts.push(format!(
            "SELECT {HOUR} AS hour, post, {KIND} AS kind, sum(effect) AS n FROM {month} \
             WHERE effect <> 0 AND kind <> 'post' GROUP BY 1, 2, 3"
        ));
    }
    Ok(parts.join(" UNION ALL "))
}
