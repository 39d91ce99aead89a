//! The suite of [`CounterStore`].

use std::sync::Arc;

use super::sentence::{Sentence, drop_half_way};
use super::support::{at, entry, post, user};
use crate::counters::{ChunkOutcome, CounterChunk, CounterStore, Fence, MAX_CHUNK, RebuildToken, chunks};
use crate::history::PostTotals;
use crate::journal::JournalEntry;
use crate::queries::PostView;
use crate::trending::Trending;
use crate::{ErrorKind, Partition, Positions};

const HISTORY: u128 = 17;
const P0: Partition = Partition(0);

/// Tests the contract of [`CounterStore`]. Create the stores with [`Trending::default`]. The suite
/// [`counts`](super::counts) tests its supertrait.
///
/// # Panics
///
/// Panics with the sentence of the contract that does not hold.
pub async fn counters<S: CounterStore>(fresh: impl AsyncFn() -> S) {
    a_chunk_is_applied_in_order_and_once(&fresh().await).await;
    chunks_inside_an_entry_go_on_where_they_stopped(&fresh().await).await;
    partitions_have_fences_of_their_own(&fresh().await).await;
    applies_at_once_count_once(&fresh().await).await;
    another_incarnation_is_refused(&fresh().await).await;
    nothing_is_read_or_applied_during_a_rebuild(&fresh().await).await;
    a_rebuild_forgets_loads_and_sets_fences(&fresh().await).await;
    a_rebuild_begun_anew_replaces_the_one_before(&fresh().await).await;
    a_dropped_apply_has_happened_or_not(&fresh().await).await;
}

fn chunked(entry: &JournalEntry) -> Vec<CounterChunk> {
    chunks(entry, HISTORY, &Trending::default())
}

fn only(entry: &Arc<JournalEntry>) -> CounterChunk {
    let mut chunks = chunked(entry);
    assert_eq!(chunks.len(), 1, "the entry is meant to be small");
    chunks.remove(0)
}

async fn apply(says: Sentence, store: &impl CounterStore, chunk: &CounterChunk) -> ChunkOutcome {
    says.ok("applying a chunk", says.ends("apply", store.apply(chunk)).await)
}

async fn likes(says: Sentence, store: &impl CounterStore, name: &str) -> i64 {
    view(says, store, name).await.likes
}

async fn view(says: Sentence, store: &impl CounterStore, name: &str) -> PostView {
    let mut views = says.ok("reading a post", store.posts(&[post(name)]).await);
    says.equal("posts read", views.len(), 1);
    views.remove(0)
}

async fn fence(says: Sentence, store: &impl CounterStore, partition: Partition) -> Option<Fence> {
    says.ok("reading a fence", store.fence(partition).await)
}

fn at_entry(position: u64) -> Option<Fence> {
    Some(Fence { position, chunk: 0, incarnation: HISTORY })
}

async fn a_chunk_is_applied_in_order_and_once(store: &impl CounterStore) {
    let says = Sentence("the fence of a partition is `None` if nothing of the partition was ever counted");
    says.equal("fence", fence(says, store, P0).await, None);

    let first = only(&entry(0, 5, &[("a", "p", "like"), ("b", "p", "like")]));
    let second = only(&entry(5, 9, &[("c", "p", "like"), ("a", "p", "unlike"), ("d", "p", "like")]));
    let says = Sentence("a later chunk changes nothing (Gap)");
    let outcome = apply(says, store, &second).await;
    says.holds(
        matches!(outcome, ChunkOutcome::Gap(None)),
        format_args!("a store without a fence gives {outcome:?}"),
    );
    says.equal("likes", likes(says, store, "p").await, 0);
    says.equal("fence", fence(says, store, P0).await, None);

    let says = Sentence("apply of the next chunk changes its counters and moves the fence, in one step");
    says.equal("outcome", apply(says, store, &first).await, ChunkOutcome::Applied);
    says.equal("likes", likes(says, store, "p").await, 2);
    says.equal("fence", fence(says, store, P0).await, at_entry(5));
    says.equal("outcome", apply(says, store, &second).await, ChunkOutcome::Applied);
    says.equal("likes", likes(says, store, "p").await, 3);
    says.equal("fence", fence(says, store, P0).await, at_entry(9));

    let says = Sentence("an earlier chunk changes nothing (Skipped)");
    for chunk in [&first, &second] {
        says.equal("outcome", apply(says, store, chunk).await, ChunkOutcome::Skipped);
        says.equal("likes", likes(says, store, "p").await, 3);
        says.equal("fence", fence(says, store, P0).await, at_entry(9));
    }

    let says = Sentence("a later chunk changes nothing (Gap), and the outcome contains the fence");
    let later = only(&entry(12, 14, &[("e", "p", "like")]));
    says.equal("outcome", apply(says, store, &later).await, ChunkOutcome::Gap(at_entry(9)));
    says.equal("likes", likes(says, store, "p").await, 3);
    says.equal("fence", fence(says, store, P0).await, at_entry(9));

    let says = Sentence("an empty chunk moves the fence");
    says.equal("outcome", apply(says, store, &only(&entry(9, 30, &[]))).await, ChunkOutcome::Applied);
    says.equal("fence", fence(says, store, P0).await, at_entry(30));
}

