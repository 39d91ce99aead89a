//! The metrics of the fan-out.

use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::ending::Ending;
use crate::metrics::register;

/// The fan-out's metrics.
#[derive(Debug, Clone)]
pub(super) struct Metrics {
    clients: IntGaugeVec,
    pub(super) delivered: IntCounter,
    closed: IntCounterVec,
    too_slow: IntCounterVec,
    pub(super) window_bytes: IntGauge,
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
                    "Notifications for connected clients, counted once for each client that listens.",
                ),
            ),
            closed: by(
                "feedkit_live_closed_total",
                "Sockets and streams that ended, by close code; 0 when the client left.",
                "code",
            ),
            too_slow: by(
                "feedkit_live_too_slow_total",
                "Sockets and streams closed with 4009, by cause: what the client still needed had left the \
                 window (window) or the log's recovery (recovery), it read nothing for a time (stalled), or \
                 too many bytes waited for it alone (own_bytes).",
                "cause",
            ),
            window_bytes: register(
                registry,
                IntGauge::new("feedkit_live_window_bytes", "Bytes in the window that all clients share."),
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

    /// Counts a client that was closed.
    pub(super) fn ended(&self, ending: &Ending) {
        let code = ending.code().unwrap_or(0).to_string();
        self.closed.with_label_values(&[&*code]).inc();
        if let Ending::TooSlow(cause) = ending {
            self.too_slow.with_label_values(&[cause.name()]).inc();
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
