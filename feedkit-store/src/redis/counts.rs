//! Reading counts and lists.

use std::cmp::Ordering;

use feedkit_core::queries::{PostView, RankedPost};
use feedkit_core::trending::Score;
use feedkit_core::{Error, PostId, Result, Timestamp, UserId};
use futures_util::future::try_join_all;
use redis::Value;

use super::counters::RedisCounters;
use super::failure::unexpected;
use super::reply;
use super::script::{POSTS, RANKED};

/// Maximum number of posts that one script reads, so that it blocks other calls for about a
/// millisecond.
const POSTS_A_CALL: usize = 500;
/// Maximum length of a list. Lua represents it exactly.
const LONGEST: usize = 1 << 40;

/// One shard's part of a list.
struct Ranked {
    generation: String,
    landmark: Option<i64>,
    /// Posts with the list's score, and their likes.
    rows: Vec<(PostId, f64, i64)>,
}

impl RedisCounters {
    /// Asks all shards at once, which takes one round trip.
    pub(super) async fn read_posts(&self, posts: &[PostId]) -> Result<Vec<PostView>> {
        let shards = self.shared.keys.shards();
        let mut places: Vec<Vec<usize>> = vec![Vec::new(); shards.len()];
        for (place, post) in posts.iter().enumerate() {
            places[self.shared.keys.shard_of(post)].push(place);
        }
        let calls = places.iter().enumerate().flat_map(|(shard, places)| {
            places.chunks(POSTS_A_CALL).map(move |some| async move {
                let shard = &shards[shard];
                let arguments = |command: &mut redis::Cmd| {
                    command.arg(&shard.prefix);
                    some.iter().for_each(|&place| {
                        command.arg(posts[place].as_str());
                    });
                };
                let answer = self.shared.run(&POSTS, &shard.state, arguments).await?;
                views(answer, some.iter().map(|&place| &posts[place])).map(|views| (some, views))
            })
        });
        let mut found: Vec<Option<PostView>> = vec![None; posts.len()];
        for (some, views) in try_join_all(calls).await? {
            some.iter().zip(views).for_each(|(&place, view)| found[place] = Some(view));
        }
        Ok(found.into_iter().flatten().collect())
    }

    pub(super) async fn read_top(&self, limit: usize) -> Result<Vec<RankedPost>> {
        let mut list = Vec::new();
        for shard in self.ranked("top", limit).await? {
            list.extend(shard.rows.into_iter().map(|(post_id, score, likes)| RankedPost {
                post_id,
                likes,
                score,
            }));
        }
        Ok(first(list, limit))
    }

    pub(super) async fn read_trending(&self, now: Timestamp, limit: usize) -> Result<Vec<RankedPost>> {
        let generation = self.trending.generation(now);
        let mut list = Vec::new();
        for shard in self.ranked("trending", limit).await? {
            let landmark = shard.landmark.unwrap_or(generation);
            list.extend(shard.rows.into_iter().map(|(post_id, value, likes)| {
                // The score is first moved to the current landmark: from an old one, `now` may be
                // too far away for a double.
                let score = Score { generation: landmark, value }.in_generation(generation);
                RankedPost { post_id, likes, score: self.trending.at(score, now) }
            }));
        }
        Ok(first(list, limit))
    }

    /// Each shard's first `limit` posts.
    async fn ranked(&self, list: &str, limit: usize) -> Result<Vec<Ranked>> {
        let calls = self.shared.keys.shards().iter().map(|shard| async move {
            let arguments = |command: &mut redis::Cmd| {
                command.arg(&shard.prefix).arg(list).arg(limit.min(LONGEST));
            };
            Ranked::read(self.shared.run(&RANKED, &shard.state, arguments).await?)
        });
        let shards = try_join_all(calls).await?;
        // While a rebuild ends, some shards have finished it and others have not. A failover may
        // also have set one back to before the rebuild.
        if shards.iter().any(|shard| shard.generation != shards[0].generation) {
            return Err(rebuilding());
        }
        Ok(shards)
    }
}

impl Ranked {
    fn read(answer: Value) -> Result<Self> {
        let doing = RANKED.doing();
        let (name, mut rest) = reply::named(answer).ok_or_else(|| unexpected(doing, &Value::Nil))?;
        if name == "rebuilding" {
            return Err(rebuilding());
        }
        let generation = reply::text_at(&rest, 0).ok_or_else(|| unexpected(doing, &Value::Nil))?;
        let landmark = rest.get(1).and_then(reply::number);
        let (listed, likes) = (
            reply::array_at(&mut rest, 2).unwrap_or_default(),
            reply::array_at(&mut rest, 3).unwrap_or_default(),
        );
        let mut rows = Vec::with_capacity(listed.len() / 2);
        for (place, pair) in listed.chunks_exact(2).enumerate() {
            // A member that is not a post was added by another program.
            let post = reply::text(&pair[0]).and_then(|m| PostId::new(m.strip_prefix("post:")?).ok());
            let score = reply::number::<f64>(&pair[1]);
            let likes = likes.get(place).map_or(score, reply::number::<f64>);
            if let (Some(post), Some(score), Some(likes)) = (post, score, likes) {
                rows.push((post, score, likes as i64));
            }
        }
        Ok(Ranked { generation, landmark, rows })
    }
}

/// The posts with the highest scores; equal scores are in the order of the posts' ids.
fn first(mut list: Vec<RankedPost>, limit: usize) -> Vec<RankedPost> {
    let order = |a: &RankedPost, b: &RankedPost| -> Ordering {
        b.score.total_cmp(&a.score).then_with(|| a.post_id.cmp(&b.post_id))
    };
    list.sort_unstable_by(order);
    list.truncate(limit);
    list
}

fn rebuilding() -> Error {
    Error::retriable("the counters in Redis are being rebuilt")
}

/// The views of these posts, from a shard's answer.
fn views<'a>(answer: Value, posts: impl ExactSizeIterator<Item = &'a PostId>) -> Result<Vec<PostView>> {
    let doing = POSTS.doing();
    let (name, mut rest) = reply::named(answer).ok_or_else(|| unexpected(doing, &Value::Nil))?;
    if name == "rebuilding" {
        return Err(rebuilding());
    }
    let mut array = |place| reply::array_at(&mut rest, place).ok_or_else(|| unexpected(doing, &Value::Nil));
    let (kinds, authors, values) = (array(0)?, array(1)?, array(2)?);
    let kinds: Vec<_> = ["like", "comment"]
        .map(str::to_owned)
        .into_iter()
        .chain(kinds.iter().filter_map(reply::text))
        .collect();
    if values.len() != posts.len() * kinds.len() || authors.len() != posts.len() {
        return Err(Error::corrupt(format!(
            "{doing}: Redis sent {} values, which is not what was asked for",
            values.len()
        )));
    }
    let view = |((post, author), values): ((&PostId, &Value), &[Value])| {
        let author = reply::text(author).and_then(|author| UserId::new(author).ok());
        let count = |(kind, value): (&String, &Value)| Some((kind.clone(), reply::number(value)?));
        PostView::new(post.clone(), author, kinds.iter().zip(values).filter_map(count))
    };
    Ok(posts.zip(&authors).zip(values.chunks_exact(kinds.len())).map(view).collect())
}