async fn chunks_inside_an_entry_go_on_where_they_stopped(store: &impl CounterStore) {
    let says = Sentence("each partition has a fence, which names the next chunk that the store wants");
    let names: Vec<_> = (0..2 * MAX_CHUNK + 1).map(|i| format!("p{i:05}")).collect();
    let effects: Vec<_> = names.iter().map(|p| ("a", p.as_str(), "like")).collect();
    let chunks = chunked(&entry(0, 5000, &effects));
    says.equal("chunks", chunks.len(), 3);
    let second = || likes(says, store, &names[MAX_CHUNK]);
    says.equal("outcome", apply(says, store, &chunks[0]).await, ChunkOutcome::Applied);
    let inside = Some(Fence { position: 0, chunk: 1, incarnation: HISTORY });
    says.equal("fence", fence(says, store, P0).await, inside);
    says.equal("outcome", apply(says, store, &chunks[2]).await, ChunkOutcome::Gap(inside));
    says.equal("outcome", apply(says, store, &chunks[0]).await, ChunkOutcome::Skipped);
    says.equal("likes of the first chunk", likes(says, store, &names[0]).await, 1);
    says.equal("likes of the second chunk", second().await, 0);
    says.equal("outcome", apply(says, store, &chunks[1]).await, ChunkOutcome::Applied);
    says.equal("likes of the second chunk", second().await, 1);
    says.equal("outcome", apply(says, store, &chunks[1]).await, ChunkOutcome::Skipped);
    says.equal("likes of the second chunk", second().await, 1);
    says.equal("outcome", apply(says, store, &chunks[2]).await, ChunkOutcome::Applied);
    says.equal("likes of the last", likes(says, store, &names[2 * MAX_CHUNK]).await, 1);
    says.equal("fence", fence(says, store, P0).await, at_entry(5000));
}

async fn partitions_have_fences_of_their_own(store: &impl CounterStore) {
    let says = Sentence("each partition has its own fence");
    let of = |partition, user: &str| {
        let entry = JournalEntry { partition, ..(*entry(0, 5, &[(user, "p", "like")])).clone() };
        only(&Arc::new(entry))
    };
    says.equal("outcome", apply(says, store, &of(P0, "a")).await, ChunkOutcome::Applied);
    says.equal("fence of another", fence(says, store, Partition(1)).await, None);
    says.equal("outcome", apply(says, store, &of(Partition(1), "b")).await, ChunkOutcome::Applied);
    says.equal("likes of both", likes(says, store, "p").await, 2);
    says.equal("outcome", apply(says, store, &of(P0, "a")).await, ChunkOutcome::Skipped);
}

async fn applies_at_once_count_once(store: &impl CounterStore) {
    let says = Sentence("a chunk that is applied twice at the same time is counted once");
    for i in 0..20 {
        let chunk = only(&entry(i, i + 1, &[("a", "p", "comment")]));
        let (a, b) = tokio::join!(store.apply(&chunk), store.apply(&chunk));
        let mut outcomes = [says.ok("apply", a), says.ok("apply", b)];
        outcomes.sort_by_key(|o| *o != ChunkOutcome::Applied);
        says.equal("outcomes", outcomes, [ChunkOutcome::Applied, ChunkOutcome::Skipped]);
    }
    says.equal("comments", view(says, store, "p").await.comments, 20);
}

