//! The suite of [`Queries`].

use std::collections::BTreeMap;

use super::committed::{commit, events};
use super::sentence::Sentence;
use super::support::{at, event, post, user};
use crate::effect::LoggedEvent;
use crate::history::History;
use crate::queries::{Bucket, Comment, CommentCursor, PostView, Queries, RankedPost};
use crate::{EventId, Timestamp};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// Tests the contract of [`Queries`]. Each call of `fresh` returns a [`History`] to commit events
/// to, and the queries that answer from it. A like counts once per user, and scores use
/// [`Trending::default`](crate::trending::Trending::default).
///
/// # Panics
///
/// Panics with the sentence of the contract that does not hold.
pub async fn queries<H: History, Q: Queries>(fresh: impl AsyncFn() -> (H, Q)) {
    nobody_has_heard_of_it(&fresh().await.1).await;
    let (history, queries) = fresh().await;
    posts_are_answered(&history, &queries).await;
    let (history, queries) = fresh().await;
    lists_are_in_order(&history, &queries).await;
    let (history, queries) = fresh().await;
    windows_count_from_their_hour(&history, &queries).await;
    let (history, queries) = fresh().await;
    activity_comes_in_buckets(&history, &queries).await;
    let (history, queries) = fresh().await;
    comments_are_paged(&history, &queries).await;
    let (history, queries) = fresh().await;
    likes_are_known(&history, &queries).await;
}

fn at_time(mut logged: LoggedEvent, seconds: i64) -> LoggedEvent {
    logged.event.time = at(seconds);
    logged
}

fn counts(list: &[(&str, i64)]) -> BTreeMap<String, i64> {
    list.iter().map(|(k, n)| ((*k).to_owned(), *n)).collect()
}

async fn nobody_has_heard_of_it(queries: &impl Queries) {
    let says = Sentence("a query about an unknown post or user is not an error");
    let p = post("nobody");
    says.equal("post", says.ok("post", queries.post(&p).await), None);
    says.holds(says.ok("top", queries.top(None, 5).await).is_empty(), "top lists something");
    says.holds(says.ok("top", queries.top(Some(at(0)), 5).await).is_empty(), "top lists something");
    says.holds(says.ok("trending", queries.trending(at(0), 5).await).is_empty(), "trending lists something");
    let activity = queries.activity(&p, Bucket::Hour, Timestamp::EPOCH, Timestamp::MAX).await;
    says.holds(says.ok("activity", activity).is_empty(), "an unknown post has activity");
    says.holds(
        says.ok("comments", queries.comments(&p, None, 5).await).is_empty(),
        "an unknown post has comments",
    );
    says.holds(
        says.ok("liked", queries.liked(&user("x"), std::slice::from_ref(&p)).await).is_empty(),
        "somebody likes it",
    );
    says.holds(
        says.ok("liked", queries.liked(&user("x"), &[]).await).is_empty(),
        "an empty query gives a post",
    );
}

async fn posts_are_answered(history: &impl History, queries: &impl Queries) {
    let says = Sentence("post returns a post if an event with an effect named it");
    let list = [
        ("a", "p", "like"),
        ("b", "p", "like"),
        ("c", "p", "comment"),
        ("w", "p", "post"),
        ("c", "p", "share"),
        ("x", "p", "post"),
        ("a", "q", "like"),
        ("a", "q", "unlike"),
        ("a", "r", "unlike"),
        ("w", "s", "post"),
    ];
    commit(says, history, events(0, &list)).await;
    let view = async |name| says.ok("post", queries.post(&post(name)).await);
    let all = counts(&[("comment", 1), ("like", 2), ("share", 1)]);
    says.equal("a post", view("p").await, Some(PostView::new(post("p"), Some(user("w")), all)));
    says.equal("a post that is no longer liked", view("q").await, Some(PostView::new(post("q"), None, [])));
    says.equal("a post that no event with an effect named", view("r").await, None);
    says.equal(
        "a post that was only published",
        view("s").await,
        Some(PostView::new(post("s"), Some(user("w")), [])),
    );
}

