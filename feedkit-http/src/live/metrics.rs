//! What is measured of the fan-out.

use prometheus::core::Collector;
use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// The fan-out's metrics.
#[derive(Debug, Clone)]
pub(super) struct Metrics {
    clients: IntGaugeVec,
    pub(super) delivered: IntCounter,
    pub(super) closed: IntCounterVec,
    pub(super) recoveries: IntCounterVec,
    pub(super) lag_seconds: Gauge,
}

impl Metrics {
    /// Metrics, registered. Where another gateway registered the same before, its are shown and these only count.
    pub(super) fn new(registry: &Registry) -> Self {
        const VALID: &str = "the metric's name and labels are valid";
        let metrics = Metrics {
            clients: IntGaugeVec::new(
                Opts::new("feedkit_live_clients", "Sockets and streams that are open."),
                &["transport"],
            )
            .expect(VALID),
            delivered: IntCounter::new(
                "feedkit_live_notifications_total",
                "Notifications put into clients' outboxes as they were read.",
            )
            .expect(VALID),
            closed: IntCounterVec::new(
                Opts::new(
                    "feedkit_live_closed_total",
                    "Sockets and streams that ended, by close code; 0 when the client left.",
                ),
                &["code"],
            )
            .expect(VALID),
            recoveries: IntCounterVec::new(
                Opts::new(
                    "feedkit_live_recoveries_total",
                    "Subscriptions with a cursor: recovered from memory (tail), from the log, or failed.",
                ),
                &["outcome"],
            )
            .expect(VALID),
            lag_seconds: Gauge::new(
                "feedkit_live_lag_seconds",
                "Age of the last notification when it was read.",
            )
            .expect(VALID),
        };
        let all: [Box<dyn Collector>; 5] = [
            Box::new(metrics.clients.clone()),
            Box::new(metrics.delivered.clone()),
            Box::new(metrics.closed.clone()),
            Box::new(metrics.recoveries.clone()),
            Box::new(metrics.lag_seconds.clone()),
        ];
        for collector in all {
            if let Err(error) = registry.register(collector) {
                tracing::warn!(%error, "a metric of the fan-out is not shown");
            }
        }
        metrics
    }

    /// Counts a client in, until it is dropped.
    pub(super) fn present(&self, transport: &str) -> Present {
        let clients = self.clients.with_label_values(&[transport]);
        clients.inc();
        Present(clients)
    }
}

/// A client that is there.
pub(super) struct Present(IntGauge);

impl Drop for Present {
    fn drop(&mut self) {
        self.0.dec();
    }
}
