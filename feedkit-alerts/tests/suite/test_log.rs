//! An alert log that fails on demand.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use feedkit_core::alert_log::{AlertLog, AlertStep, Recovered, RuleStates};
use feedkit_core::lease::Lease;
use feedkit_core::memory::MemoryAlertLog;
use feedkit_core::notification::Notification;
use feedkit_core::outbox::OutboxRow;
use feedkit_core::{Alerts, Error, Outbox, Positions, Result, Timestamp};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// An alert log that records each step, yields before and after each write, and fails at random.
pub(crate) struct TestLog {
    pub(crate) inner: MemoryAlertLog,
    pub(crate) steps: Mutex<Vec<AlertStep>>,
    rng: Mutex<ChaCha8Rng>,
    /// One in this many calls fails. 0 means none.
    pub(crate) fail_one_in: AtomicU32,
    pub(crate) snapshots: AtomicU32,
    /// Snapshots wait while a test holds this lock.
    pub(crate) in_snapshot: tokio::sync::Mutex<()>,
    /// Called before exact states are read.
    pub(crate) before_reading: Mutex<Option<Box<dyn FnMut() + Send>>>,
}

enum Fate {
    Fine,
    Fails,
    /// The outcome is uncertain, and nothing was written.
    Lost,
    /// The outcome is uncertain, and all was written.
    Done,
}

impl TestLog {
    pub(crate) fn new(seed: u64) -> Self {
        TestLog {
            inner: MemoryAlertLog::new(),
            steps: Mutex::default(),
            rng: Mutex::new(ChaCha8Rng::seed_from_u64(!seed)),
            fail_one_in: AtomicU32::new(0),
            snapshots: AtomicU32::new(0),
            in_snapshot: tokio::sync::Mutex::new(()),
            before_reading: Mutex::default(),
        }
    }

    /// The number of stored steps.
    pub(crate) fn written(&self) -> usize {
        self.steps.lock().unwrap().len()
    }

    fn fate(&self) -> Fate {
        let one_in = self.fail_one_in.load(Ordering::Relaxed);
        let mut rng = self.rng.lock().unwrap();
        if one_in == 0 || rng.random_range(0..one_in) != 0 {
            return Fate::Fine;
        }
        match rng.random_range(0..3) {
            0 => Fate::Fails,
            1 => Fate::Lost,
            _ => Fate::Done,
        }
    }

    /// Fails a read at random. The outcome of a read is never uncertain.
    fn read(&self) -> Result<()> {
        match self.fate() {
            Fate::Fine => Ok(()),
            _ => Err(Error::retriable("the test's alert log does not answer")),
        }
    }

    async fn write<T>(&self, write: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::task::yield_now().await;
        let fate = self.fate();
        match fate {
            Fate::Fails => return Err(Error::retriable("the test's alert log does not answer")),
            Fate::Lost => return Err(Error::uncertain("the connection broke")),
            Fate::Fine | Fate::Done => {}
        }
        let result = write.await?;
        tokio::task::yield_now().await;
        match fate {
            Fate::Done => Err(Error::uncertain("the connection broke")),
            _ => Ok(result),
        }
    }
}

#[async_trait]
impl AlertLog for TestLog {
    async fn acquire(&self, owner: &str, now: Timestamp, ttl: Duration) -> Result<Option<Lease>> {
        self.read()?;
        self.inner.acquire(owner, now, ttl).await
    }
    async fn renew(&self, lease: &Lease, now: Timestamp, ttl: Duration) -> Result<Lease> {
        self.read()?;
        self.inner.renew(lease, now, ttl).await
    }
    async fn release(&self, lease: &Lease) -> Result<()> {
        self.inner.release(lease).await
    }
    async fn recover(&self, lease: &Lease) -> Result<Recovered> {
        self.read()?;
        self.inner.recover(lease).await
    }
    async fn step(&self, lease: &Lease, step: &AlertStep) -> Result<()> {
        let write = async {
            self.inner.step(lease, step).await?;
            self.steps.lock().unwrap().push(step.clone());
            Ok(())
        };
        self.write(write).await
    }
    async fn save_snapshot(
        &self,
        lease: &Lease,
        step: u64,
        positions: &Positions,
        states: &dyn RuleStates,
    ) -> Result<()> {
        drop(self.in_snapshot.lock().await);
        self.write(self.inner.save_snapshot(lease, step, positions, states)).await?;
        self.snapshots.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
    async fn exact_states(&self, rule: &str, keys: &[&str]) -> Result<Vec<Option<Vec<u8>>>> {
        self.read()?;
        if let Some(before) = &mut *self.before_reading.lock().unwrap() {
            before();
        }
        self.inner.exact_states(rule, keys).await
    }
}

#[async_trait]
impl Outbox for TestLog {
    async fn outbox(&self, limit: usize) -> Result<Vec<OutboxRow>> {
        self.read()?;
        self.inner.outbox(limit).await
    }
    async fn mark_published(&self, lease: &Lease, seq: u64, positions: &Positions) -> Result<()> {
        self.write(self.inner.mark_published(lease, seq, positions)).await
    }
    async fn published(&self) -> Result<Positions> {
        self.read()?;
        self.inner.published().await
    }
}

#[async_trait]
impl Alerts for TestLog {
    async fn alerts(&self, before: Option<u64>, limit: usize) -> Result<Vec<(u64, Notification)>> {
        self.inner.alerts(before, limit).await
    }
}