async fn another_incarnation_is_refused(store: &impl CounterStore) {
    let says = Sentence("the outcome is a gap if the chunk belongs to another incarnation of the history");
    let next = entry(5, 9, &[("b", "p", "like")]);
    says.equal("outcome", apply(says, store, &only(&entry(0, 5, &[]))).await, ChunkOutcome::Applied);
    for (foreign, what) in [(&next, "the next"), (&entry(0, 5, &[("c", "p", "like")]), "an earlier")] {
        for chunk in chunks(foreign, HISTORY + 1, &Trending::default()) {
            let outcome = apply(says, store, &chunk).await;
            says.holds(matches!(outcome, ChunkOutcome::Gap(_)), format_args!("{what} gives {outcome:?}"));
            says.equal("likes", likes(says, store, "p").await, 0);
            says.equal("fence", fence(says, store, P0).await, at_entry(5));
        }
    }
    says.equal("outcome of ours", apply(says, store, &only(&next)).await, ChunkOutcome::Applied);
}

async fn nothing_is_read_or_applied_during_a_rebuild(store: &impl CounterStore) {
    let says = Sentence("the outcome of every chunk is a gap while a rebuild is running");
    let first = only(&entry(0, 5, &[("a", "p", "like")]));
    let next = only(&entry(5, 9, &[("b", "p", "like")]));
    apply(says, store, &first).await;
    let token = says.ok("begin_rebuild", store.begin_rebuild().await);
    for chunk in [&first, &next] {
        let outcome = apply(says, store, chunk).await;
        says.holds(matches!(outcome, ChunkOutcome::Gap(_)), format_args!("it gives {outcome:?}"));
    }
    let says = Sentence("the fence is `None` if a rebuild is not finished");
    says.equal("fence", fence(says, store, P0).await, None);
    let says = Sentence("reads fail as retriable during a rebuild");
    says.fails("posts", store.posts(&[post("p")]).await, ErrorKind::Retriable);
    says.fails("top", store.top(5).await, ErrorKind::Retriable);
    says.fails("trending", store.trending(at(0), 5).await, ErrorKind::Retriable);
    let says = Sentence("begin_rebuild deletes all counts and fences");
    says.ok("finish_rebuild", store.finish_rebuild(token, &Positions::new(), HISTORY).await);
    says.equal("likes", likes(says, store, "p").await, 0);
    says.holds(says.ok("top", store.top(5).await).is_empty(), "top lists something");
    let stale = fence(says, store, P0).await.filter(|f| (f.position, f.chunk) != (0, 0));
    says.equal("fence", stale, None);
}

fn totals(name: &str, likes: i64, comments: i64) -> PostTotals {
    let counts = vec![("comment".to_owned(), comments), ("like".to_owned(), likes)];
    let mut score = crate::trending::Score::default();
    (0..likes).for_each(|_| score.add(Trending::default().weight(at(0)), 1.0));
    PostTotals { post: post(name), author: Some(user("author")), counts, score }
}

