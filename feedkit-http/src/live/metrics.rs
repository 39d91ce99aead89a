//! The metrics of the fan-out.

use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::metrics::register;

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
    /// Metrics that `registry` shows.
    pub(super) fn new(registry: &Registry) -> Self {
        let by = |name: &str, help: &str, label: &str| {
            register(registry, IntCounterVec::new(Opts::new(name, help), &[label]))
        };
        Metrics {
            clients: register(
                registry,
                IntGaugeVec::new(
                    Opts::new("feedkit_live_clients", "Sockets and streams that are open."),
                    &["transport"],
                ),
            ),
            delivered: register(
                registry,
                IntCounter::new(
                    "feedkit_live_notifications_total",
                    "Notifications put into clients' outboxes as they were read.",
                ),
            ),
            closed: by(
                "feedkit_live_closed_total",
                "Sockets and streams that ended, by close code; 0 when the client left.",
                "code",
            ),
            recoveries: by(
                "feedkit_live_recoveries_total",
                "Subscriptions with a cursor: recovered from memory (tail), from the log, or failed.",
                "outcome",
            ),
            lag_seconds: register(
                registry,
                Gauge::new("feedkit_live_lag_seconds", "Age of the last notification when it was read."),
            ),
        }
    }

    /// Counts a client until the returned value is dropped.
    pub(super) fn present(&self, transport: &str) -> Present {
        let clients = self.clients.with_label_values(&[transport]);
        clients.inc();
        Present(clients)
    }
}

/// A connected client.
pub(super) struct Present(IntGauge);

impl Drop for Present {
    fn drop(&mut self) {
        self.0.dec();
    }
}
