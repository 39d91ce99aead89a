//! The parts of a gateway, in memory. Each group of tests replaces those that it looks at.

use std::sync::Arc;

use async_trait::async_trait;
use feedkit_core::access::{ByOwnership, Identity, StaticTokens};
use feedkit_core::health::{Component, Health};
use feedkit_core::memory::{MemoryAlertLog, MemoryCounters, MemoryHistory, MemoryLog};
use feedkit_core::testkit::ManualClock;
use feedkit_core::{Position, Result, Timestamp, UserId};
use feedkit_http::parts::Limits;
use feedkit_http::{Gateway, GatewayOptions, LocalCache, Parts, Visibility};

/// A gateway that was not started: every part is in memory, nothing is limited, every write is
/// visible, and no component is named.
pub(crate) struct GatewayWorld {
    pub(crate) clock: ManualClock,
    pub(crate) parts: Parts,
    pub(crate) options: GatewayOptions,
}

impl GatewayWorld {
    /// A gateway whose clock stands at `now`. Each token is given with the identity that it proves.
    pub(crate) fn new(now: Timestamp, tokens: impl IntoIterator<Item = (String, Identity)>) -> Self {
        let clock = ManualClock::at(now);
        let log = MemoryLog::new(1, clock.clone());
        let notifications = log.clone();
        let parts = Parts {
            sink: Arc::new(log),
            queries: Arc::new(MemoryHistory::new()),
            counters: Some(Arc::new(MemoryCounters::default())),
            cache: Arc::new(LocalCache::default()),
            alerts: Arc::new(MemoryAlertLog::new()),
            notifications: Arc::new(move || {
                let log = notifications.clone();
                async move { Ok(log.broadcast()) }
            }),
            visibility: Arc::new(AllVisible),
            tokens: Arc::new(StaticTokens::new(tokens)),
            authorizer: Arc::new(ByOwnership),
            limits: Limits::default(),
            health: Arc::new(NoComponents),
            clock: Arc::new(clock.clone()),
            metrics: prometheus::Registry::new(),
        };
        GatewayWorld { clock, parts, options: GatewayOptions::default() }
    }

    /// A gateway of these parts. Each call makes another one.
    pub(crate) fn gateway(&self) -> Gateway {
        Gateway::new(self.parts.clone(), self.options.clone())
    }
}

/// The identity of `user`.
pub(crate) fn identity(user: &str, roles: &[&str], scopes: &[&str], expires_at: Timestamp) -> Identity {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    Identity {
        user: UserId::new(user).unwrap(),
        roles: owned(roles),
        scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
        expires_at,
    }
}

struct AllVisible;

#[async_trait]
impl Visibility for AllVisible {
    async fn wait(&self, _: Position) -> Result<()> {
        Ok(())
    }
}

struct NoComponents;

impl Health for NoComponents {
    fn components(&self) -> Vec<Component> {
        Vec::new()
    }
}
