//! Building a pipeline.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use super::config::PipelineConfig;
use super::feed::Feed;
use super::run::Pipeline;
use super::shared::Shared;
use super::status::PipelineStatus;
use crate::{Clock, Codec, EventSource, Follower, History, JsonCodec, SystemClock};

/// Builds a [`Pipeline`].
pub struct PipelineBuilder {
    source: Box<dyn EventSource>,
    history: Arc<dyn History>,
    codec: Arc<dyn Codec>,
    clock: Arc<dyn Clock>,
    followers: Vec<Arc<dyn Follower>>,
    config: PipelineConfig,
}

impl Pipeline {
    /// Starts with the parts that every pipeline needs.
    pub fn builder(source: impl EventSource + 'static, history: Arc<dyn History>) -> PipelineBuilder {
        PipelineBuilder {
            source: Box::new(source),
            history,
            codec: Arc::new(JsonCodec::default()),
            clock: Arc::new(SystemClock),
            followers: Vec::new(),
            config: PipelineConfig::default(),
        }
    }
}

impl PipelineBuilder {
    /// Adds a follower. Each follower needs a different name, which
    /// [`build`](PipelineBuilder::build) checks.
    pub fn follower(mut self, follower: impl Follower) -> Self {
        self.followers.push(Arc::new(follower));
        self
    }

    /// Reads records with `codec` instead of a plain [`JsonCodec`].
    pub fn codec(mut self, codec: impl Codec) -> Self {
        self.codec = Arc::new(codec);
        self
    }

    /// Uses `clock` instead of the system clock.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Changes the settings.
    pub fn configure(mut self, change: impl FnOnce(&mut PipelineConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// Creates the pipeline, ready to run.
    ///
    /// # Panics
    ///
    /// Panics if two followers have the same name, because their positions would be stored under
    /// the same name.
    pub fn build(self) -> Pipeline {
        let mut status = PipelineStatus::default();
        for follower in &self.followers {
            let twice = status.followers.insert(follower.name().to_owned(), Default::default()).is_some();
            assert!(!twice, "two followers are named {:?}", follower.name());
        }
        let feeds = self.followers.iter().map(|_| Arc::new(Feed::new(self.config.feed_effects))).collect();
        let (status, _) = watch::channel(status);
        let shared = Shared {
            history: self.history,
            codec: self.codec,
            clock: self.clock,
            commits: Semaphore::new(self.config.max_commits.clamp(1, Semaphore::MAX_PERMITS)),
            config: self.config,
            feeds,
            status,
        };
        Pipeline { source: self.source, followers: self.followers, shared }
    }
}