async fn a_rebuild_forgets_loads_and_sets_fences(store: &impl CounterStore) {
    let says = Sentence(
        "after finish_rebuild the counts are the loaded totals, which include all effects up to the positions",
    );
    apply(says, store, &only(&entry(0, 5, &[("a", "old", "like"), ("a", "p", "like")]))).await;
    let token = says.ok("begin_rebuild", store.begin_rebuild().await);
    says.ok("load", store.load(token, &[totals("p", 7, 2)]).await);
    says.ok("load", store.load(token, &[totals("q", 9, 0), totals("r", 0, 1)]).await);
    let positions = Positions::from_iter([(P0, 40)]);
    says.ok("finish_rebuild", store.finish_rebuild(token, &positions, HISTORY).await);
    let p = view(says, store, "p").await;
    says.equal("post", (p.likes, p.comments, p.author), (7, 2, Some(user("author"))));
    says.equal("likes of a post not loaded", likes(says, store, "old").await, 0);
    let top: Vec<_> = says.ok("top", store.top(9).await).into_iter().map(|r| (r.post_id, r.likes)).collect();
    says.equal("top", top, vec![(post("q"), 9), (post("p"), 7)]);
    let scores: Vec<_> =
        says.ok("trending", store.trending(at(0), 9).await).into_iter().map(|r| r.score).collect();
    let near = scores.len() == 2 && (scores[0] - 9.0).abs() < 1e-9 && (scores[1] - 7.0).abs() < 1e-9;
    says.holds(near, format_args!("trending scores {scores:?}, expected 9 and 7"));
    says.equal("fence", fence(says, store, P0).await, at_entry(40));

    says.equal(
        "an entry before",
        apply(says, store, &only(&entry(5, 9, &[("b", "p", "like")]))).await,
        ChunkOutcome::Skipped,
    );
    says.equal("likes", likes(says, store, "p").await, 7);
    let next = only(&entry(40, 44, &[("b", "p", "like")]));
    says.equal("the next entry", apply(says, store, &next).await, ChunkOutcome::Applied);
    says.equal("likes", likes(says, store, "p").await, 8);
    let foreign = chunks(&entry(44, 45, &[]), HISTORY + 1, &Trending::default());
    let outcome = apply(says, store, &foreign[0]).await;
    says.holds(
        matches!(outcome, ChunkOutcome::Gap(_)),
        format_args!("another incarnation gives {outcome:?}"),
    );
    let says = Sentence("after a rebuild a partition without a position starts at 0");
    let other = JournalEntry { partition: Partition(3), ..(*entry(0, 5, &[("c", "p", "like")])).clone() };
    says.equal("its first entry", apply(says, store, &only(&Arc::new(other))).await, ChunkOutcome::Applied);
    says.equal("likes", likes(says, store, "p").await, 9);
}

async fn a_rebuild_begun_anew_replaces_the_one_before(store: &impl CounterStore) {
    let says = Sentence(
        "a second begin_rebuild replaces the running rebuild, and calls with the older token fail as fenced",
    );
    let old = says.ok("begin_rebuild", store.begin_rebuild().await);
    says.ok("load", store.load(old, &[totals("old", 5, 0)]).await);
    let new = says.ok("begin_rebuild", store.begin_rebuild().await);
    says.holds(old != new, format_args!("both tokens are {old:?}"));
    says.fails("load with the older token", store.load(old, &[totals("p", 5, 0)]).await, ErrorKind::Fenced);
    let finished = store.finish_rebuild(old, &Positions::new(), HISTORY).await;
    says.fails("finish_rebuild with the older token", finished, ErrorKind::Fenced);
    says.fails("reads meanwhile", store.top(5).await, ErrorKind::Retriable);
    says.ok("load", store.load(new, &[totals("p", 3, 0)]).await);
    says.ok("finish_rebuild", store.finish_rebuild(new, &Positions::new(), HISTORY).await);
    says.equal("likes", likes(says, store, "p").await, 3);
    says.equal("likes loaded before", likes(says, store, "old").await, 0);
    let unknown = RebuildToken(new.0.wrapping_add(1));
    says.fails("a token that was never issued", store.load(unknown, &[]).await, ErrorKind::Fenced);
}

async fn a_dropped_apply_has_happened_or_not(store: &impl CounterStore) {
    let says = Sentence("a dropped apply has happened or not, as a whole, and the fence tells which");
    for i in 0..20 {
        let chunk = only(&entry(i, i + 1, &[("a", "p", "like"), ("a", "q", "comment")]));
        drop_half_way(store.apply(&chunk)).await;
        let before = fence(says, store, P0).await.map_or(0, |f| f.position);
        says.holds(
            before == i || before == i + 1,
            format_args!("the fence is at {before}, not at {i} or the next offset"),
        );
        let again = apply(says, store, &chunk).await;
        says.holds(
            matches!(again, ChunkOutcome::Applied | ChunkOutcome::Skipped),
            format_args!("again: {again:?}"),
        );
        says.equal("likes", likes(says, store, "p").await, i as i64 + 1);
        says.equal("comments", view(says, store, "q").await.comments, i as i64 + 1);
    }
}
