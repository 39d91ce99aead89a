//! Describes where the answers of a backend differ from the model.

use std::collections::{BTreeMap, BTreeSet};

use super::{Model, ModelPost};
use crate::effect::Effect;
use crate::history::JournalRead;
use crate::queries::{Bucket, CommentCursor, PostView, RankedPost};
use crate::trending::{Score, Trending};
use crate::{Counts, EventKind, History, Inspect, PostId, Queries, Result, Timestamp, UserId};

/// Maximum number of differences to report.
const ENOUGH: usize = 50;

impl Model {
    /// Compares every answer of a history: posts, lists, activity, comments, likes, rejected
    /// records, and the history's own verification. Returns at most fifty differences. The result
    /// is empty if there are none.
    pub async fn compare_queries<H: Queries + Inspect>(&self, history: &H) -> Result<Vec<String>> {
        let mut found = self.compare_answers(history).await?;
        found.extend(self.compare_inspection(history).await?);
        found.truncate(ENOUGH);
        Ok(found)
    }

    /// Compares the answers for users.
    async fn compare_answers(&self, queries: &dyn Queries) -> Result<Vec<String>> {
        let mut found = Vec::new();
        compare_top(self, "top", queries.top(None, self.posts.len() + 10).await?, &mut found);
        for (id, post) in &self.posts {
            if found.len() >= ENOUGH {
                break;
            }
            match queries.post(id).await? {
                None => found.push(format!("post {id} is missing")),
                Some(view) => compare_view(id, post, &view, &mut found),
            }
            for by in [Bucket::Hour, Bucket::Day] {
                let got = queries.activity(id, by, Timestamp::EPOCH, Timestamp::MAX).await?;
                let got: BTreeMap<_, _> = got.into_iter().map(|a| (a.start, a.counts)).collect();
                differ(&format!("activity of {id} by {by:?}"), &got, &buckets(post, by), &mut found);
            }
            differ(
                &format!("comments on {id}"),
                &all_comments(queries, id).await?,
                &comments(post),
                &mut found,
            );
        }
        for (user, touched) in self.touched() {
            if found.len() >= ENOUGH {
                break;
            }
            let expected: Vec<_> =
                touched.iter().filter(|post| self.likes[*post].contains(user)).cloned().collect();
            differ(&format!("likes of {user}"), &queries.liked(user, &touched).await?, &expected, &mut found);
        }
        Ok(found)
    }

    /// Compares the answers for operators.
    async fn compare_inspection(&self, history: &dyn Inspect) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let mut rejected = Vec::new();
        loop {
            let page = history.rejected(rejected.last().copied(), 100).await?;
            if page.is_empty() {
                break;
            }
            rejected.extend(page.iter().map(|r| (r.partition, r.offset)));
        }
        let expected: Vec<_> = self.rejected.iter().copied().collect();
        differ("rejected records", &rejected, &expected, &mut found);
        let verification = history.verify().await?;
        found.extend(verification.differences.into_iter().map(|d| format!("verify: {d}")));
        Ok(found)
    }

    /// Compares the journal effect by effect from its beginning, and checks that it has no holes.
    pub async fn compare_journal(&self, history: &dyn History) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let positions = history.positions().await?;
        let mut authored: BTreeMap<PostId, u32> = BTreeMap::new();
        for (partition, fed_to) in self.positions.iter() {
            let (mut at, end) = (0, positions.of(partition));
            if end < fed_to {
                found.push(format!("partition {partition} stands at {end}, the records end at {fed_to}"));
            }
            let mut effects: Vec<Effect> = Vec::new();
            while at < end {
                let JournalRead::Entries(entries) = history.journal(partition, at, 10_000).await? else {
                    found.push(format!("the journal of {partition} no longer reaches back to {at}"));
                    break;
                };
                let Some(last) = entries.last().map(|e| e.to) else {
                    found.push(format!("the journal of {partition} ends at {at}, its position is {end}"));
                    break;
                };
                for entry in &entries {
                    if entry.from != at {
                        found.push(format!("the journal of {partition} jumps from {at} to {}", entry.from));
                    }
                    at = entry.to;
                }
                at = last;
                effects.extend(entries.iter().flat_map(|e| e.effects.iter().cloned()));
            }
            // The model cannot know which partition committed its `post` first.
            effects.iter().filter(|e| e.kind == EventKind::Post).for_each(|e| {
                *authored.entry(e.post.clone()).or_default() += 1;
            });
            let others = |e: &&Effect| e.kind != EventKind::Post;
            let mut got = effects.iter().filter(others);
            let mut expected = self.effects.get(&partition).into_iter().flatten().filter(others);
            loop {
                match (got.next(), expected.next()) {
                    (None, None) => break,
                    (a, b) if a == b => {}
                    (a, b) => {
                        found.push(format!("journal of {partition}: effect {a:?}, expected {b:?}"));
                        break;
                    }
                }
            }
        }
        for (id, post) in &self.posts {
            let (got, expected) =
                (authored.get(id).copied().unwrap_or(0), u32::from(!post.authors.is_empty()));
            if got != expected {
                found.push(format!("journal: {id} is published {got} times, expected {expected}"));
            }
        }
        found.truncate(ENOUGH);
        Ok(found)
    }

    /// Compares counts and lists. Trending scores at `now` may differ by a billionth.
    pub async fn compare_counters(
        &self,
        counters: &dyn Counts,
        trending: &Trending,
        now: Timestamp,
    ) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let ids: Vec<PostId> = self.posts.keys().cloned().collect();
        for some in ids.chunks(1000) {
            let views = counters.posts(some).await?;
            let names: Vec<_> = views.iter().map(|v| &v.post_id).collect();
            if !names.iter().copied().eq(some) {
                found.push(format!("asked for {} posts, got {} or others", some.len(), names.len()));
            }
            for view in &views {
                if let Some(post) = self.posts.get(&view.post_id) {
                    compare_view(&view.post_id, post, view, &mut found);
                }
            }
        }
        compare_top(self, "top", counters.top(ids.len() + 10).await?, &mut found);
        let scores = self.scores(trending);
        let listed = counters.trending(now, ids.len() + 10).await?;
        if listed.len() != self.top().len() {
            found.push(format!("trending lists {} posts, expected {}", listed.len(), self.top().len()));
        }
        for RankedPost { post_id, score, .. } in listed {
            let expected = scores.get(&post_id).map_or(0.0, |s| trending.at(*s, now));
            if (score - expected).abs() > 1e-9 * expected.abs().max(1.0) {
                found.push(format!("{post_id} trends at {score}, expected {expected}"));
            }
        }
        found.truncate(ENOUGH);
        Ok(found)
    }

    /// The trending score of each post.
    pub fn scores(&self, trending: &Trending) -> BTreeMap<PostId, Score> {
        let mut scores: BTreeMap<PostId, Score> = BTreeMap::new();
        for effect in self.effects() {
            if let Some(("like", by)) = effect.kind.delta() {
                scores.entry(effect.post.clone()).or_default().add(trending.weight(effect.time), by as f64);
            }
        }
        scores
    }

    /// The posts that each user has ever liked or unliked.
    fn touched(&self) -> BTreeMap<&UserId, Vec<PostId>> {
        let mut touched: BTreeMap<&UserId, BTreeSet<&PostId>> = BTreeMap::new();
        for effect in self.effects().filter(|effect| effect.kind == EventKind::Like) {
            touched.entry(&effect.user).or_default().insert(&effect.post);
        }
        touched.into_iter().map(|(user, posts)| (user, posts.into_iter().cloned().collect())).collect()
    }
}

