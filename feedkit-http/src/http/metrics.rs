//! The gateway's own metrics. Routes are labeled by their pattern, because the number of paths is
//! unlimited.

use std::time::Duration;

use poem::http::{Method, StatusCode};
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

use crate::metrics::register;

/// The gateway's own metrics.
pub(crate) struct Metrics {
    requests: IntCounterVec,
    durations: HistogramVec,
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
        let counter = |name: &str, help: &str| register(registry, IntCounter::new(name, help));
        let counters = |name: &str, help: &str, labels: &[&str]| {
            register(registry, IntCounterVec::new(Opts::new(name, help), labels))
        };
        let buckets = |name: &str, help: &str| HistogramOpts::new(name, help).buckets(BUCKETS.to_vec());
        Metrics {
            requests: counters(
                "feedkit_http_requests_total",
                "Requests answered, by method, route and status",
                &["method", "route", "status"],
            ),
            durations: register(
                registry,
                HistogramVec::new(
                    buckets(
                        "feedkit_http_request_duration_seconds",
                        "Time until the head of the answer, by route",
                    ),
                    &["route"],
                ),
            ),
            in_flight: register(
                registry,
                IntGauge::new("feedkit_gateway_events_in_flight", "Events that wait for the log"),
            ),
            accepted: counter(
                "feedkit_gateway_events_accepted_total",
                "Events that the log has acknowledged",
            ),
            rejected: counters(
                "feedkit_gateway_events_rejected_total",
                "Events not taken, by reason",
                &["reason"],
            ),
            limited: counters(
                "feedkit_gateway_rate_limited_total",
                "Requests refused by a rate limit, by limiter",
                &["limiter"],
            ),
            limiter_failures: counter(
                "feedkit_gateway_limiter_failures_total",
                "Calls of a rate limiter that was away",
            ),
            acknowledged: register(
                registry,
                Histogram::with_opts(buckets(
                    "feedkit_gateway_log_ack_seconds",
                    "Time until the log has acknowledged",
                )),
            ),
        }
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

/// A client can invent methods. Labels have to come from a fixed set.
fn known(method: &Method) -> &str {
    match method.as_str() {
        name @ ("GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "OPTIONS" | "PATCH" | "TRACE" | "CONNECT") => {
            name
        }
        _ => "other",
    }
}
