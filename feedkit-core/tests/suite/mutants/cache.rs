//! Answer caches with faults.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hashbrown::HashMap;
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use feedkit_core::{AnswerCache, Result};

use super::faults::faults;

faults! {
    /// The faults of a [`MutantCache`].
    CacheFault {
        /// Never drops an answer.
        IgnoresTime,
        /// Keeps the first answer put under a key.
        KeepsFirst,
        /// Keeps the time to live of the first answer put under a key.
        KeepsFirstTime,
        /// Compares only the first hundred bytes of keys.
        CutsKeys,
        /// Does not distinguish upper and lower case.
        FoldsCase,
        /// Treats an empty answer as missing.
        LosesEmpty,
    }
}

/// A cache with one fault.
pub(crate) struct MutantCache {
    answers: Mutex<HashMap<String, (Bytes, Instant)>>,
    fault: CacheFault,
}

impl MutantCache {
    /// Creates a cache with this fault.
    pub(crate) fn new(fault: CacheFault) -> Self {
        MutantCache { answers: Mutex::default(), fault }
    }

    fn answers(&self) -> MutexGuard<'_, HashMap<String, (Bytes, Instant)>> {
        self.answers.lock()
    }

    fn key(&self, key: &str) -> String {
        match self.fault {
            CacheFault::CutsKeys => key.chars().take(100).collect(),
            CacheFault::FoldsCase => key.to_ascii_lowercase(),
            _ => key.to_owned(),
        }
    }
}

#[async_trait]
impl AnswerCache for MutantCache {
    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        let kept = self.answers().get(&self.key(key)).cloned();
        let now = Instant::now();
        let kept = kept.filter(|(_, until)| self.fault == CacheFault::IgnoresTime || *until > now);
        let lost = |answer: &Bytes| self.fault == CacheFault::LosesEmpty && answer.is_empty();
        Ok(kept.map(|(answer, _)| answer).filter(|answer| !lost(answer)))
    }

    async fn put(&self, key: &str, answer: Bytes, ttl: Duration) -> Result<()> {
        let key = self.key(key);
        let until = Instant::now() + ttl;
        let mut answers = self.answers();
        match (self.fault, answers.get(&key).cloned()) {
            (CacheFault::KeepsFirst, Some(_)) => {}
            (CacheFault::KeepsFirstTime, Some((_, first))) => {
                answers.insert(key, (answer, first));
            }
            _ => {
                answers.insert(key, (answer, until));
            }
        }
        Ok(())
    }
}
