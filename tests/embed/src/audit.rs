//! An own sink that wraps another sink.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use feedkit_core::sink::NewRecord;
use feedkit_core::{Error, EventSink, Position, Result};
use parking_lot::Mutex;

/// Writes down where each record lies that the inner sink has acknowledged. The audit is for
/// people: an error of its file fails nothing, but is told at the next flush.
pub struct Audited<S> {
    inner: S,
    audit: Arc<Mutex<Audit>>,
}

struct Audit {
    file: File,
    failed: Option<std::io::Error>,
}

impl<S> Audited<S> {
    pub fn new(inner: S, path: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Audited { inner, audit: Arc::new(Mutex::new(Audit { file, failed: None })) })
    }
}

#[async_trait]
impl<S: EventSink> EventSink for Audited<S> {
    async fn send(&self, batch: Vec<NewRecord>) -> Vec<Result<Position>> {
        let keys: Vec<_> = batch.iter().map(|record| record.key.clone().unwrap_or_default()).collect();
        let outcomes = self.inner.send(batch).await;
        let taken = keys.iter().zip(&outcomes).filter_map(|(key, outcome)| {
            let position = outcome.as_ref().ok()?;
            Some(format!("{} before {position}\n", String::from_utf8_lossy(key)))
        });
        let (lines, audit): (String, _) = (taken.collect(), Arc::clone(&self.audit));
        let written = tokio::task::spawn_blocking(move || {
            let mut audit = audit.lock();
            if let Err(error) = audit.file.write_all(lines.as_bytes()) {
                audit.failed = Some(error);
            }
        });
        // The outcomes stand, whatever becomes of the audit.
        let _ = written.await;
        outcomes
    }

    async fn flush(&self) -> Result<()> {
        self.inner.flush().await?;
        match self.audit.lock().failed.take() {
            Some(error) => Err(Error::fatal(format!("the audit is incomplete: {error}")).with_source(error)),
            None => Ok(()),
        }
    }
}