async fn lists_are_in_order(history: &impl History, queries: &impl Queries) {
    let says = Sentence(
        "lists are ordered by score, and posts with equal scores by the bytes of their ids, ascending",
    );
    let list = [
        ("a", "b", "like"),
        ("b", "b", "like"),
        ("a", "a", "like"),
        ("b", "a", "like"),
        ("a", "Z", "like"),
        ("b", "Z", "like"),
        ("a", "m", "like"),
        ("b", "m", "like"),
        ("c", "m", "like"),
        ("a", "n", "comment"),
        ("a", "gone", "like"),
        ("a", "gone", "unlike"),
    ];
    // All events have the same time, so that trending has the same equal scores.
    commit(says, history, events(0, &list).into_iter().map(|e| at_time(e, 0)).collect()).await;
    let names = |list: Vec<RankedPost>| {
        list.into_iter().map(|r| (r.post_id.to_string(), r.likes)).collect::<Vec<_>>()
    };
    let expected: Vec<_> = [("m", 3), ("Z", 2), ("a", 2), ("b", 2)].map(|(p, n)| (p.to_owned(), n)).to_vec();
    let top = says.ok("top", queries.top(None, 100).await);
    says.holds(top.iter().all(|r| r.score == r.likes as f64), "the score of top is not the likes");
    says.equal("top", names(top), expected.clone());
    says.equal("top 3", names(says.ok("top", queries.top(None, 3).await)), expected[..3].to_vec());
    says.equal("top since", names(says.ok("top", queries.top(Some(at(0)), 100).await)), expected.clone());
    says.equal("trending", names(says.ok("trending", queries.trending(at(0), 100).await)), expected.clone());
    says.equal(
        "trending 2",
        names(says.ok("trending", queries.trending(at(0), 2).await)),
        expected[..2].to_vec(),
    );
    let scores: Vec<_> =
        says.ok("trending", queries.trending(at(6 * HOUR), 9).await).iter().map(|r| r.score).collect();
    let says =
        Sentence("trending scores are those at the requested time: a like counts half after the half-life");
    let near =
        scores.len() == 4 && scores.iter().zip([1.5, 1.0, 1.0, 1.0]).all(|(a, b)| (a - b).abs() < 1e-9);
    says.holds(near, format_args!("{scores:?}"));
}

async fn windows_count_from_their_hour(history: &impl History, queries: &impl Queries) {
    let says = Sentence("with `since`, only effects from the hour of `since` on count");
    let mut all = events(
        0,
        &[("a", "p", "like"), ("b", "p", "like"), ("c", "p", "like"), ("a", "q", "like"), ("a", "r", "like")],
    );
    all = all
        .into_iter()
        .zip([0, 10 * HOUR, 10 * HOUR + 1, 11 * HOUR, 0])
        .map(|(e, t)| at_time(e, t))
        .collect();
    all.push(at_time(event(5, "a", "r", "unlike"), 12 * HOUR));
    commit(says, history, all).await;
    let top = async |since: i64| {
        let top = says.ok("top", queries.top(Some(at(since)), 9).await);
        top.into_iter().map(|r| (r.post_id.to_string(), r.likes)).collect::<Vec<_>>()
    };
    let of = |list: &[(&str, i64)]| list.iter().map(|(p, n)| ((*p).to_owned(), *n)).collect::<Vec<_>>();
    says.equal("from the start", top(0).await, of(&[("p", 3), ("q", 1)]));
    says.equal("from within an hour", top(10 * HOUR + 1800).await, of(&[("p", 2), ("q", 1)]));
    says.equal("from the next hour", top(11 * HOUR).await, of(&[("q", 1)]));
    says.equal("from after it all", top(13 * HOUR).await, of(&[]));
}

