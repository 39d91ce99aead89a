//! Metrics for Prometheus.

use feedkit_core::Result;
use feedkit_core::pipeline::{PartitionState, PipelineStatus, RebuildCause};
use feedkit_kafka::SourceStats;
use prometheus::{Encoder, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::health;

/// Gauges. Each scrape sets them from the state of the pipeline.
pub struct Metrics {
    registry: Registry,
    records: IntGaugeVec,
    position: IntGaugeVec,
    state: IntGaugeVec,
    lag: IntGaugeVec,
    buffered: IntGaugeVec,
    applied: IntGaugeVec,
    durable: IntGaugeVec,
    rebuilds: IntGaugeVec,
    component: IntGaugeVec,
    source: IntGaugeVec,
    lease: IntGaugeVec,
    connections: IntGaugeVec,
}

/// The state that the metrics show.
pub struct Snapshot {
    pub pipeline: PipelineStatus,
    pub source: SourceStats,
    pub holds_lease: bool,
    pub connections: (usize, usize),
}

impl Metrics {
    /// Registers all gauges.
    pub fn new() -> Result<Metrics, prometheus::Error> {
        let registry = Registry::new();
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            let gauge = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        Ok(Metrics {
            records: gauge(
                "feedkit_processor_records",
                "Records since the start, by what became of them; effects are among the accepted",
                &["outcome"],
            )?,
            position: gauge("feedkit_processor_position", "The next offset to commit", &["partition"])?,
            state: gauge(
                "feedkit_processor_partition_state",
                "1 for the state that an assigned partition is in",
                &["partition", "state"],
            )?,
            lag: gauge(
                "feedkit_processor_lag_records",
                "Records not yet handed over by the log",
                &["partition"],
            )?,
            buffered: gauge("feedkit_processor_buffered_records", "Records read ahead", &["partition"])?,
            applied: gauge(
                "feedkit_processor_follower_applied",
                "The next offset that a follower is handed",
                &["follower", "partition"],
            )?,
            durable: gauge(
                "feedkit_processor_follower_durable",
                "The next offset after what a follower has stored",
                &["follower", "partition"],
            )?,
            rebuilds: gauge(
                "feedkit_processor_follower_rebuilds",
                "Rebuilds of a follower that have begun since the start, by cause",
                &["follower", "cause"],
            )?,
            component: gauge(
                "feedkit_processor_component_up",
                "1 while a component is well",
                &["component"],
            )?,
            source: gauge("feedkit_processor_source", "What the reader of the log has counted", &["what"])?,
            lease: gauge("feedkit_processor_alert_lease", "1 while this process runs the alerts", &[])?,
            connections: gauge(
                "feedkit_processor_postgres_connections",
                "Connections to PostgreSQL",
                &["state"],
            )?,
            registry,
        })
    }

    /// All gauges in the text format of Prometheus.
    pub fn text(&self, now: &Snapshot) -> Result<Vec<u8>, prometheus::Error> {
        self.set(now);
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }

    fn set(&self, now: &Snapshot) {
        let counts = &now.pipeline.counts;
        for (outcome, count) in [
            ("accepted", counts.accepted),
            ("duplicate", counts.duplicates),
            ("rejected", counts.rejected),
            ("effect", counts.effects),
        ] {
            self.records.with_label_values(&[outcome]).set(count as i64);
        }
        // Partitions that were revoked must not look as if they had stopped.
        for gauges in [&self.position, &self.state, &self.lag, &self.buffered] {
            gauges.reset();
        }
        for (partition, status) in &now.pipeline.partitions {
            let name = partition.to_string();
            let state = match status.state {
                PartitionState::Released => continue,
                PartitionState::Claiming => "claiming",
                PartitionState::Waiting => "waiting",
                PartitionState::Running => "running",
                PartitionState::Retrying(_) => "retrying",
                PartitionState::Stopped(_) => "stopped",
                _ => "other",
            };
            self.state.with_label_values(&[&name, state]).set(1);
            self.position.with_label_values(&[&name]).set(status.position as i64);
        }
        for (partition, stats) in &now.source.partitions {
            let name = partition.to_string();
            if let Some(lag) = stats.lag {
                self.lag.with_label_values(&[&name]).set(lag as i64);
            }
            self.buffered.with_label_values(&[&name]).set(stats.buffered as i64);
        }
        for (name, follower) in &now.pipeline.followers {
            for (gauge, positions) in [(&self.applied, &follower.applied), (&self.durable, &follower.durable)]
            {
                for (partition, offset) in positions.iter() {
                    gauge.with_label_values(&[name, &partition.to_string()]).set(offset as i64);
                }
            }
            for cause in RebuildCause::ALL {
                let count = follower.rebuilds.get(&cause).copied().unwrap_or_default();
                self.rebuilds.with_label_values(&[name, cause.name()]).set(count as i64);
            }
        }
        for component in health::components(&now.pipeline, &now.source) {
            let up = i64::from(health::is_ready(std::slice::from_ref(&component)));
            self.component.with_label_values(&[&component.name]).set(up);
        }
        let source = &now.source;
        for (what, count) in [
            ("records", source.records),
            ("bytes", source.bytes),
            ("batches", source.batches),
            ("gaps", source.gaps),
            ("rebalances", source.rebalances),
            ("held_back", source.held_back),
            ("errors", source.errors),
        ] {
            self.source.with_label_values(&[what]).set(count as i64);
        }
        self.lease.with_label_values::<&str>(&[]).set(i64::from(now.holds_lease));
        let (in_use, open) = now.connections;
        self.connections.with_label_values(&["in_use"]).set(in_use as i64);
        self.connections.with_label_values(&["open"]).set(open as i64);
    }
}
