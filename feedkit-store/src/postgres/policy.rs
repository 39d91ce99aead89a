//! How effects are counted.

use feedkit_core::effect::LikePolicy;
use feedkit_core::trending::Trending;

/// How effects are counted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Policy {
    pub(super) likes: LikePolicy,
    pub(super) trending: Trending,
}
