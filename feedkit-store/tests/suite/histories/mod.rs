//! What every history of this crate must do beyond its contract, written once: each backend runs
//! all of it on stores of its own.

pub(crate) mod journal;
pub(crate) mod model;
pub(crate) mod months;
pub(crate) mod retention;
pub(crate) mod traffic;

use std::sync::Arc;

use feedkit_core::effect::LikePolicy;
use feedkit_core::inspect::Verification;
use feedkit_core::trending::Trending;
use feedkit_core::{Clock, CounterStore, History, Inspect, Queries, SystemClock};

pub(crate) const NONE: [String; 0] = [];

/// Where a backend's stores come from. What they lie in is kept until this is dropped.
pub(crate) trait Stores {
    type Store: Store;
    /// How many random seeds a scenario is run with.
    const SEEDS: usize;
    /// Whether the journal goes by whole days instead of by the entry.
    const JOURNAL_GOES_BY_DAYS: bool;
    /// What the columns of posts and users are called.
    const COLUMNS: [&str; 2];

    /// Somewhere with nothing in it.
    async fn place(&self) -> String;

    async fn open(&self, place: &str, opening: Opening) -> Self::Store;

    /// What `verify` finds in the store here once this statement has changed one row; the store is
    /// left as it was.
    async fn verify_damaged(&self, place: &str, store: &Self::Store, sql: &str) -> Verification;

    /// An empty one.
    async fn empty(&self) -> Self::Store {
        self.open(&self.place().await, Opening::default()).await
    }
}

/// A store, opened.
pub(crate) trait Store {
    type History: History + Queries + Inspect + Clone;
    type Counters: CounterStore;

    fn history(&self) -> Self::History;

    /// Counters in which nothing is counted: the store's own, where it has any.
    fn counters(&self) -> Self::Counters;

    /// Lets what follows the journal take all that it lacks; nothing where a commit writes
    /// everything.
    async fn follow(&self);

    async fn rebuild_totals(&self);

    /// Another process on the same store, or the same one where no second may be there.
    async fn another(&self) -> Self;

    async fn close(&self);
}

/// How a store is opened.
#[derive(Clone)]
pub(crate) struct Opening {
    pub(crate) policy: LikePolicy,
    pub(crate) trending: Trending,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Default for Opening {
    fn default() -> Self {
        Opening { policy: LikePolicy::Unique, trending: Trending::default(), clock: Arc::new(SystemClock) }
    }
}

/// Makes a test of each scenario, on the stores that `$stores` gives; under the macro `$needs`, if
/// there is one.
macro_rules! tests {
    ($stores:expr $(, $needs:ident)?) => {
        $crate::histories::tests! {
            @each [$(#[apply($needs!)])?] $stores;
            journal::a_gap_moves_followers_and_a_partition_that_goes_back_makes_them_start_over,
            journal::a_batch_out_of_order_is_refused,
            journal::a_read_of_the_journal_is_bounded_by_effects_and_entries,
            model::any_split_into_batches_gives_the_models_counts,
            model::any_split_counts_every_like_where_that_is_the_policy,
            model::a_log_read_again_from_the_start_changes_nothing,
            retention::baseline_and_raw_events_give_the_totals,
            retention::retention_and_rebuilding_between_commits_change_no_count,
            retention::a_post_liked_no_longer_stays_a_post,
            retention::likes_of_one_hour_whose_ids_are_months_apart_add_up_and_trend_from_their_hour,
            retention::what_could_be_a_repeat_of_what_was_dropped_is_too_old,
            retention::the_journal_reaches_back_for_as_long_as_the_policy_says,
            retention::retention_under_commits_changes_no_count,
            retention::damage_is_named,
        }
    };
    (@each $attributes:tt $stores:expr; $($module:ident::$scenario:ident),+ $(,)?) => {
        $($crate::histories::tests! { @one $attributes $stores; $module::$scenario })+
    };
    (@one [$($attribute:tt)*] $stores:expr; $module:ident::$scenario:ident) => {
        $($attribute)*
        #[tokio::test(flavor = "multi_thread")]
        async fn $scenario() {
            $crate::histories::$module::$scenario(&$stores).await;
        }
    };
}
pub(crate) use tests;
