//! Keys that are fetched, and fetched again when they rotate.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard, RwLock};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::key::Key;
use super::{JwksSource, JwtRules};
use crate::in_time::in_time;
use feedkit_core::{Error, Result};

/// A set of keys with its version. Another version may verify other tokens.
pub(super) struct KeySet {
    pub(super) keys: Vec<Key>,
    pub(super) version: u64,
}

impl KeySet {
    pub(super) fn knows(&self, kid: Option<&str>) -> bool {
        self.keys.iter().any(|key| key.may_be(kid))
    }
}

/// The keys of a [`JwksSource`].
pub(super) struct Fetched {
    source: Arc<dyn JwksSource>,
    rules: JwtRules,
    /// `None` before the first fetch that succeeded.
    current: RwLock<Option<Arc<KeySet>>>,
    /// The task with the permit fetches. The others wait, and use the result.
    turn: Semaphore,
    attempts: Mutex<Attempts>,
}

#[derive(Default)]
struct Attempts {
    /// The number of attempts.
    count: u64,
    /// When the last attempt began.
    last: Option<Instant>,
    /// Why the last attempt failed.
    failure: Option<String>,
    /// When the current keys were fetched.
    fetched: Option<Instant>,
    /// The document of the current keys.
    document: Option<bytes::Bytes>,
}

/// How long to wait before another first fetch, while no token can be verified.
const FIRST_COOLDOWN: Duration = Duration::from_secs(1);

impl Fetched {
    pub(super) fn new(source: Arc<dyn JwksSource>, rules: JwtRules) -> Self {
        let (current, attempts) = (RwLock::default(), Mutex::default());
        Fetched { source, rules, current, turn: Semaphore::new(1), attempts }
    }

    /// The current keys. They are fetched first if there are none, or if they are old.
    pub(super) async fn current(&self) -> Result<Arc<KeySet>> {
        let Some(current) = self.known() else {
            self.fetch(FIRST_COOLDOWN.min(self.rules.fetch_cooldown)).await;
            return self.known().ok_or_else(|| self.unavailable());
        };
        // One request fetches old keys again. The others continue with the current keys.
        if self.is_old()
            && let Ok(_turn) = self.turn.try_acquire()
        {
            self.fetch_now().await;
            return Ok(self.known().unwrap_or(current));
        }
        Ok(current)
    }

    /// The keys after another fetch, for a token that names an unknown key.
    pub(super) async fn renewed(&self) -> Result<Arc<KeySet>> {
        self.fetch(self.rules.fetch_cooldown).await;
        self.known().ok_or_else(|| self.unavailable())
    }

    /// The error of the last fetch, if it failed. An unknown key may be valid then.
    pub(super) fn failure(&self) -> Option<Error> {
        let failed = self.attempts().failure.is_some();
        failed.then(|| self.unavailable())
    }

    /// Fetches the keys, unless another task is fetching them or has done so within `cooldown`.
    async fn fetch(&self, cooldown: Duration) {
        let count = self.attempts().count;
        // The semaphore is never closed.
        let Ok(_turn) = self.turn.acquire().await else { return };
        {
            let attempts = self.attempts();
            let cools = attempts.last.is_some_and(|last| last.elapsed() < cooldown);
            if attempts.count != count || cools {
                return;
            }
        }
        self.fetch_now().await;
    }

    /// Fetches the keys. The caller has the permit.
    async fn fetch_now(&self) {
        {
            let mut attempts = self.attempts();
            // This is noted first, so that a fetch that is dropped counts as well.
            attempts.count += 1;
            attempts.last = Some(Instant::now());
        }
        let document = in_time(self.rules.fetch_timeout, "the key server", self.source.fetch()).await;
        let keys = document.and_then(|document| {
            let unchanged = self.attempts().document.as_ref() == Some(&document);
            let keys = if unchanged { None } else { Some(Key::of_jwks(&document, self.rules.algorithm)?) };
            Ok((document, keys))
        });
        let mut attempts = self.attempts();
        match keys {
            Ok((document, keys)) => {
                attempts.failure = None;
                attempts.fetched = Some(Instant::now());
                attempts.document = Some(document);
                if let Some(keys) = keys {
                    let version = attempts.count;
                    tracing::info!(keys = keys.len(), "keys to verify tokens with have been fetched");
                    let mut current = self.current.write();
                    *current = Some(Arc::new(KeySet { keys, version }));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "keys to verify tokens with cannot be fetched");
                attempts.failure = Some(error.to_string());
            }
        }
    }

    fn is_old(&self) -> bool {
        let attempts = self.attempts();
        let since = |time: Option<Instant>| time.map_or(Duration::MAX, |time| time.elapsed());
        since(attempts.fetched) >= self.rules.max_key_age && since(attempts.last) >= self.rules.fetch_cooldown
    }

    fn known(&self) -> Option<Arc<KeySet>> {
        self.current.read().clone()
    }

    fn unavailable(&self) -> Error {
        let why = self.attempts().failure.clone().unwrap_or_else(|| "not fetched yet".to_owned());
        Error::retriable(format!("keys to verify tokens with cannot be fetched: {why}"))
    }

    fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock()
    }
}