fn compare_view(id: &PostId, post: &ModelPost, view: &PostView, found: &mut Vec<String>) {
    let counts: BTreeMap<_, _> =
        post.counts.iter().filter(|(_, n)| **n != 0).map(|(k, n)| (k.clone(), *n)).collect();
    let expected = PostView::new(id.clone(), None, counts);
    let got = PostView { author: None, ..view.clone() };
    differ(&format!("post {id}"), &got, &expected, found);
    let may_be = match &view.author {
        None => post.authors.is_empty(),
        Some(author) => post.authors.values().any(|a| a == author),
    };
    if !may_be {
        found.push(format!("author of {id}: {:?}, expected one of {:?}", view.author, post.authors));
    }
}

fn compare_top(model: &Model, what: &str, got: Vec<RankedPost>, found: &mut Vec<String>) {
    let got: Vec<_> = got.into_iter().map(|r| (r.post_id, r.likes)).collect();
    let expected = model.top();
    if let Some(at) = (0..got.len().max(expected.len())).find(|i| got.get(*i) != expected.get(*i)) {
        found.push(format!("{what}, place {at}: {:?}, expected {:?}", got.get(at), expected.get(at)));
    }
}

fn buckets(post: &ModelPost, by: Bucket) -> BTreeMap<Timestamp, BTreeMap<String, i64>> {
    let mut buckets: BTreeMap<Timestamp, BTreeMap<String, i64>> = BTreeMap::new();
    for (hour, counts) in &post.hours {
        for (kind, n) in counts {
            *buckets.entry(by.start(*hour)).or_default().entry(kind.clone()).or_default() += n;
        }
    }
    buckets.values_mut().for_each(|counts| counts.retain(|_, n| *n != 0));
    buckets.retain(|_, counts| !counts.is_empty());
    buckets
}

fn comments(post: &ModelPost) -> Vec<(CommentCursor, Option<String>)> {
    let cursor = |(time, id, user): &(Timestamp, crate::EventId, UserId)| CommentCursor {
        time: *time,
        id: *id,
        user: user.clone(),
    };
    post.comments.iter().rev().map(|(key, text)| (cursor(key), text.clone())).collect()
}

async fn all_comments(queries: &dyn Queries, post: &PostId) -> Result<Vec<(CommentCursor, Option<String>)>> {
    let mut all: Vec<(CommentCursor, Option<String>)> = Vec::new();
    loop {
        let page = queries.comments(post, all.last().map(|(c, _)| c.clone()), 100).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(
            page.into_iter()
                .map(|c| (CommentCursor { time: c.timestamp, id: c.id, user: c.user_id }, c.text)),
        );
    }
}

fn differ<T: PartialEq + std::fmt::Debug>(what: &str, got: &T, expected: &T, found: &mut Vec<String>) {
    if got != expected {
        let short = |value: &T| format!("{value:?}").chars().take(300).collect::<String>();
        found.push(format!("{what}: {}, expected {}", short(got), short(expected)));
    }
}
