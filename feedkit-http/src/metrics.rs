//! Registering metrics.

use prometheus::core::Collector;
use prometheus::{Registry, Result};

/// Registers `metric`, so that `registry` shows it.
///
/// Where another gateway has registered the same name in this registry, the other one's is shown,
/// and this one only counts. That is logged, because an operator would miss it.
pub(crate) fn register<M: Collector + Clone + 'static>(registry: &Registry, metric: Result<M>) -> M {
    let metric = metric.expect("the names and labels of feedkit's metrics are valid");
    if let Err(error) = registry.register(Box::new(metric.clone())) {
        tracing::warn!(%error, "a metric is not shown: is another gateway in this registry?");
    }
    metric
}