async fn activity_comes_in_buckets(history: &impl History, queries: &impl Queries) {
    let says =
        Sentence("activity returns the net counts in the buckets that start within `from..to`, oldest first");
    let list = [
        ("a", "p", "like"),
        ("b", "p", "like"),
        ("a", "p", "comment"),
        ("a", "p", "unlike"),
        ("c", "p", "like"),
        ("w", "p", "post"),
    ];
    let times = [10, HOUR - 1, HOUR, HOUR + 5, DAY + 5, 3 * DAY];
    let all = events(0, &list).into_iter().zip(times).map(|(e, t)| at_time(e, t)).collect();
    commit(says, history, all).await;
    let activity = async |by, from: i64, to: i64| {
        let buckets = says.ok("activity", queries.activity(&post("p"), by, at(from), at(to)).await);
        buckets.into_iter().map(|a| (a.start, a.counts)).collect::<Vec<_>>()
    };
    let like = |n| counts(&[("like", n)]);
    let hours =
        vec![(at(0), like(2)), (at(HOUR), counts(&[("comment", 1), ("like", -1)])), (at(DAY), like(1))];
    says.equal("all hours", activity(Bucket::Hour, 0, 10 * DAY).await, hours.clone());
    says.equal("up to the second hour", activity(Bucket::Hour, 0, HOUR).await, hours[..1].to_vec());
    says.equal("from the second hour", activity(Bucket::Hour, HOUR, DAY + 1).await, hours[1..].to_vec());
    says.equal("from within an hour", activity(Bucket::Hour, 1, DAY).await, hours[1..2].to_vec());
    let days = vec![(at(0), counts(&[("comment", 1), ("like", 1)])), (at(DAY), like(1))];
    says.equal("all days", activity(Bucket::Day, 0, 10 * DAY).await, days.clone());
    says.equal("a span without a bucket's start", activity(Bucket::Day, 1, DAY).await, vec![]);
    let says = Sentence("empty buckets and counts of zero are left out");
    let undone = vec![event(10, "d", "p", "like"), event(11, "d", "p", "unlike")];
    commit(says, history, undone.into_iter().map(|e| at_time(e, 5 * DAY)).collect()).await;
    says.equal("days", activity(Bucket::Day, 0, 10 * DAY).await, days);
}

async fn comments_are_paged(history: &impl History, queries: &impl Queries) {
    let says = Sentence(
        "comments come newest first, and those with equal times by id and then by user, both descending, after the cursor",
    );
    let mut all = events(0, &[("a", "p", "comment"); 25]);
    for (i, logged) in all.iter_mut().enumerate() {
        // Five comments have the same second, and one has the id of another user's comment.
        logged.event.time = at(i as i64 / 5);
        logged.event.id =
            EventId::derived(at(i as i64 / 5), (i as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15 << 64));
        logged.event.text = (i % 7 != 0).then(|| format!("text {i}"));
    }
    all[13].event.id = all[12].event.id;
    all[13].event.user = user("b");
    let mut expected: Vec<_> = all.iter().map(|e| e.event.clone()).collect();
    expected.sort_by_key(|e| std::cmp::Reverse((e.time, e.id, e.user.clone())));
    let expected: Vec<_> = expected
        .into_iter()
        .map(|e| Comment { id: e.id, user_id: e.user, text: e.text, timestamp: e.time })
        .collect();
    all.push(event(25, "a", "q", "comment"));
    commit(says, history, all).await;
    says.equal("all", says.ok("comments", queries.comments(&post("p"), None, 100).await), expected.clone());
    let says =
        Sentence("pages that follow each other by their cursors are complete and contain no item twice");
    for size in [1, 2, 3, 7] {
        let mut paged: Vec<Comment> = Vec::new();
        loop {
            let cursor =
                paged.last().map(|c| CommentCursor { time: c.timestamp, id: c.id, user: c.user_id.clone() });
            let page = says.ok("comments", queries.comments(&post("p"), cursor, size).await);
            says.holds(
                page.len() <= size,
                format_args!("a page has {} comments, but the limit is {size}", page.len()),
            );
            if page.is_empty() || paged.len() > expected.len() {
                break;
            }
            paged.extend(page);
        }
        says.equal("comments", paged, expected.clone());
    }
}

async fn likes_are_known(history: &impl History, queries: &impl Queries) {
    let says = Sentence("liked returns the given posts that the user likes, in the given order");
    let list = [
        ("a", "p", "like"),
        ("a", "q", "like"),
        ("a", "q", "unlike"),
        ("a", "r", "like"),
        ("b", "p", "like"),
        ("Z", "p", "like"),
        ("a~", "p", "like"),
        ("c", "p", "like"),
        ("c", "p", "unlike"),
    ];
    commit(says, history, events(0, &list)).await;
    let asked = ["r", "none", "q", "p"].map(post);
    let liked = says.ok("liked", queries.liked(&user("a"), &asked).await);
    says.equal("liked", liked, vec![post("r"), post("p")]);
    let liked_by = async |name| says.ok("liked", queries.liked(&user(name), &[post("p"), post("q")]).await);
    for (name, likes) in [("Z", true), ("a", true), ("a~", true), ("b", true), ("c", false), ("aa", false)] {
        let expected = if likes { vec![post("p")] } else { vec![] };
        says.equal(name, liked_by(name).await, expected);
    }
}
