//! What the gateway counts of itself. Routes are labelled by their pattern: paths are without number.

use std::time::Duration;

use poem::http::{Method, StatusCode};
use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, Result,
};

/// The gateway's own metrics.
pub(crate) struct Metrics {
    requests: IntCounterVec,
    durations: HistogramVec,
    /// Connections that are open, sockets included.
    pub(crate) connections: IntGauge,
    /// Errors of accepting connections.
    pub(crate) accept_errors: IntCounter,
    /// Events that wait for the log.
    pub(crate) in_flight: IntGauge,
    /// Events that the log has acknowledged.
    pub(crate) accepted: IntCounter,
    rejected: IntCounterVec,
    limited: IntCounterVec,
    /// Calls of a limiter that was away.
    pub(crate) limiter_failures: IntCounter,
    /// How long the log took to acknowledge.
    pub(crate) acknowledged: Histogram,
}

/// From half a millisecond to ten seconds.
const BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

impl Metrics {
    /// Metrics that `registry` shows.
    pub(crate) fn new(registry: &Registry) -> Self {
        let metrics = Self::unregistered().expect("names and labels are valid");
        metrics.register(registry).unwrap_or_else(|error| {
            tracing::warn!(%error, "the gateway's metrics are not shown: is another gateway in this registry?");
        });
        metrics
    }

    fn unregistered() -> Result<Self> {
        let counters =
            |name: &str, help: &str, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels);
        let histogram = |name: &str, help: &str| HistogramOpts::new(name, help).buckets(BUCKETS.to_vec());
        Ok(Metrics {
            requests: counters(
                "feedkit_http_requests_total",
                "Requests answered, by method, route and status",
                &["method", "route", "status"],
            )?,
            durations: HistogramVec::new(
                histogram(
                    "feedkit_http_request_duration_seconds",
                    "Time until the head of the answer, by route",
                ),
                &["route"],
            )?,
            connections: IntGauge::new("feedkit_http_connections", "Open connections, sockets included")?,
            accept_errors: IntCounter::new(
                "feedkit_http_accept_errors_total",
                "Connections that could not be accepted",
            )?,
            in_flight: IntGauge::new("feedkit_gateway_events_in_flight", "Events that wait for the log")?,
            accepted: IntCounter::new(
                "feedkit_gateway_events_accepted_total",
                "Events that the log has acknowledged",
            )?,
            rejected: counters(
                "feedkit_gateway_events_rejected_total",
                "Events not taken, by reason",
                &["reason"],
            )?,
            limited: counters(
                "feedkit_gateway_rate_limited_total",
                "Requests refused by a rate limit, by limiter",
                &["limiter"],
            )?,
            limiter_failures: IntCounter::new(
                "feedkit_gateway_limiter_failures_total",
                "Calls of a rate limiter that was away",
            )?,
            acknowledged: Histogram::with_opts(histogram(
                "feedkit_gateway_log_ack_seconds",
                "Time until the log has acknowledged",
            ))?,
        })
    }

    fn register(&self, registry: &Registry) -> Result<()> {
        let all: [Box<dyn Collector>; 10] = [
            Box::new(self.requests.clone()),
            Box::new(self.durations.clone()),
            Box::new(self.connections.clone()),
            Box::new(self.accept_errors.clone()),
            Box::new(self.in_flight.clone()),
            Box::new(self.accepted.clone()),
            Box::new(self.rejected.clone()),
            Box::new(self.limited.clone()),
            Box::new(self.limiter_failures.clone()),
            Box::new(self.acknowledged.clone()),
        ];
        all.into_iter().try_for_each(|metric| registry.register(metric))
    }

    /// Counts a request.
    pub(crate) fn answered(&self, method: &Method, route: &str, status: StatusCode, took: Duration) {
        self.requests.with_label_values(&[known(method), route, status.as_str()]).inc();
        self.durations.with_label_values(&[route]).observe(took.as_secs_f64());
    }

    /// Counts events that were not taken, for this reason.
    pub(crate) fn rejected(&self, reason: &str, events: u64) {
        self.rejected.with_label_values(&[reason]).inc_by(events);
    }

    /// Counts a request that this limiter has refused.
    pub(crate) fn limited(&self, limiter: &str) {
        self.limited.with_label_values(&[limiter]).inc();
    }
}

/// Methods are a client's to invent; labels are not.
fn known(method: &Method) -> &str {
    match method.as_str() {
        name @ ("GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "OPTIONS" | "PATCH" | "TRACE" | "CONNECT") => {
            name
        }
        _ => "other",
    }
}
