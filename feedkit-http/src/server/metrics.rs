//! The metrics of a server.

use prometheus::{IntCounter, IntGauge, Registry, Result};

use crate::metrics::register;

/// The metrics of a [`Server`](super::Server).
#[derive(Debug, Clone)]
pub(crate) struct ServerMetrics {
    /// Open connections, sockets included.
    pub(super) connections: IntGauge,
    /// Connections that could not be accepted.
    pub(super) accept_errors: IntCounter,
}

impl ServerMetrics {
    /// Metrics that `registry` shows.
    pub(crate) fn new(registry: &Registry) -> Self {
        ServerMetrics {
            connections: register(registry, connections()),
            accept_errors: register(registry, accept_errors()),
        }
    }
}

impl Default for ServerMetrics {
    /// Metrics that no registry shows.
    fn default() -> Self {
        const VALID: &str = "the names of these metrics are valid";
        ServerMetrics {
            connections: connections().expect(VALID),
            accept_errors: accept_errors().expect(VALID),
        }
    }
}

fn connections() -> Result<IntGauge> {
    IntGauge::new("feedkit_http_connections", "Open connections, sockets included")
}

fn accept_errors() -> Result<IntCounter> {
    IntCounter::new("feedkit_http_accept_errors_total", "Connections that could not be accepted")
}
