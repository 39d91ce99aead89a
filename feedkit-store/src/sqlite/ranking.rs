//! Ranking posts by likes, or by trending score.

use feedkit_core::queries::RankedPost;
use feedkit_core::trending::{Score, Trending};
use feedkit_core::{PostId, Timestamp};
use rusqlite::{Connection, Row, Rows};

use super::failure::{Sql, damaged};
use super::totals::Tables;

/// A post with likes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LikedPost {
    pub(super) post: PostId,
    pub(super) likes: i64,
    pub(super) score: Score,
}

/// How posts are ranked. Posts with the same score are in the order of their ids.
#[derive(Debug, Clone, Copy)]
pub(super) enum Order {
    /// By likes, most first.
    Likes,
    /// By trending score at `now`, highest first.
    Trending { decay: Trending, now: Timestamp },
}

/// A trending score below this has faded to nothing: rounding errors decide which of two such
/// scores is higher.
const FADED: f64 = 1e-60;

impl Order {
    fn score(&self, likes: i64, score: Score) -> f64 {
        match self {
            Order::Likes => likes as f64,
            Order::Trending { decay, now } => decay.at(score, *now),
        }
    }

    fn of(&self, standing: &LikedPost) -> f64 {
        self.score(standing.likes, standing.score)
    }

    pub(super) fn sort(&self, standings: &mut [LikedPost]) {
        standings.sort_by(|a, b| self.of(b).total_cmp(&self.of(a)).then_with(|| a.post.cmp(&b.post)));
    }

    /// Whether `a` comes before `b`.
    pub(super) fn precedes(&self, a: &LikedPost, b: &LikedPost) -> bool {
        self.of(a).total_cmp(&self.of(b)).then_with(|| b.post.cmp(&a.post)).is_gt()
    }

    /// Whether `a` ranks before every post that ranked after `floor` at an earlier time and has not
    /// changed since. Fading scores keep their order, except for rounding errors and for scores
    /// that have faded to nothing.
    pub(super) fn is_above(&self, a: &LikedPost, floor: &LikedPost) -> bool {
        match self {
            Order::Likes => self.precedes(a, floor),
            Order::Trending { .. } => {
                let (a, floor) = (self.of(a), self.of(floor));
                a > FADED && a > floor + floor.abs() * 1e-9
            }
        }
    }

    pub(super) fn ranked(&self, standing: LikedPost) -> RankedPost {
        let score = self.of(&standing);
        RankedPost { post_id: standing.post, likes: standing.likes, score }
    }
}

impl Tables {
    /// The first `limit` of all posts in some order.
    pub(super) fn first(self, connection: &Connection, order: &Order, limit: usize) -> Sql<Vec<LikedPost>> {
        let all = format!(
            "SELECT post, count, generation, score FROM {} WHERE kind = 'like' AND count > 0",
            self.totals
        );
        let mut best: Vec<LikedPost> = Vec::new();
        match order {
            Order::Likes => {
                let mut select =
                    connection.prepare_cached(&format!("{all} ORDER BY count DESC, post LIMIT ?1"))?;
                let mut rows = select.query([limit as i64])?;
                while let Some(row) = rows.next()? {
                    best.push(standing(row)?);
                }
            }
            Order::Trending { .. } => {
                let mut select = connection.prepare_cached(&format!("{all} ORDER BY post"))?;
                let mut rows = select.query([])?;
                // Posts with the same score stay in the order in which they are read.
                let mut scores: Vec<f64> = Vec::new();
                while let Some(row) = rows.next()? {
                    let score =
                        order.score(row.get(1)?, Score { generation: row.get(2)?, value: row.get(3)? });
                    let place = scores.partition_point(|other| other.total_cmp(&score).is_ge());
                    if place < limit {
                        best.truncate(limit - 1);
                        scores.truncate(limit - 1);
                        best.insert(place, standing(row)?);
                        scores.insert(place, score);
                    }
                }
            }
        }
        Ok(best)
    }

    /// The list of the first `limit` of all posts.
    pub(super) fn ranked(self, connection: &Connection, order: &Order, limit: usize) -> Sql<Vec<RankedPost>> {
        let first = self.first(connection, order, limit)?;
        Ok(first.into_iter().map(|standing| order.ranked(standing)).collect())
    }

    /// The standings of these posts. Posts without likes are left out.
    pub(super) fn standings(self, connection: &Connection, posts: Vec<PostId>) -> Sql<Vec<LikedPost>> {
        let mut select = connection.prepare_cached(&format!(
            "SELECT count, generation, score FROM {} WHERE post = ?1 AND kind = 'like' AND count > 0",
            self.totals
        ))?;
        let mut standings = Vec::with_capacity(posts.len());
        for post in posts {
            let mut rows = select.query([post.as_str()])?;
            if let Some(row) = rows.next()? {
                let score = Score { generation: row.get(1)?, value: row.get(2)? };
                standings.push(LikedPost { likes: row.get(0)?, score, post });
            }
        }
        Ok(standings)
    }

    /// Makes the transaction of `connection` see what is committed now, and nothing later.
    pub(super) fn pin(self, connection: &Connection) -> Sql<()> {
        let mut select = connection.prepare_cached(&format!("SELECT 1 FROM {} LIMIT 1", self.totals))?;
        select.exists([])?;
        Ok(())
    }
}

fn standing(row: &Row<'_>) -> Sql<LikedPost> {
    let score = Score { generation: row.get(2)?, value: row.get(3)? };
    Ok(LikedPost { post: post_at(row, 0)?, likes: row.get(1)?, score })
}

/// A list of posts and likes, in order.
pub(super) fn ranked_by_likes(mut rows: Rows<'_>) -> Sql<Vec<RankedPost>> {
    let mut posts = Vec::new();
    while let Some(row) = rows.next()? {
        let likes: i64 = row.get(1)?;
        posts.push(RankedPost { post_id: post_at(row, 0)?, likes, score: likes as f64 });
    }
    Ok(posts)
}

fn post_at(row: &Row<'_>, column: usize) -> Sql<PostId> {
    Ok(PostId::new(row.get_ref(column)?.as_str().map_err(damaged)?).map_err(damaged)?)
}
