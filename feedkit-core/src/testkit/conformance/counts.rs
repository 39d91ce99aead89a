//! The suite of [`Counts`].

use async_trait::async_trait;

use super::sentence::Sentence;
use super::support::{at, entry, post, user};
use crate::PostId;
use crate::counters::{CounterStore, chunks};
use crate::counts::Counts;
use crate::journal::JournalEntry;
use crate::queries::{PostView, RankedPost};
use crate::trending::Trending;

const HISTORY: u128 = 17;

/// Counts to be tested, and a way to add effects to them. Every [`CounterStore`] is a harness: it
/// applies the chunks of an entry.
#[async_trait]
pub trait CountsHarness: Send + Sync {
    /// The counts.
    fn counts(&self) -> &dyn Counts;

    /// Counts an entry of partition 0. Each entry begins where the previous one ended.
    async fn count(&self, entry: &JournalEntry);
}

#[async_trait]
impl<S: CounterStore> CountsHarness for S {
    fn counts(&self) -> &dyn Counts {
        self
    }

    async fn count(&self, entry: &JournalEntry) {
        let says = Sentence("entries that follow each other are applied");
        for chunk in chunks(entry, HISTORY, &Trending::default()) {
            says.ok("apply", self.apply(&chunk).await);
        }
    }
}

/// Tests the contract of [`Counts`] on what the harness counts. A like counts once per user, and
/// scores use [`Trending::default`].
///
/// # Panics
///
/// Panics with the sentence of the contract that does not hold.
pub async fn counts<H: CountsHarness>(fresh: impl AsyncFn() -> H) {
    nothing_is_counted_at_first(&fresh().await).await;
    lists_are_in_order(&fresh().await).await;
    authors_and_kinds_are_kept(&fresh().await).await;
}

async fn nothing_is_counted_at_first(harness: &impl CountsHarness) {
    let says =
        Sentence("a post that was never counted has no counts, and lists contain no posts without likes");
    let store = harness.counts();
    let nothing = PostView::new(post("p"), None, []);
    says.equal("posts", says.ok("posts", store.posts(&[post("p")]).await), vec![nothing]);
    says.equal("no posts", says.ok("posts", store.posts(&[]).await), vec![]);
    says.equal("top", says.ok("top", store.top(5).await), vec![]);
    says.equal("trending", says.ok("trending", store.trending(at(0), 5).await), vec![]);
}

async fn lists_are_in_order(harness: &impl CountsHarness) {
    let store = harness.counts();
    let says = Sentence(
        "posts with equal scores are ordered by the bytes of their ids, ascending, and lists contain no posts without likes",
    );
    let effects = [
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
        ("a", "a~", "like"),
    ];
    harness.count(&entry(0, 20, &effects)).await;
    harness.count(&entry(20, 21, &[("a", "gone", "unlike")])).await;
    let names = |list: Vec<RankedPost>| {
        list.into_iter().map(|r| (r.post_id.to_string(), r.likes)).collect::<Vec<_>>()
    };
    let of = |list: &[(&str, i64)]| list.iter().map(|(p, n)| ((*p).to_owned(), *n)).collect::<Vec<_>>();
    let expected = of(&[("m", 3), ("Z", 2), ("a", 2), ("b", 2), ("a~", 1)]);
    let top = says.ok("top", store.top(100).await);
    says.holds(top.iter().all(|r| r.score == r.likes as f64), "the score of top is not the likes");
    says.equal("top", names(top), expected.clone());
    says.equal("top 2", names(says.ok("top", store.top(2).await)), expected[..2].to_vec());
    says.equal("top 0", names(says.ok("top", store.top(0).await)), vec![]);

    let trending = names(says.ok("trending", store.trending(at(60), 100).await));
    says.equal("first of trending", trending.first().cloned(), Some(("m".to_owned(), 3)));
    let mut sorted = trending.clone();
    sorted.sort_by_key(|(name, _)| expected.iter().position(|(n, _)| n == name));
    says.equal("posts of trending", sorted, expected);
    says.equal(
        "trending 2",
        names(says.ok("trending", store.trending(at(60), 2).await)),
        trending[..2].to_vec(),
    );
    let says = Sentence("trending scores are those at the requested time");
    let score = async |seconds| says.ok("trending", store.trending(at(seconds), 1).await)[0].score;
    let (now, later) = (score(60).await, score(60 + 6 * 3600).await);
    says.holds((now / later - 2.0).abs() < 1e-9, format_args!("{now}, and a half-life later {later}"));
}

async fn authors_and_kinds_are_kept(harness: &impl CountsHarness) {
    let store = harness.counts();
    let says = Sentence("posts returns counts by kind, and the author if an entry published the post");
    let effects = [("w", "p", "post"), ("a", "p", "share"), ("b", "p", "share"), ("a", "p", "comment")];
    harness.count(&entry(0, 9, &effects)).await;
    harness.count(&entry(9, 10, &[("c", "p", "like")])).await;
    let counts = [("comment", 1), ("like", 1), ("share", 2)].map(|(k, n)| (k.to_owned(), n));
    let expected = PostView::new(post("p"), Some(user("w")), counts);
    says.equal("post", says.ok("posts", store.posts(&[post("p")]).await), vec![expected]);
    let says = Sentence("posts returns one view for each requested post, in the same order");
    let asked: Vec<PostId> = ["z", "p", "a", "p"].map(post).to_vec();
    let got: Vec<_> =
        says.ok("posts", store.posts(&asked).await).into_iter().map(|v| (v.post_id, v.likes)).collect();
    says.equal("posts", got, vec![(post("z"), 0), (post("p"), 1), (post("a"), 0), (post("p"), 1)]);
}
