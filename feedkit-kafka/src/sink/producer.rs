//! The producer, and its replacement when it breaks.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use feedkit_core::Result;
use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::producer::ThreadedProducer;

use super::delivery::{Deliveries, Reports};
use crate::failure::failed;

pub(crate) type Producer = ThreadedProducer<Reports>;

/// Holds the producer in use.
pub(crate) struct Producers {
    config: ClientConfig,
    deliveries: Arc<Deliveries>,
    current: Mutex<Arc<Producer>>,
}

impl Producers {
    pub(crate) fn new(config: ClientConfig, deliveries: Arc<Deliveries>) -> Result<Self> {
        let current = Mutex::new(Arc::new(make(&config, &deliveries)?));
        Ok(Producers { config, deliveries, current })
    }

    pub(crate) fn current(&self) -> Arc<Producer> {
        Arc::clone(&self.current.lock())
    }

    /// Replaces `broken` by a new producer, unless another call has done so already.
    pub(crate) fn replace(&self, broken: &Arc<Producer>) -> Result<Arc<Producer>> {
        let mut current = self.current.lock();
        if !Arc::ptr_eq(&current, broken) {
            return Ok(Arc::clone(&current));
        }
        let new = Arc::new(make(&self.config, &self.deliveries)?);
        // The old producer is dropped by the last send that uses it. Its open records are reported
        // as uncertain.
        *current = Arc::clone(&new);
        drop(current);
        self.deliveries.producers_broken.fetch_add(1, Relaxed);
        tracing::warn!("Kafka has fenced or forgotten the producer; a new producer replaces it");
        Ok(new)
    }
}

fn make(config: &ClientConfig, deliveries: &Arc<Deliveries>) -> Result<Producer> {
    ThreadedProducer::from_config_and_context(config, Reports(Arc::clone(deliveries)))
        .map_err(|error| failed("the producer", error))
}
